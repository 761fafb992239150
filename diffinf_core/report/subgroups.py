"""What the ranking, the repair and the review do to each class and each subgroup.

A subgroup is one value of a column of the data set's table, of every column with few enough values
(:data:`diffinf_core.records.GROUP_SIZES`).
Shares come with Wilson intervals. Whether the edits of a subgroup change more than the others is asked by a
permutation test, because distances are skewed and groups small; Holm's correction keeps the chance of
any false alarm at 5 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.experiments.differences import holm
from diffinf_core.experiments.fairness import ALPHA
from diffinf_core.records import ACTIONS, GROUP_SIZES, Decision

#: edits in a subgroup, and outside it, without which it is not tested
LEAST_EDITS = 5
PERMUTATIONS = 9_999
_BATCH = 100
#: what an edit moved: column of the queue, its name, and the sign that makes larger mean farther
METRICS = (("perceptual", "perceptual distance", 1), ("identity", "identity cosine", -1))
#: standard normal quantile of a 95 % interval
_Z = 1.959963984540054

Share = tuple[float, float, float]


def subgroup_columns(table: pd.DataFrame) -> list[str]:
    """Columns of a data set's table that cut it into groups; the label comes first."""
    found = [
        name
        for name in table.columns
        if name not in ("id", "file", "label") and table[name].nunique() in GROUP_SIZES
    ]
    return ["label", *found]


def wilson(successes: int, n: int) -> Share | None:
    """A share with its 95 % Wilson interval, (share, low, high); None of nothing."""
    if n == 0:
        return None
    p, z2 = successes / n, _Z**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * np.sqrt(p * (1 - p) / n + z2 / (4 * n**2)) / (1 + z2 / n)
    # At the ends the formula gives exactly 0 or 1, but for rounding.
    low = 0.0 if successes == 0 else middle - half
    high = 1.0 if successes == n else middle + half
    return p, float(low), float(high)


def permutation_p(
    values: NDArray[np.float64], member: NDArray[np.bool_], seed: int = 0
) -> NDArray[np.float64]:
    """Two-sided p (G,) that a group's mean differs from that of the others.

    ``values`` (N,) are dealt out anew :data:`PERMUTATIONS` times; ``member`` (N, G) says who is in which
    group, each with 0 < members < N. The observed deal counts as one of them, so no p is 0.
    """
    inside = member.sum(0)
    weights = member / inside - ~member / (len(values) - inside)
    observed = np.abs(values @ weights)
    # Sums in another order differ in the last digits; equal deals must count as equal.
    observed -= 1e-9 * np.abs(values).max(initial=0)
    draw = np.random.default_rng(seed)
    extreme = np.zeros(member.shape[1], np.int64)
    for start in range(0, PERMUTATIONS, _BATCH):
        rows = min(_BATCH, PERMUTATIONS - start)
        dealt = draw.permuted(np.broadcast_to(values, (rows, len(values))), axis=1)
        extreme += (np.abs(dealt @ weights) >= observed).sum(0)
    return (extreme + 1) / (PERMUTATIONS + 1)


def group_table(
    cells: pd.Series,
    samples: pd.DataFrame,
    edits: pd.DataFrame | None,
    decisions: Mapping[str, Decision],
) -> pd.DataFrame:
    """One row per value in ``cells`` (N,), which cut the samples into subgroups.

    ``samples`` (N rows) has id, score and high; ``edits`` is the review queue, None where nothing is
    repaired yet. Columns: value, n, high, mean_score, edited, judge_agrees (among edits, under the
    assigned label), identity (mean of edits), and one per decision. Shares are :func:`wilson`'s.
    """
    action = samples["id"].map({s: d.action for s, d in decisions.items()})
    if edits is not None:
        edits = edits.set_index("id")
    rows = []
    for value, part in samples.groupby(cells.to_numpy(), sort=False):
        n = len(part)
        row: dict[str, Any] = {
            "value": str(value),
            "n": n,
            "high": wilson(int(part["high"].sum()), n),
            "mean_score": float(part["score"].mean()),
            "edited": None,
            "judge_agrees": None,
            "identity": None,
        }
        if edits is not None:
            own = edits.loc[edits.index.isin(part["id"])]
            agrees = int((own["judge_class_after"] == own["label"]).sum())
            identity = own["identity"].dropna()
            row["edited"] = wilson(len(own), n)
            row["judge_agrees"] = wilson(agrees, len(own))
            row["identity"] = float(identity.mean()) if len(identity) else None
        counts = action.loc[part.index].value_counts()
        row |= {name: int(counts.get(name, 0)) for name in ACTIONS}
        rows.append(row)
    return pd.DataFrame(rows).sort_values("n", ascending=False, kind="stable", ignore_index=True)


_SHIFT_COLUMNS = ["metric", "column", "value", "n", "mean", "others", "farther", "p", "adjusted"]


def shifts(edits: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """Whether edits move a subgroup more or less than the others.

    ``edits`` has a column per metric, ``groups`` a column of subgroups each, in the same order. One row per
    metric and subgroup that has enough edits: metric, column, value, n, mean, others (the mean of the
    other edits), farther (whether it moves more than they), p and Holm's adjusted p over all rows.
    """
    rows, tested = [], []
    for metric, name, sign in METRICS:
        known = edits[metric].notna().to_numpy()
        values = edits[metric].to_numpy(float)[known]
        members, of = [], []
        for column in groups.columns:
            cells = groups[column].to_numpy()[known]
            for value in pd.unique(cells):
                inside = cells == value
                if LEAST_EDITS <= inside.sum() <= len(values) - LEAST_EDITS:
                    members.append(inside)
                    of.append((column, str(value)))
        if not members:
            continue
        member = np.stack(members, 1)
        tested.append(permutation_p(values, member))
        for (column, value), inside in zip(of, members, strict=True):
            mean, others = values[inside].mean(), values[~inside].mean()
            farther = bool(sign * (mean - others) > 0)
            rows.append([name, column, value, int(inside.sum()), mean, others, farther])
    if not rows:
        return pd.DataFrame(columns=_SHIFT_COLUMNS)
    p = np.concatenate(tested)
    return pd.DataFrame(rows, columns=_SHIFT_COLUMNS[:-2]).assign(p=p, adjusted=holm(p))


def warnings(found: pd.DataFrame) -> list[str]:
    """A sentence for each metric by which edits move some subgroups more than the others, with figures."""
    said = []
    for metric, rows in found[found["farther"] & (found["adjusted"] < ALPHA)].groupby("metric"):
        parts = [
            f"{row.column} = {row.value} (mean {row.mean:.4g} over {row.n} edits against {row.others:.4g}, "
            f"p = {row.adjusted:.4f})"
            for row in rows.itertuples()
        ]
        said.append(
            f"By {metric}, edits change these more than the others: {', '.join(parts)}. Two-sided "
            f"permutation tests, Holm-corrected for {len(found)} tests."
        )
    return said
