"""What a method does to groups: worst-group accuracy and equal opportunity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffinf_core.experiments.differences import FEWEST


@dataclass(frozen=True)
class GroupFigures:
    """Figures over groups, fractions, means over seeds with deviations (None with one seed).

    ``worst``: the lowest accuracy of a group, and ``worst_group`` which group has the lowest mean
    accuracy. ``gap``: the largest difference in the recall of one class between two groups of one column
    (equal opportunity, Hardt et al. 2016, of the class and groups that fare worst); None where no class has
    two groups with enough pictures. It grows with the number of cells and with their noise.
    """

    worst: float
    worst_sd: float | None
    worst_group: str
    gap: float | None
    gap_sd: float | None


def group_figures(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    groups: Mapping[tuple[str, str], NDArray[np.bool_]],
    fewest: int = FEWEST,
) -> GroupFigures | None:
    """Figures of one method from ``probabilities`` (S, N, C) of pictures with ``labels`` (N,).

    ``groups`` maps (column, value) to its members (N,). Groups, and groups within a class, with fewer than
    ``fewest`` pictures are left out; None where no group is left.
    """
    hit = probabilities.argmax(2) == labels
    large = {key: member for key, member in groups.items() if member.sum() >= fewest}
    if not large:
        return None
    accuracy = np.stack([hit[:, member].mean(1) for member in large.values()], 1)
    lowest = list(large)[int(accuracy.mean(0).argmin())]
    worst, gaps = accuracy.min(1), []
    for c in range(probabilities.shape[2]):
        recalls: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
        for (column, _), member in large.items():
            cell = member & (labels == c)
            if cell.sum() >= fewest:
                recalls[column].append(hit[:, cell].mean(1))
        gaps += [np.ptp(np.stack(r), axis=0) for r in recalls.values() if len(r) > 1]
    gap = np.stack(gaps).max(0) if gaps else None
    return GroupFigures(
        worst=float(worst.mean()),
        worst_sd=_deviation(worst),
        worst_group=f"{lowest[0].removeprefix('by ')} = {lowest[1]}",
        gap=None if gap is None else float(gap.mean()),
        gap_sd=None if gap is None else _deviation(gap),
    )


def _deviation(values: NDArray[np.float64]) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None
