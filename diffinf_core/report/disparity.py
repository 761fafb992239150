"""Whether ranking, repair and review pick pictures of one group more than its part of the data set.

Under no disparity the pictures that are picked are any of those that could have been: how many of them are
in a group is hypergeometric. The test is exact and one-sided (Fisher), so that the groups of a column can
never all be picked more than the others; Holm's correction over all groups of all columns and measures
keeps the chance of any false alarm at 5 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest, hypergeom

from diffinf_core.experiments.differences import holm
from diffinf_core.experiments.fairness import ALPHA
from diffinf_core.records import Decision
from diffinf_core.report.explore import Samples

Flags = NDArray[np.bool_]
#: what settles a pair; a second look does not
DECIDING = ("accept", "reject", "keep", "relabel", "drop")


@dataclass(frozen=True)
class Measure:
    """What some of the pictures were picked for.

    ``whole`` and ``picked`` are plural nouns, ``among`` (N,) tells which pictures could have been picked,
    ``taken`` (N,) which of them were.
    """

    whole: str
    picked: str
    among: Flags
    taken: Flags


def measures(
    samples: Samples, edited: Flags | None, decisions: Mapping[str, Decision]
) -> list[Measure]:
    """The measures of a run: pictures edited (ranked high before a repair) and, by decisions, edits not
    accepted, pictures dropped and pictures relabelled.

    ``edited`` (N,) tells which pictures have an edit, None before a repair.
    """
    every = np.ones(len(samples), bool)
    actions = samples.table["id"].map({s: d.action for s, d in decisions.items()})
    decided = actions.isin(DECIDING).to_numpy()
    if edited is None:
        high = samples.table["high"].to_numpy(bool)
        out = [Measure("pictures", "high-influence pictures", every, high)]
    else:
        out = [Measure("pictures", "edited pictures", every, edited)]
        judged = decided & edited
        refused = judged & (actions != "accept").to_numpy()
        out.append(Measure("decided edits", "edits that are not accepted", judged, refused))
    for action, past in (("drop", "dropped"), ("relabel", "relabelled")):
        out.append(Measure("pictures", f"{past} pictures", every, (actions == action).to_numpy()))
    return out


COLUMNS = ["picked", "whole", "column", "value", "n_whole", "members", "n_picked", "k", "low", "high",
           "p", "adjusted"]  # fmt: skip


def disparities(found: list[Measure], groups: pd.DataFrame) -> pd.DataFrame:
    """Whether a group is picked more than its part; ``groups`` has N rows and a column for each cut.

    One row per measure and group: picked, whole, column, value, n_whole (pictures that could be picked),
    members (of the group among them), n_picked, k (of the group among those), low and high (exact 95 %
    interval of k / n_picked, Clopper and Pearson 1934), p (one-sided) and Holm's adjusted p over all rows.
    A measure that picked nothing, or everything, has no rows.
    """
    rows = []
    for m in found:
        whole, picked = int(m.among.sum()), int(m.taken.sum())
        if not 0 < picked < whole:
            continue
        for column in groups.columns:
            places, values = pd.factorize(groups[column])
            inside = np.bincount(places[m.among], minlength=len(values))
            taken = np.bincount(places[m.taken], minlength=len(values))
            for value, members, k in zip(values, inside.tolist(), taken.tolist(), strict=True):
                if not 0 < members < whole:
                    continue
                interval = binomtest(k, picked).proportion_ci(method="exact")
                p = float(hypergeom.sf(k - 1, whole, members, picked))
                name = str(value) or "(empty)"
                rows.append([m.picked, m.whole, str(column), name, whole, members, picked, k,
                             float(interval.low), float(interval.high), p])  # fmt: skip
    table = pd.DataFrame(rows, columns=COLUMNS[:-1])
    return table.assign(adjusted=holm(table["p"]))


def in_words(
    table: pd.DataFrame, wrong: Mapping[tuple[str, str], tuple[float, float]]
) -> list[str]:
    """One sentence for each measure that picks groups beyond their part; ``table`` is :func:`disparities`'.

    ``wrong`` gives, where the truth is known, the fraction of wrong labels in a (column, value) and in the
    other pictures.
    """
    rows = table[table["adjusted"] < ALPHA].to_dict("records")
    said = []
    for picked, each in groupby(rows, lambda row: row["picked"]):
        parts, whole = [], ""
        for row in each:
            whole = row["whole"]
            text = (
                f"{row['column']} = {row['value']} ({row['k'] / row['n_picked']:.0%} of {row['n_picked']:,}, "
                f"95 % interval {row['low']:.0%} to {row['high']:.0%}, against "
                f"{row['members'] / row['n_whole']:.0%} of {row['n_whole']:,}"
            )
            inside = wrong.get((row["column"], row["value"]))
            if inside and whole == "pictures":
                text += f"; {inside[0]:.0%} of its labels are wrong, {inside[1]:.0%} of the others'"
            parts.append(f"{text}; p = {row['adjusted']:.2g})")
        said.append(
            f"More frequent among {picked} than among {whole}: {', '.join(parts)}. Exact one-sided tests, "
            f"Holm-corrected for {len(table)} groups and measures."
        )
    return said
