"""The groups of a benchmark: the accuracy of each row in each of them, and which it harms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from diffinf_core.experiments.benchmark import Result
from diffinf_core.experiments.differences import Difference
from diffinf_core.experiments.quantities import BY
from diffinf_core.report import fairness
from diffinf_core.report.benchmark_rows import Lines, difference_text, spread_text


def group_lines(results: Sequence[Result]) -> Lines:
    """Accuracy by group as text, a line per method, the header first; empty without groups."""
    names = [(r["section"], r["name"]) for r in _groups(results[0])] if results else []
    if not names:
        return []
    sizes = [row["n"] for row in _groups(results[0])]
    head = [f"{_column(s)} = {value} ({n:,})" for (s, value), n in zip(names, sizes, strict=True)]
    out = [["Method", *head]]
    for r in results:
        cells = []
        for row in _groups(r):
            text = spread_text(row["value"], row["sd"], 100, 1)
            if row["difference"] is not None:
                change = Difference(row["difference"], row["low"], row["high"], None)
                text += f"; {difference_text(change)}"
            cells.append(text)
        out.append([r.title, *cells])
    return out


def group_warnings(results: Sequence[Result]) -> list[str]:
    """A sentence for each row that harms groups beyond chance, corrected over all rows and groups."""
    table = pd.DataFrame(group_records(results))
    if table.empty:
        return []
    for column in ("difference", "low", "high", "p_holm"):
        table[column] = pd.to_numeric(table[column])
    titles = {r.name: r.title for r in results}
    return fairness.harms(table.rename(columns={"method": "arm"}), titles)


def group_records(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A flat record per method and group, or class within it; section "metric" is the whole test split."""
    return [
        {"method": r.name, "epoch": r.epoch} | {str(k): v for k, v in row.items()}
        for r in results
        for row in r.by_group
    ]


def _groups(result: Result) -> list[Any]:
    return [row for row in result.by_group if row["section"].startswith(BY)]


def _column(section: str) -> str:
    return section.removeprefix(BY)
