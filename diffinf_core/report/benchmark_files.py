"""A benchmark as plots, as a page that needs nothing else, and as files."""

from __future__ import annotations

from html import escape
from pathlib import Path

import plotly.graph_objects as go

from diffinf_core.experiments.suite import Benchmark, Table, store
from diffinf_core.report.benchmark import (
    frame,
    group_frame,
    latex,
    markdown,
    paper_of,
    parts,
    summary,
    title_of,
)
from diffinf_core.report.page import page
from diffinf_core.report.plots import ACCENT, MUTED, colour_of, styled
from diffinf_core.runs.files import write_table, write_text

#: names of the files of a benchmark
FILES = ("benchmark.json", "benchmark.csv", "benchmark.md", "benchmark.tex", "benchmark.html")
#: the accuracy of each row in each group; there only where the data set has groups
GROUPS = "benchmark-groups.csv"
#: per-sample scores of the methods; there only once a benchmark has ended
SAMPLES = "benchmark-samples.csv"


def write(benchmark: Benchmark, folder: Path) -> None:
    """Write :data:`FILES` and :data:`GROUPS` into a folder; the JSON, source of the others, comes last."""
    write_table(folder / "benchmark.csv", frame(benchmark))
    groups = group_frame(benchmark)
    if len(groups):
        write_table(folder / GROUPS, groups)
    else:
        (folder / GROUPS).unlink(missing_ok=True)
    write_text(folder / "benchmark.md", markdown(benchmark))
    write_text(folder / "benchmark.tex", latex(benchmark))
    write_text(folder / "benchmark.html", html(benchmark))
    store(benchmark, folder / "benchmark.json")


def rows_plot(benchmark: Benchmark, table: Table) -> go.Figure:
    """Accuracy of each row with its deviation over seeds, the paper's figure beside it as a ring."""
    rows, task = table.results, paper_of(benchmark, table)
    names = [escape(r.title) for r in rows]
    figure = go.Figure()
    figure.add_scatter(
        x=[100 * r.mean["accuracy"] for r in rows],
        y=names,
        mode="markers",
        name="measured",
        error_x={
            "array": [100 * r.deviation["accuracy"] if r.deviation else 0 for r in rows],
            "color": MUTED,
        },
        marker={"size": 11, "color": [ACCENT if r.method == "repair" else MUTED for r in rows]},
        hovertemplate="%{y}: %{x:.2f} %<extra></extra>",
    )
    if task is not None:
        known = [r for r in rows if r.method in task.rows]
        figure.add_scatter(
            x=[task.rows[r.method][0] for r in known],
            y=[escape(r.title) for r in known],
            mode="markers",
            name="the paper, on FFHQ",
            marker={"size": 11, "symbol": "circle-open", "color": ACCENT},
            hovertemplate="the paper, %{y}: %{x:.2f} %<extra></extra>",
        )
    figure = styled(figure, title_of(benchmark, table).capitalize(), 150 + 26 * max(3, len(rows)))
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(title="accuracy on the test split, %")
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"}
    return figure.update_layout(showlegend=task is not None, legend=legend)


def sweep_plot(benchmark: Benchmark, over: str) -> go.Figure | None:
    """Accuracy of the last epoch over "tau" or "noise", a line per row; None where that was not swept."""
    tables = [t for t in benchmark.tables if t.epoch == "last" and t.results]
    first = min((t.noise if over == "tau" else t.tau for t in tables), default=0)
    tables = [t for t in tables if (t.noise if over == "tau" else t.tau) == first]
    if len(tables) < 2:
        return None
    figure = go.Figure()
    named = {r.name: r for t in tables for r in t.results}
    for name, row in named.items():
        at = [
            (t.tau if over == "tau" else 100 * t.noise, r)
            for t in tables
            for r in t.results
            if r.name == name
        ]
        figure.add_scatter(
            x=[x for x, _ in at],
            y=[100 * r.mean["accuracy"] for _, r in at],
            error_y={"array": [100 * r.deviation["accuracy"] if r.deviation else 0 for _, r in at]},
            mode="lines+markers",
            name=escape(row.title),
            line={"color": colour_of("repaired" if row.method == "repair" else row.method)},
        )
    other = f"noise {100 * first:g} %" if over == "tau" else f"tau {first:g} %"
    figure = styled(figure, f"Accuracy over {over}, {other}, last epoch", 460)
    figure.update_xaxes(title=f"{over}, %")
    figure.update_yaxes(title="accuracy, %")
    return figure.update_layout(showlegend=True)


def plots(benchmark: Benchmark) -> list[go.Figure]:
    """Every plot: the rows of each table, then the sweeps."""
    figures = [rows_plot(benchmark, t) for t in benchmark.tables if t.results]
    sweeps = [sweep_plot(benchmark, over) for over in ("tau", "noise")]
    return [*figures, *(figure for figure in sweeps if figure is not None)]


def html(benchmark: Benchmark) -> str:
    """The benchmark as one page that holds its own scripts and fetches nothing."""
    body = [f"<p>{escape(summary(benchmark))}</p>"]
    for title, lines, left in parts(benchmark):
        body.append(f"<h2>{escape(title.capitalize())}</h2>")
        if lines:
            body.append(table_html(lines))
        if left:
            body.append(f'<p class="warning">{escape(left)}</p>')
    return page("DiffInf: benchmark", "Benchmark", "".join(body), plots(benchmark))


def table_html(lines: list[list[str]]) -> str:
    """A table of text, the header first, that scrolls where it is too wide."""
    head, *rows = [[escape(cell) for cell in line] for line in lines]
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    rest = "".join(
        f'<tr><th scope="row">{line[0]}</th>{"".join(f"<td>{cell}</td>" for cell in line[1:])}</tr>'
        for line in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{rest}</tbody></table></div>'
