"""Planted errors: labels made wrong on purpose, to test a ranking whose wrong labels nobody knows.

What is planted resembles the wrong labels that are there: it goes from class to class as confident learning
(Northcutt et al. 2021) estimates that those do. Only labels that look certain are made wrong, so that few of
those planted were wrong before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from diffinf_core.records import DiffInfError

#: fewer planted errors than this tell nothing
FEWEST = 10
#: part of the planted errors that goes evenly to all pairs of classes, whatever is estimated
_EVEN = 0.1


@dataclass(frozen=True)
class Planting:
    """``labels`` (N,) with the planted errors, which stand at ``positions`` (m,), ascending."""

    positions: NDArray[np.int64]
    labels: NDArray[np.int64]


def count_wrong(labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> tuple[int, int]:
    """How many labels (N,) contradict probabilities (N, C), by cleanlab: confidently, and calibrated.

    The first counts where another class reaches its mean confidence; the second scales that to the size of
    the classes. A network that was trained on the labels contradicts those that it has not memorised.
    """
    from cleanlab.count import num_label_issues

    methods = ("off_diagonal", "off_diagonal_calibrated")
    found = [
        int(num_label_issues(labels, pred_probs=probabilities, estimation_method=method))
        for method in methods
    ]
    return min(found), max(found)


def transitions(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating]
) -> NDArray[np.float64]:
    """What fraction of the wrong labels goes from class i (row) to j (column), (C, C), sum 1, no diagonal.

    Confident learning's joint distribution, mixed with :data:`_EVEN` of an even one.
    """
    from cleanlab.count import estimate_joint

    classes = probabilities.shape[1]
    even = 1.0 - np.eye(classes)
    joint = np.asarray(estimate_joint(labels, probabilities), float).T * even
    even /= even.sum()
    return (1 - _EVEN) * joint / joint.sum() + _EVEN * even if joint.sum() > 0 else even


def plant(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    suspicion: NDArray[np.floating],
    fraction: float,
    seed: int,
) -> Planting:
    """Make ``fraction`` of the labels (N,) wrong.

    ``probabilities`` (N, C) are of a network trained on the labels; a label looks certain where its
    ``suspicion`` (N,) is not among the highest, as many as :func:`count_wrong` counts. Strata are pairs of
    classes, by :func:`transitions`; within one, samples are drawn at random. A class with too few
    certain labels gives all of them. Raises :class:`DiffInfError` for less than :data:`FEWEST`.
    """
    n, classes = probabilities.shape
    rng = np.random.default_rng(seed)
    certain = rankdata(-suspicion, "ordinal") > count_wrong(labels, probabilities)[1]
    wanted = _rounded(fraction * n * transitions(labels, probabilities))
    planted = labels.copy()
    for i in range(classes):
        members = rng.permutation(np.flatnonzero(certain & (labels == i)))
        target = rng.permutation(np.repeat(np.arange(classes), wanted[i]))[: len(members)]
        planted[members[: len(target)]] = target
    positions = np.flatnonzero(planted != labels)
    if len(positions) < FEWEST:
        raise DiffInfError(
            f"{len(positions)} labels of {n} can be planted wrong, and {FEWEST} at least are needed; set a "
            "larger influence.planted, or use more data."
        )
    return Planting(positions, planted)


def _rounded(quota: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers with the rounded total of ``quota``, by largest remainders."""
    out = np.floor(quota).astype(np.int64)
    left = int(np.floor(quota.sum() + 0.5)) - int(out.sum())
    most = np.argsort((out - quota).ravel(), kind="stable")[:left]
    out.ravel()[most] += 1
    return out
