"""A comparison as files: one page that needs nothing else, and one table."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from diffinf_core.experiments.comparison import Comparison, tidy
from diffinf_core.report import compare_plots, fairness
from diffinf_core.report.page import page
from diffinf_core.report.verdict import (
    arms_in_words,
    coverage,
    parts_in_words,
    reading,
)
from diffinf_core.runs.files import write_table, write_text


def write_csv(c: Comparison, against: str, file: Path) -> None:
    """Every figure with its interval as a table; see :func:`~diffinf_core.experiments.comparison.tidy`."""
    write_table(file, tidy(c, against))


def write_html(
    c: Comparison,
    history: pd.DataFrame,
    repair: dict[str, Any] | None,
    against: str,
    file: Path,
    audit: fairness.Audit,
) -> None:
    """The whole comparison as one HTML file that holds its own scripts and fetches nothing."""
    table = tidy(c, against)
    others = [a for a in c.arms if a != against]
    figures = [compare_plots.gains(table, against)] if others else []
    for arm in others:
        figures.append(compare_plots.confusions(c, arm, against))
        figures.append(compare_plots.reliability(c, arm, against))
        figures.append(
            compare_plots.parts(table, arm, against, ("recall", "precision"), "By class")
        )
        if c.columns:
            figures.append(compare_plots.parts(table, arm, against, c.columns, "By subgroup"))
    if len(history):
        figures.append(compare_plots.courses(history))
    said = [f"<p>{escape(reading(c, repair))}</p>"]
    warnings = [*fairness.harms(table), *audit.disparities, *audit.notes]
    said += [f'<p class="warning">{escape(text)}</p>' for text in warnings]
    words = [
        ("Arms", arms_in_words(table)),
        ("Classes", parts_in_words(table, ("recall", "precision"))),
        ("Subgroups, accuracy", fairness.accuracy_in_words(table)),
        ("Subgroups, worst and equal opportunity", fairness.arms_in_words(audit.arms)),
        (
            "Subgroups, what was flagged, edited and decided",
            fairness.training_in_words(audit.training),
        ),
    ]
    tables = [
        f'<h2>{name}</h2><div class="scroll">{shown.to_html(index=False, border=0)}</div>'
        for name, shown in words
        if len(shown)
    ]
    body = f"{''.join(said)}{''.join(tables)}<p>{escape(coverage(c))}</p>"
    write_text(file, page("DiffInf: arms compared", "Arms compared", body, figures))
