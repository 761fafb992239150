"""What a method does to groups: who they are, whom it harms, worst group and equal opportunity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.experiments.differences import FEWEST
from diffinf_core.experiments.quantities import BY, WITHIN, Groups
from diffinf_core.records import GROUP_SIZES

#: a change of a group's accuracy is reported where its corrected p-value is below
ALPHA = 0.05


def subgroups(table: pd.DataFrame) -> dict[tuple[str, str], NDArray[np.bool_]]:
    """Who belongs to which value of each column of ``table`` (N rows) that cuts the split into groups."""
    out: dict[tuple[str, str], NDArray[np.bool_]] = {}
    for column in table.columns:
        values = sorted(set(table[column]))
        if len(values) in GROUP_SIZES:
            for value in values:
                # a column may carry the name of one of the report's own sections
                out[f"{BY}{column}", value or "(empty)"] = (table[column] == value).to_numpy()
    return out


def cells(
    groups: Groups, labels: NDArray[np.int64], classes: Sequence[str], fewest: int = FEWEST
) -> dict[tuple[str, str], NDArray[np.bool_]]:
    """The pictures of each class within each group, where there are ``fewest`` or more.

    Accuracy in such a cell is the recall of the class within the group.
    """
    out: dict[tuple[str, str], NDArray[np.bool_]] = {}
    for (section, value), member in groups.items():
        for c, name in enumerate(classes):
            cell = member & (labels == c)
            if cell.sum() >= fewest:
                out[section.replace(BY, WITHIN, 1), f"{value}, {name}"] = cell
    return out


def changed_groups(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of :func:`.differences.tabulate` in which an arm changes a group's accuracy beyond chance.

    The interval excludes 0 and so does the test, as corrected over all groups of all arms.
    """
    beyond = (table["low"] > 0) | (table["high"] < 0)
    return table[beyond & (table["p_holm"] < ALPHA)]


def by_group(table: pd.DataFrame) -> dict[str, list[dict[Hashable, Any]]]:
    """The accuracy of each arm in all test pictures and in each group and cell, JSON-able.

    ``table`` is :func:`.differences.tabulate`'s; the rows keep its columns but for the arm. Empty without
    groups.
    """
    grouped = table["section"].str.startswith((BY, WITHIN))
    if not grouped.any():
        return {}
    whole = (table["section"] == "metric") & (table["name"] == "accuracy")
    chosen = table[whole | grouped].astype(object)
    chosen = chosen.where(chosen.notna(), None)
    return {
        str(arm): rows.drop(columns="arm").to_dict("records")
        for arm, rows in chosen.groupby("arm", sort=False)
    }


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
    groups: Groups,
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
        worst_group=f"{lowest[0].removeprefix(BY)} = {lowest[1]}",
        gap=None if gap is None else float(gap.mean()),
        gap_sd=None if gap is None else _deviation(gap),
    )


def _deviation(values: NDArray[np.float64]) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None
