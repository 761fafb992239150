"""The frame of a page that holds its own scripts and fetches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

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


def page(title: str, heading: str, body: str, figures: Sequence[go.Figure]) -> str:
    """A whole page: ``body`` is HTML; the library of the figures comes once, with the first."""
    drawn = "".join(
        figure.to_html(include_plotlyjs=i == 0, full_html=False, config={"responsive": True})
        for i, figure in enumerate(figures)
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(heading)}</h1>{body}{drawn}</body></html>"
    )
