"""An ablation as a plot, as text and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from diffinf_core.experiments.ablation import COLUMNS, summary
from diffinf_core.report.plots import ACCENT, styled
from diffinf_core.runs.files import read_json, write_file


def write_page(folder: Path) -> None:
    """Write ``ablation.html`` beside the ``ablation.json`` in a folder; a page that needs nothing else."""
    table = summary(read_json(folder / "ablation.json"))
    page = plot(table).to_html(include_plotlyjs=True, full_html=True)
    write_file(folder / "ablation.html", lambda f: f.write(page.encode()))


def plot(table: pd.DataFrame) -> go.Figure:
    """Judge against identity, a dot per variant: right and up is better."""
    y = "identity_mean" if "identity_mean" in table else "ssim"

    def spread(column: str) -> dict[str, Any]:
        sd = table.get(column + "_sd")
        return {} if sd is None else {"array": sd.fillna(0), "color": "rgba(138,148,166,0.5)"}

    dots = go.Scatter(
        x=table["judge_agrees"],
        y=table[y],
        error_x=spread("judge_agrees"),
        error_y=spread(y),
        mode="markers+text",
        marker={"size": 12, "color": ACCENT},
        text=table["variant"],
        textposition="top center",
    )
    figure = styled(go.Figure(dots), "Label reached against person kept", 560)
    figure.update_xaxes(title="judge agrees with the assigned label")
    figure.update_yaxes(title=y.replace("_mean", " cosine"))
    return figure


def in_words(table: pd.DataFrame) -> list[list[str]]:
    """The summary as text, header first: mean and deviation over seeds in one cell."""
    names = [c for c in COLUMNS if c in table]
    out = [["variant", *(COLUMNS[c] for c in names)]]
    for row in table.to_dict("records"):
        cells = []
        for c in names:
            value, sd = row[c], row.get(c + "_sd")
            text = "-" if pd.isna(value) else f"{value:.2f}"
            cells.append(text if sd is None or pd.isna(sd) else f"{text} ± {sd:.2f}")
        out.append([str(row["variant"]), *cells])
    return out


def markdown(table: pd.DataFrame) -> str:
    """The summary as a table for a page."""
    head, *rows = ["| " + " | ".join(cells) + " |" for cells in in_words(table)]
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *rows])
