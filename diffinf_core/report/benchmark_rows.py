"""The rows of a benchmark in the form of the paper's Table 1: text, Markdown, LaTeX, flat records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diffinf_core.experiments.benchmark import Result
from diffinf_core.experiments.differences import Difference
from diffinf_core.experiments.retrain import METRICS
from diffinf_core.report.paper import Figures

#: what a printed table shows of a metric: heading, factor, decimals
PRINTED = {
    "accuracy": ("Accuracy (%)", 100, 2),
    "auroc": ("AUROC (%)", 100, 2),
    "kappa_linear": ("Kappa", 1, 3),
}
Lines = list[list[str]]


def spread_text(value: float | None, sd: float | None, factor: float, digits: int) -> str:
    """A figure with its deviation; "-" where there is none."""
    if value is None:
        return "-"
    text = f"{factor * value:.{digits}f}"
    return text if sd is None else f"{text} ± {factor * sd:.{digits}f}"


def difference_text(found: Difference | None) -> str:
    """Percentage points with the interval; "-" where there is none."""
    if found is None:
        return "-"
    text = f"{100 * found.value:+.2f}"
    if found.low is None or found.high is None:
        return text
    return f"{text} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"


def table_lines(results: Sequence[Result], paper: Mapping[str, Figures] | None = None) -> Lines:
    """The rows of a table as text, the header first; columns that no row fills are left out."""
    columns: dict[str, list[str]] = {"Method": [r.title for r in results]}
    columns["Uses"] = [", ".join(r.knows) for r in results]
    for metric, (heading, factor, digits) in PRINTED.items():
        sds = [r.deviation[metric] if r.deviation else None for r in results]
        columns[heading] = [
            spread_text(r.mean[metric], sd, factor, digits)
            for r, sd in zip(results, sds, strict=True)
        ]
    columns["Accuracy, difference"] = [
        difference_text(r.differences.get("accuracy")) for r in results
    ]
    columns["DiffInf minus this row"] = [
        difference_text(r.behind) if r.behind else "" for r in results
    ]
    groups = [r.groups for r in results]
    columns["Worst group (%)"] = [
        spread_text(g.worst, g.worst_sd, 100, 1) if g else "" for g in groups
    ]
    columns["Opportunity gap"] = [
        spread_text(g.gap, g.gap_sd, 100, 1) if g and g.gap is not None else "" for g in groups
    ]
    columns["AP of suspicion"] = [
        f"{r.detection['average_precision']:.2f}" if r.detection else "" for r in results
    ]
    columns["Cost"] = ["-" if r.cost is None else f"{r.cost:.1f}" for r in results]
    columns["Preparation"] = [
        "" if r.preparation is None else f"{r.preparation:.1f}" for r in results
    ]
    if paper is not None:
        columns["Paper (FFHQ): accuracy, AUROC, kappa"] = [
            "{:.2f}, {:.2f}, {:.2f}".format(*paper[r.method]) if r.method in paper else ""
            for r in results
        ]
    shown = {head: cells for head, cells in columns.items() if any(cells)}
    return [list(shown), *(list(line) for line in zip(*shown.values(), strict=True))]


def markdown_of(lines: Lines) -> str:
    """Lines of text, the header first, as a table in Markdown."""
    head, *rows = lines
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", r"\|") for c in line) + " |" for line in cells
    )


_LATEX = {"\\": r"\textbackslash{}", "±": r"$\pm$", **{c: f"\\{c}" for c in "%_&#${}"}}


def latex_of(lines: Lines) -> str:
    """The same as a tabular with booktabs."""
    head, *rows = [
        " & ".join("".join(_LATEX.get(c, c) for c in cell) for cell in line) + r" \\"
        for line in lines
    ]
    begin = [rf"\begin{{tabular}}{{l{'r' * (len(lines[0]) - 1)}}}", r"\toprule", head, r"\midrule"]
    return "\n".join([*begin, *rows, r"\bottomrule", r"\end{tabular}"])


def to_markdown(results: Sequence[Result], paper: Mapping[str, Figures] | None = None) -> str:
    """The form of Table 1, with differences, groups and costs."""
    return markdown_of(table_lines(results, paper))


def to_latex(results: Sequence[Result], paper: Mapping[str, Figures] | None = None) -> str:
    """The same for LaTeX, with booktabs."""
    return latex_of(table_lines(results, paper))


def to_table(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A flat record per row, for CSV and JSON: every metric, its deviation, difference and interval."""
    out = []
    for r in results:
        record: dict[str, Any] = {
            "method": r.name, "epoch": r.epoch, "seeds": r.seeds, "cost": r.cost,
            "preparation": r.preparation, "uses": ", ".join(r.knows),
        }  # fmt: skip
        for metric in METRICS:
            record[metric] = r.mean[metric]
            record[f"{metric}_sd"] = None if r.deviation is None else r.deviation[metric]
            found = r.differences.get(metric)
            record[f"{metric}_difference"] = None if found is None else found.value
            record[f"{metric}_low"] = None if found is None else found.low
            record[f"{metric}_high"] = None if found is None else found.high
        record |= {
            "repair_difference": r.behind and r.behind.value,
            "repair_low": r.behind and r.behind.low,
            "repair_high": r.behind and r.behind.high,
        }
        g, d = r.groups, r.detection or {}
        record |= {
            "worst_group": g and g.worst_group, "worst_group_accuracy": g and g.worst,
            "worst_group_accuracy_sd": g and g.worst_sd, "opportunity_gap": g and g.gap,
            "opportunity_gap_sd": g and g.gap_sd,
            "suspicion_average_precision": d.get("average_precision"),
            "suspicion_auroc": d.get("auroc"),
        }  # fmt: skip
        out.append(record)
    return out
