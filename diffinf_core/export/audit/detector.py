"""A small detector, cross-fitted: how well figures of pictures separate two kinds of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm, rankdata
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedGroupKFold

Floats = NDArray[np.float64]
FOLDS, LEVEL = 5, 0.95
#: by how much cross-fitted scores widen an interval: training sets overlap, so that scores rise and fall
#: together (Nadeau and Bengio 2003: variance times 1 + folds x test size / training size)
CROSS_FITTED = (1 + FOLDS / (FOLDS - 1)) ** 0.5
#: pictures of each kind below which nothing is estimated
FEWEST = 20


@dataclass(frozen=True)
class Detection:
    """How well two kinds are told apart: AUROC with the interval of :data:`LEVEL`, and by what most.

    ``strongest`` names the figure that separates them best by itself, ``alone`` is its AUROC.
    """

    auroc: float
    low: float
    high: float
    strongest: str
    alone: float


def auroc(
    scores: Floats, positive: NDArray[np.bool_], widen: float = 1.0
) -> tuple[float, float, float]:
    """The area under the ROC curve and its interval (DeLong et al. 1988, on the logit scale).

    ``widen`` multiplies the standard error, which is that of independent scores. Where all pairs are ordered
    rightly, the lower bound is that of the rule of three.
    """
    ranks = rankdata(scores)
    above, below = int(positive.sum()), int((~positive).sum())
    won = (ranks[positive] - rankdata(scores[positive])) / below
    lost = 1 - (ranks[~positive] - rankdata(scores[~positive])) / above
    area = float(won.mean())
    if area in (0.0, 1.0):
        bound = min(1.0, 3 / min(above, below))
        return area, (1 - bound if area else 0.0), (1.0 if area else bound)
    deviation = np.sqrt(won.var(ddof=1) / above + lost.var(ddof=1) / below)
    half = widen * norm.ppf((1 + LEVEL) / 2) * deviation / (area * (1 - area))
    low, high = expit(logit(area) + np.array([-half, half]))
    return area, float(low), float(high)


def detect(
    figures: Floats,
    positive: NDArray[np.bool_],
    names: Sequence[str],
    groups: NDArray[np.str_],
    seed: int = 0,
) -> Detection | None:
    """Separate positive rows of figures (N, F) from the others; None where there are too few of either.

    Each row is scored by a random forest that saw no row of its group; the interval is
    :data:`CROSS_FITTED` times as wide as that of independent scores.
    """
    smaller = min(int(positive.sum()), int((~positive).sum()))
    if smaller < FEWEST:
        return None
    scores = np.empty(len(figures))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for inside, outside in folds.split(figures, positive, groups):
        forest = RandomForestClassifier(
            200, min_samples_leaf=3, class_weight="balanced", random_state=seed, n_jobs=1
        )
        forest.fit(figures[inside], positive[inside])
        known = list(forest.classes_)
        chance = forest.predict_proba(figures[outside])
        scores[outside] = chance[:, known.index(True)] if True in known else 0.0
    areas = np.array([auroc(figures[:, k], positive)[0] for k in range(figures.shape[1])])
    best = int(np.argmax(np.abs(areas - 0.5)))
    alone = float(max(areas[best], 1 - areas[best]))
    return Detection(*auroc(scores, positive, CROSS_FITTED), strongest=names[best], alone=alone)
