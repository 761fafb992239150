"""A whole benchmark as text: what its tables share, every table, and what it says of the paper's order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from diffinf_core.baselines import make_method
from diffinf_core.experiments.benchmark import REFERENCE, Result
from diffinf_core.experiments.differences import Difference
from diffinf_core.experiments.suite import Benchmark, Table
from diffinf_core.report.benchmark_groups import group_lines, group_records, group_warnings
from diffinf_core.report.benchmark_rows import (
    Lines,
    difference_text,
    latex_of,
    markdown_of,
    spread_text,
    table_lines,
    to_table,
)
from diffinf_core.report.paper import PaperTask, paper_task

EPOCH_TITLES = {"last": "last epoch", "best": "best epoch on validation"}


def paper_of(benchmark: Benchmark, table: Table) -> PaperTask | None:
    """The paper's task where this table has its classes, noise and tau."""
    task = paper_task(benchmark.data["classes"])
    return task if task and (task.noise, task.tau) == (table.noise, table.tau) else None


def title_of(benchmark: Benchmark, table: Table) -> str:
    """What a table was measured under."""
    augmented = "with" if benchmark.augment else "without"
    return (
        f"tau {table.tau:g} %, noise {100 * table.noise:g} %, {augmented} augmentation, "
        f"{EPOCH_TITLES[table.epoch]}"
    )


def summary(benchmark: Benchmark) -> str:
    """What every table shares, in sentences."""
    d, r, settings = benchmark.data, benchmark.recipe, benchmark.settings
    seeds, preset = settings.seeds, settings.preset
    how = (
        f"{r.epochs} epochs of {r.optimiser.capitalize()} at {r.learning_rate:g} "
        f"({r.schedule}), batches of {r.batch_size}"
    )
    if preset != "matched":
        how += ", but for methods whose authors prescribe a recipe"
    reference = "plain training"
    if settings.reference != REFERENCE:
        reference = make_method(settings.reference).title
    labels = "clean" if d["clean_test"] else "as the data set came with them"
    return (
        f"{d['name']}: {d['n_train']:,} training and {d['n_test']:,} test pictures, test labels {labels}. "
        f"{how}; {seeds} {'seed' if seeds == 1 else 'seeds'} of the training; noise, ranking and edits are "
        f"the run's. Means ± standard deviation over seeds; differences to {reference} in points with "
        "95 % intervals of a paired bootstrap over test pictures and seeds. Cost: processor time of a row "
        "relative to plain training. Preparation: wall time of the run's own stages that a row needs, once "
        "for all seeds, relative to the processor time of a plain training; the training of a generator is "
        "not in it."
    )


#: the order that the paper's Table 1 shows
_ORDER = ("noisy", "removal", "repair")


def order(table: Table, reference: str = REFERENCE) -> list[str]:
    """Whether noisy < removal < repair holds in a table, a sentence for each pair that is finished.

    The differences of removal are those to the method ``reference``.
    """
    rows = {r.method: r for r in reversed(table.results)}
    pairs = []
    if {"noisy", "removal"} <= set(rows) and reference == REFERENCE:
        found = rows["removal"].differences.get("accuracy")
        pairs.append((rows["removal"].title, rows["noisy"].title, found))
    for name in _ORDER[:2]:
        if {name, "repair"} <= set(rows):
            pairs.append((rows["repair"].title, rows[name].title, rows[name].behind))
    return [
        f"{better} minus {other}, accuracy in points: {difference_text(found)}; {_reading(found)}."
        for better, other, found in pairs
    ]


def _reading(found: Difference | None) -> str:
    if found is None or not found.excludes_zero:
        return "not significant"
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
        cells = [
            spread_text(own[k]["mean"], own[k]["sd"], 1, 3) if k in own else "-" for k in labels
        ]
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
        sentences = order(table, benchmark.settings.reference)
        left = " ".join([*sentences, *table.unfinished])
        lines = table_lines(table.results, task.rows if task else None) if table.results else []
        out.append((title_of(benchmark, table), lines, left))
        groups = group_lines(table.results) if table.epoch == "last" else []
        if groups:
            title = f"accuracy (%) by group and its difference, {title_of(benchmark, table)}"
            out.append((title, groups, " ".join(group_warnings(table.results))))
    distance = distance_lines(benchmark)
    if distance:
        out.append(("Perceptual distance of edits by assigned class", distance, ""))
    return out


def markdown(benchmark: Benchmark) -> str:
    """The whole benchmark for a page."""
    text = [summary(benchmark)]
    for title, lines, left in parts(benchmark):
        text += [
            f"**{title[0].upper()}{title[1:]}**",
            *([markdown_of(lines)] if lines else []),
            left,
        ]
    return "\n\n".join(part for part in text if part) + "\n"


def latex(benchmark: Benchmark) -> str:
    """Every table for LaTeX, each under a comment with its title."""
    return (
        "\n\n".join(
            f"% {title}\n{latex_of(lines)}" for title, lines, _ in parts(benchmark) if lines
        )
        + "\n"
    )


def frame(benchmark: Benchmark) -> pd.DataFrame:
    """Every row of every table, and the settings that it was measured under."""
    return _frame(benchmark, to_table)


def group_frame(benchmark: Benchmark) -> pd.DataFrame:
    """The same of every group, and of every class within a group."""
    return _frame(benchmark, group_records)


def _frame(
    benchmark: Benchmark, records: Callable[[Sequence[Result]], list[dict[str, Any]]]
) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"tau": t.tau, "noise": t.noise, "augment": benchmark.augment, **record}
            for t in benchmark.tables
            for record in records(t.results)
        ]
    )
