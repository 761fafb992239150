"""What each score means, how scores are combined, and how well they agree.

Every estimator gives one number per training sample, high for suspicious, in training order; rank,
percentile and the high-influence set follow from it in the same way for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr
from sklearn.metrics import average_precision_score

from diffinf_core.classifier.training import SIGNAL_COLUMNS
from diffinf_core.config import ON_REQUEST, SIGNALS, estimator_names
from diffinf_core.records import DiffInfError


@dataclass(frozen=True)
class Estimator:
    """One way to score a training sample."""

    name: str
    title: str
    meaning: str
    source: str
    cost: str


ESTIMATORS: dict[str, Estimator] = {
    e.name: e
    for e in (
        Estimator(
            "self_influence",
            "self-influence",
            "squared gradient of the sample's own loss over all parameters, summed over checkpoints",
            "equation 5; TracIn, Pruthi et al. 2020",
            "about one training step per checkpoint",
        ),
        Estimator(
            "last_layer",
            "last-layer self-influence",
            "the same over the output layer alone",
            "TracIn last layer, Pruthi et al. 2020",
            "none in addition to self-influence",
        ),
        Estimator(
            "mean_loss",
            "mean loss",
            "cross-entropy of the assigned label, mean over epochs",
            "small-loss criterion, Arpit et al. 2017",
            "none: logged while training",
        ),
        Estimator(
            "aum",
            "area under the margin",
            "largest other logit minus the assigned one, mean over epochs",
            "Pleiss et al. 2020, with the sign reversed",
            "none: logged while training",
        ),
        Estimator(
            "el2n",
            "EL2N",
            "length of softmax minus one-hot label, mean over epochs",
            "Paul et al. 2021",
            "none: logged while training",
        ),
        Estimator(
            "forgetting",
            "forgetting events",
            "how often a sample went from fitted to not fitted; never fitted counts most",
            "Toneva et al. 2019",
            "none: logged while training",
        ),
        Estimator(
            "self_confidence",
            "out-of-fold self-confidence",
            "one minus the probability that a network trained without the sample gives its label",
            "confident learning, Northcutt et al. 2021 (cleanlab)",
            "one training per fold",
        ),
        Estimator(
            "feature_confidence",
            "frozen-feature confidence",
            "one minus the probability that a linear classifier of AlexNet's features, fitted without the "
            "sample, gives its label",
            "confident learning on pretrained features, Northcutt et al. 2021 (cleanlab)",
            "a pass of AlexNet and some linear fits",
        ),
        Estimator(
            "inverse_curvature",
            "inverse-curvature self-influence",
            "gradient times damped inverse curvature times gradient, last checkpoint (EK-FAC)",
            "equation 4; Koh and Liang 2017, George et al. 2018",
            "a few training epochs",
        ),
    )
}
assert tuple(ESTIMATORS) == SIGNALS + ON_REQUEST


def forgetting_events(margins: NDArray[np.floating]) -> NDArray[np.float64]:
    """Forgetting counts (N,) from margins (epochs, N): positive is fitted.

    A sample that was never fitted gets the number of epochs, more than any count can reach.
    """
    fitted = margins > 0
    lost = (fitted[:-1] & ~fitted[1:]).sum(0).astype(float)
    lost[~fitted.any(0)] = len(margins)
    return lost


def logged_scores(signals: NDArray[np.floating], until: int) -> dict[str, NDArray[np.float64]]:
    """The estimators that training logs, from signals (epochs, N, 3) up to epoch ``until``."""
    column = {name: np.asarray(signals[:until, :, i]) for i, name in enumerate(SIGNAL_COLUMNS)}
    return {
        "mean_loss": column["loss"].mean(0),
        # A low margin is suspicious; the sign makes high mean suspicious for every score.
        "aum": -column["margin"].mean(0),
        "el2n": column["el2n"].mean(0),
        "forgetting": forgetting_events(column["margin"]),
    }


def high_influence_count(n: int, tau: float) -> int:
    """k = round(tau N / 100), at least one."""
    return max(1, int(np.floor(tau * n / 100 + 0.5)))


def top_tau(scores: NDArray[np.float64], tau: float) -> NDArray[np.int64]:
    """Positions of the top tau % by falling score, ties by position (equation 5)."""
    if not np.isfinite(scores).all():
        bad = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise DiffInfError(f"The influence score at position {bad} is not finite.")
    order = np.argsort(-scores, kind="stable")
    return order[: high_influence_count(len(scores), tau)]


def rank_mean(scores: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Mean over scores of the rank of each sample among all, as a fraction in (0, 1], high is suspicious."""
    return np.mean([rankdata(s) / len(s) for s in scores], 0)


def score_of(table: pd.DataFrame, estimator: str) -> NDArray[np.float64]:
    """The score (N,) of an estimator, or of a rank mean ``"a+b"``, from a table of scores."""
    names = estimator_names(estimator)
    columns = [table[name].to_numpy(float) for name in names]
    return columns[0] if len(columns) == 1 else rank_mean(columns)


def rank_table(ids: pd.Series, score: NDArray[np.float64], tau: float) -> pd.DataFrame:
    """Columns id, score, rank (1 is the most suspicious), percentile, high (in the top tau %)."""
    rank = np.empty(len(score), np.int64)
    rank[np.argsort(-score, kind="stable")] = np.arange(1, len(score) + 1)
    high = np.zeros(len(score), bool)
    high[top_tau(score, tau)] = True
    return pd.DataFrame(
        {
            "id": ids,
            "score": score,
            "rank": rank,
            "percentile": 100 * rankdata(score) / len(score),
            "high": high,
        }
    )


def quality(
    table: pd.DataFrame, names: Sequence[str], wrong: NDArray[np.bool_], tau: float
) -> dict[str, dict[str, float]]:
    """Average precision and precision in the top tau % of each estimator for finding wrong labels."""
    out = {}
    for name in names:
        score = score_of(table, name)
        out[name] = {
            "average_precision": float(average_precision_score(wrong, score)),
            "precision_at_tau": float(wrong[top_tau(score, tau)].mean()),
        }
    return out


def agreement(
    table: pd.DataFrame, names: Sequence[str], tau: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Agreement of estimators: Spearman correlation, and the overlap of their top tau %.

    Both are square tables over ``names``. A score that is the same for every sample has no rank
    correlation: NaN.
    """
    scores = np.stack([score_of(table, n) for n in names], 1)
    tops = [set(top_tau(scores[:, i], tau).tolist()) for i in range(len(names))]
    rho, shared = np.eye(len(names)), np.eye(len(names))
    for i in range(len(names)):
        for j in range(i):
            flat = min(np.ptp(scores[:, i]), np.ptp(scores[:, j])) == 0
            correlation = np.nan if flat else spearmanr(scores[:, i], scores[:, j]).statistic
            rho[i, j] = rho[j, i] = correlation
            shared[i, j] = shared[j, i] = len(tops[i] & tops[j]) / len(tops[i])
    labels = pd.Index(names)
    return pd.DataFrame(rho, labels, labels), pd.DataFrame(shared, labels, labels)
