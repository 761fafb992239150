"""What a run's pictures tell a generator: labels that the ranking trusts, and covariates from columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.data.part import Part
from diffinf_core.diffusion.architecture import Attribute
from diffinf_core.influence.confidence import out_of_fold
from diffinf_core.influence.feature_confidence import feature_probabilities
from diffinf_core.influence.stage import read_scores
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run

#: what trust is taken from: the first of these that are all known, together. Frozen features tell best; the
#: rank of the loss beside them only makes it worse
TRUST_SCORES = (("feature_confidence",), ("mean_loss", "self_confidence"), ("mean_loss",))
#: groups of a covariate
FEWEST, MOST = 2, 20
#: pictures of a group of the covariates from which on its labels are ranked and counted by themselves
SMALLEST_GROUP = 100
#: fraction of right labels that is assumed where nothing tells
_USUAL_RIGHT = 0.9
#: what it is estimated at least: a class that is hard to tell looks like one whose labels are wrong
_LEAST_RIGHT = 0.5


@dataclass(frozen=True)
class Trust:
    """Which training labels (N,) a generator is trained on, and by the ranks of which scores."""

    trusted: NDArray[np.bool_]
    scores: tuple[str, ...]

    @property
    def score(self) -> str:
        """The scores in words."""
        return " and ".join(self.scores)


def right_fractions(
    run: Run,
    train: Part,
    rows: NDArray[np.int64] | None = None,
    scores: Sequence[str] = TRUST_SCORES[0],
) -> NDArray[np.float64]:
    """The estimated fraction (C,) of right labels among those assigned to each class, in all or some rows.

    By the rate of labels made wrong on purpose, else by confident learning from out-of-fold probabilities
    where the run has them (Northcutt et al., JAIR 2021), else 0.9. Those of the frozen features go before,
    where they are among the ``scores`` to go by.
    """
    rows = np.arange(len(train)) if rows is None else rows
    labels = train.labels[rows]
    counts = np.bincount(labels, minlength=len(train.classes))
    if run.config.noise.rate:
        return symmetric_right(counts, run.config.noise.rate)
    probabilities = feature_probabilities(run) if "feature_confidence" in scores else None
    if probabilities is None:
        probabilities = out_of_fold(run)
    if probabilities is None:
        return np.full(len(counts), _USUAL_RIGHT)
    from cleanlab.count import estimate_joint

    joint = np.asarray(estimate_joint(labels, probabilities[rows]))
    return np.maximum(np.diag(joint) / np.maximum(joint.sum(1), 1e-12), _LEAST_RIGHT)


def symmetric_right(counts: NDArray[np.int64], rate: float) -> NDArray[np.float64]:
    """The expected fraction (C,) of right labels in assigned classes of sizes (C,), under symmetric noise.

    A small class receives wrong labels from all others and loses few: with 20 % noise half of its
    labels may be wrong.
    """
    n, classes = counts.sum(), len(counts)
    received = rate / (classes - 1)
    true = np.maximum((counts - received * n) / max(1 - rate - received, 1e-3), 0)
    return np.clip((1 - rate) * true / np.maximum(counts, 1), 0.05, 1.0)


def trusted(
    run: Run,
    train: Part,
    fraction: float | None,
    columns: Sequence[Attribute] = (),
    among: Sequence[tuple[str, ...]] = TRUST_SCORES,
) -> Trust:
    """Train on the least suspicious labels of each class: on ``fraction`` of each, or, with None, on
    somewhat fewer than :func:`right_fractions`, as no score ranks every wrong label behind every right one.

    The labels of each large group of the covariates ``columns`` are ranked and counted by themselves: a
    ranking suspects what is rare, so that the generator would never see that combination under its label, and
    among what is rare more labels are wrong. The first scores ``among`` these that are all known are taken.
    Raises :class:`DiffInfError` for a run that is not ranked, or has none of them.
    """
    table = read_scores(run)
    scores = next((names for names in among if set(names) <= set(table)), None)
    if scores is None:
        raise DiffInfError(
            f"Labels are to be trusted by {' and '.join(among[0])}, which is not there; 'diffinf rank "
            f"{run.root} --by {among[0][0]}' computes it."
        )
    groups = _pools(covariate_indices(train.table, columns))
    large = [g for g in groups if _stands_alone(train.labels[g], len(train.classes))]
    suspicion, kept = np.zeros(len(train)), np.full(len(train), fraction or 0.0)
    for group in (np.arange(len(train)), *large):
        if fraction is None:
            right = right_fractions(run, train, group, scores)[train.labels[group]]
            kept[group] = right * (1 + right) / 2
        for pool in _pools(train.labels[group, None]):
            rows = group[pool]
            ranks = sum(table[name].iloc[rows].rank().to_numpy() for name in scores)
            order = rows[np.argsort(ranks, kind="stable")]
            suspicion[order] = (np.arange(len(rows)) + 0.5) / len(rows)
    out = suspicion < kept - 1e-9
    for rows in _pools(train.labels[:, None]):
        out[rows[np.argmin(suspicion[rows])]] = True
    return Trust(out, scores)


def _stands_alone(labels: NDArray[np.int64], classes: int) -> bool:
    """Whether a group with labels (n,) is large enough for estimates of its own."""
    counts = np.bincount(labels, minlength=classes)
    return len(labels) >= SMALLEST_GROUP and bool(counts.min() >= 2)


def _pools(values: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows of each combination of values (N, K)."""
    index = np.unique(values, axis=0, return_inverse=True)[1].reshape(-1)
    return [np.flatnonzero(index == k) for k in range(int(index.max()) + 1)]


def covariate(table: pd.DataFrame, column: str) -> Attribute:
    """A column of the training table as a covariate; empty cells are unknown.

    Raises :class:`DiffInfError` for a column that is not there or does not hold 2 to 20 groups.
    """
    if column not in table:
        known = ", ".join(c for c in table.columns if c not in ("id", "file", "label"))
        raise DiffInfError(
            f"There is no column {column!r} to keep fixed; the table has {known or 'no others'}."
        )
    groups = sorted(set(table[column].astype(str)) - {"", "nan"})
    if not FEWEST <= len(groups) <= MOST:
        raise DiffInfError(
            f"The column {column!r} holds {len(groups)} groups; a covariate needs {FEWEST} to {MOST}: put "
            "its values into few coarse groups in a column of their own."
        )
    return Attribute(name=column, classes=tuple(groups), covariate=True)


def covariate_indices(table: pd.DataFrame, attributes: Sequence[Attribute]) -> NDArray[np.int64]:
    """The covariates (N, K) of rows, -1 where a cell is empty, new, or the column missing."""
    out = np.full((len(table), len(attributes)), -1, np.int64)
    for i, attribute in enumerate(attributes):
        if attribute.name in table:
            index = {name: k for k, name in enumerate(attribute.classes)}
            values = table[attribute.name].astype(str)
            out[:, i] = [index.get(value, -1) for value in values]
    return out
