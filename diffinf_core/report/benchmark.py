"""A benchmark as text in the form of the paper's Table 1: Markdown, LaTeX, flat records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from diffinf_core.experiments.benchmark import Result
from diffinf_core.experiments.differences import Difference
from diffinf_core.experiments.retrain import METRICS
from diffinf_core.experiments.suite import Benchmark, Table
from diffinf_core.report.paper import Figures, PaperTask, paper_task

#: what a printed table shows of a metric: heading, factor, decimals
PRINTED = {
    "accuracy": ("Accuracy (%)", 100, 2),
    "auroc": ("AUROC (%)", 100, 2),
    "kappa_linear": ("Kappa", 1, 3),
}
EPOCH_TITLES = {"last": "last epoch", "best": "best epoch on validation"}
Lines = list[list[str]]


def _spread(value: float | None, sd: float | None, factor: float, digits: int) -> str:
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
            _spread(r.mean[metric], sd, factor, digits) for r, sd in zip(results, sds, strict=True)
        ]
    columns["Accuracy, difference"] = [
        difference_text(r.differences.get("accuracy")) for r in results
    ]
    columns["DiffInf less this row"] = [
        difference_text(r.behind) if r.behind else "" for r in results
    ]
    groups = [r.groups for r in results]
    columns["Worst group (%)"] = [_spread(g.worst, g.worst_sd, 100, 1) if g else "" for g in groups]
    columns["Opportunity gap"] = [
        _spread(g.gap, g.gap_sd, 100, 1) if g and g.gap is not None else "" for g in groups
    ]
    columns["AP of suspicion"] = [
        f"{r.detection['average_precision']:.2f}" if r.detection else "" for r in results
    ]
    columns["Cost"] = ["-" if r.cost is None else f"{r.cost:.1f}" for r in results]
    if paper is not None:
        columns["Paper (FFHQ): accuracy, AUROC, kappa"] = [
            "{:.2f}, {:.2f}, {:.2f}".format(*paper[r.name]) if r.name in paper else ""
            for r in results
        ]
    shown = {head: cells for head, cells in columns.items() if any(cells)}
    return [list(shown), *(list(line) for line in zip(*shown.values(), strict=True))]


def _markdown(lines: Lines) -> str:
    head, *rows = lines
    cells = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", r"\|") for c in line) + " |" for line in cells
    )


_LATEX = {"\\": r"\textbackslash{}", "±": r"$\pm$", **{c: f"\\{c}" for c in "%_&#${}"}}


def _latex(lines: Lines) -> str:
    head, *rows = [
        " & ".join("".join(_LATEX.get(c, c) for c in cell) for cell in line) + r" \\"
        for line in lines
    ]
    begin = [rf"\begin{{tabular}}{{l{'r' * (len(lines[0]) - 1)}}}", r"\toprule", head, r"\midrule"]
    return "\n".join([*begin, *rows, r"\bottomrule", r"\end{tabular}"])


def to_markdown(results: Sequence[Result], paper: Mapping[str, Figures] | None = None) -> str:
    """The form of Table 1, with differences, groups and costs."""
    return _markdown(table_lines(results, paper))


def to_latex(results: Sequence[Result], paper: Mapping[str, Figures] | None = None) -> str:
    """The same for LaTeX, with booktabs."""
    return _latex(table_lines(results, paper))


def to_table(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A flat record per row, for CSV and JSON: every metric, its deviation, difference and interval."""
    out = []
    for r in results:
        record: dict[str, Any] = {
            "method": r.name, "epoch": r.epoch, "seeds": r.seeds, "cost": r.cost,
            "uses": ", ".join(r.knows),
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


# ---------------------------------------------------------------- a whole benchmark


def paper_of(benchmark: Benchmark, table: Table) -> PaperTask | None:
    """The paper's task where this table has its classes, noise and tau."""
    task = paper_task(benchmark.data["classes"])
    return task if task and (task.noise, task.tau) == (table.noise, table.tau) else None


def title_of(benchmark: Benchmark, table: Table) -> str:
    """What a table was measured under."""
    augmented = "with" if benchmark.augment else "without"
    return (
        f"tau {table.tau:g} %, noise {table.noise:.0%}, {augmented} augmentation, "
        f"{EPOCH_TITLES[table.epoch]}"
    )


def summary(benchmark: Benchmark) -> str:
    """What every table shares, in sentences."""
    d, r, seeds = benchmark.data, benchmark.recipe, benchmark.settings.seeds
    preset = benchmark.settings.preset
    how = (
        f"{r.epochs} epochs of {r.optimiser.capitalize()} at {r.learning_rate:g} "
        f"({r.schedule}), batches of {r.batch_size}"
    )
    if preset != "matched":
        how += ", but for methods whose authors prescribe a recipe"
    labels = "clean" if d["clean_test"] else "as the data set came with them"
    return (
        f"{d['name']}: {d['n_train']:,} training and {d['n_test']:,} test pictures, test labels {labels}. "
        f"{how}; {seeds} {'seed' if seeds == 1 else 'seeds'} of the training; noise, ranking and edits are "
        "the run's. Means ± standard deviation over seeds; differences to plain training in points with "
        "95 % intervals of a paired bootstrap over test pictures and seeds. Cost: processor time relative to "
        "plain training, without ranking and repair."
    )


#: the order that the paper's Table 1 shows
_ORDER = ("noisy", "removal", "repair")


def order(table: Table) -> list[str]:
    """Whether noisy < removal < repair holds in a table, a sentence for each pair that is finished."""
    rows = {r.name: r for r in table.results}
    pairs = []
    if {"noisy", "removal"} <= set(rows):
        found = rows["removal"].differences.get("accuracy")
        pairs.append((rows["removal"].title, rows["noisy"].title, found))
    for name in _ORDER[:2]:
        if {name, "repair"} <= set(rows):
            pairs.append((rows["repair"].title, rows[name].title, rows[name].behind))
    return [
        f"{better} less {other}, accuracy in points: {difference_text(found)}; {_reading(found)}."
        for better, other, found in pairs
    ]


def _reading(found: Difference | None) -> str:
    if found is None or not found.excludes_zero:
        return "the data do not decide which is better"
    return "the paper's order holds" if found.value > 0 else "the paper's order is reversed"


def distance_lines(benchmark: Benchmark) -> Lines:
    """Class-wise perceptual distance of the edits, the header first; empty without edits."""
    records = benchmark.distances
    if not records:
        return []
    labels = list(dict.fromkeys(r["label"] for r in records))
    task = paper_of(benchmark, benchmark.tables[0])
    out = [["Edits by", *labels, "Network"]]
    for method in dict.fromkeys(r["method"] for r in records):
        own = {r["label"]: r for r in records if r["method"] == method}
        cells = [_spread(own[k]["mean"], own[k]["sd"], 1, 3) if k in own else "-" for k in labels]
        out.append([method, *cells, next(iter(own.values()))["network"]])
        if method == "repair":
            floor = [f"{own[k]['floor']:.3f}" if k in own else "-" for k in labels]
            out.append(["their reconstructions", *floor, out[-1][-1]])
    if task is not None:
        paper = [f"{task.lpips[k.lower()]:.3f}" for k in labels]
        out.append(["Paper (FFHQ)", *paper, "LPIPS"])
    return out


def parts(benchmark: Benchmark) -> list[tuple[str, Lines, str]]:
    """Every table of a benchmark: its title, its lines, and what is to be said of it, in sentences."""
    out = []
    for table in benchmark.tables:
        task = paper_of(benchmark, table)
        left = " ".join([*order(table), *table.unfinished])
        lines = table_lines(table.results, task.rows if task else None) if table.results else []
        out.append((title_of(benchmark, table), lines, left))
    distance = distance_lines(benchmark)
    if distance:
        out.append(("Perceptual distance of edits by assigned class", distance, ""))
    return out


def markdown(benchmark: Benchmark) -> str:
    """The whole benchmark for a page."""
    text = [summary(benchmark)]
    for title, lines, left in parts(benchmark):
        text += [f"**{title[0].upper()}{title[1:]}**", *([_markdown(lines)] if lines else []), left]
    return "\n\n".join(part for part in text if part) + "\n"


def latex(benchmark: Benchmark) -> str:
    """Every table for LaTeX, each under a comment with its title."""
    return (
        "\n\n".join(f"% {title}\n{_latex(lines)}" for title, lines, _ in parts(benchmark) if lines)
        + "\n"
    )


def frame(benchmark: Benchmark) -> pd.DataFrame:
    """Every row of every table, and the settings that it was measured under."""
    records = [
        {"tau": t.tau, "noise": t.noise, "augment": benchmark.augment, **record}
        for t in benchmark.tables
        for record in to_table(t.results)
    ]
    return pd.DataFrame(records)
