"""A comparison as files: one page that needs nothing else, and one table."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diffinf_core.experiments.comparison import Comparison, tidy
from diffinf_core.report import compare_plots
from diffinf_core.report.verdict import (
    arms_in_words,
    coverage,
    parts_in_words,
    reading,
    warnings,
)
from diffinf_core.runs.files import write_table, write_text

if TYPE_CHECKING:
    import plotly.graph_objects as go

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; padding: 0 1rem;
  color: #1f2733; background: #fff; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #d8dde6; padding: .3rem .6rem; text-align: left; vertical-align: top;
  white-space: pre-line; }
.scroll { overflow-x: auto; }
.warning { border-left: 4px solid #a31621; padding: .3rem .7rem; background: #f4f5f8; }
@media (prefers-color-scheme: dark) { body { color: #e8ebf0; background: #11161d; }
  th, td { border-color: #3a4352; } .warning { background: #1c222c; } }
"""


def write_csv(c: Comparison, against: str, file: Path) -> None:
    """Every figure with its interval as a table; see :func:`~diffinf_core.experiments.comparison.tidy`."""
    write_table(file, tidy(c, against))


def write_html(
    c: Comparison, history: pd.DataFrame, repair: dict[str, Any] | None, against: str, file: Path
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
    said += [f'<p class="warning">{escape(text)}</p>' for text in warnings(c, table)]
    words = [
        ("Arms", arms_in_words(table)),
        ("Classes", parts_in_words(table, ("recall", "precision"))),
        ("Subgroups, accuracy", parts_in_words(table, c.columns)),
    ]
    tables = [
        f'<h2>{name}</h2><div class="scroll">{shown.to_html(index=False, border=0)}</div>'
        for name, shown in words
        if len(shown)
    ]
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>DiffInf: arms compared</title>'
        f"<style>{_STYLE}</style></head><body><h1>Arms compared</h1>{''.join(said)}{''.join(tables)}"
        f"<p>{escape(coverage(c))}</p>{_drawn(figures)}</body></html>"
    )
    write_text(file, page)


def _drawn(figures: list[go.Figure]) -> str:
    """The figures as HTML; the library comes once, with the first."""
    return "".join(
        figure.to_html(include_plotlyjs=i == 0, full_html=False, config={"responsive": True})
        for i, figure in enumerate(figures)
    )
