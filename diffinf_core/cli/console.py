"""What a terminal shows: a bar for each stage, tables of figures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.executor import held

if TYPE_CHECKING:  # it would load torch before the number of threads is set
    from diffinf_core.weights.pretrained import Pretrained

#: for progress and remarks; figures go to standard output
console = Console(stderr=True)


def watch(events: Iterator[Progress]) -> None:
    """Drive a stage and show a bar for each."""
    columns = (
        TextColumn("[bold]{task.description:<16}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    plain = not console.is_terminal
    with held(), Bars(*columns, console=console, disable=plain) as bars:
        tasks: dict[str, Any] = {}
        tenth: dict[str, int] = {}
        for event in events:
            if event.stage not in tasks:
                tasks[event.stage] = bars.add_task(event.stage, total=event.total, note="")
            figures = "  ".join(f"{k} {v:.3f}" for k, v in event.values.items())
            note = f"{event.note}  {figures}".strip()
            task = tasks[event.stage]
            bars.update(task, completed=event.done, total=event.total, note=note)
            # A log file gets a line per tenth instead of a moving bar.
            part = 10 * event.done // max(1, event.total)
            if plain and part != tenth.get(event.stage):
                tenth[event.stage] = part
                console.print(
                    f"{event.stage}: {event.done}/{event.total} {note}",
                    markup=False,
                    highlight=False,
                )


def print_ablation(found: list[list[str]]) -> None:
    """A row per variant, the header first."""
    head, *rows = found
    table = Table(*head)
    # in a narrow terminal the names, which tell the rows apart, would be squeezed first
    table.columns[0].min_width = 14
    for row in rows:
        table.add_row(*map(escape, row))
    Console().print(table)


def print_quality(found: dict[str, dict[str, float]], tau: float) -> None:
    """How well each score finds the wrong labels that are known."""
    table = Table(
        "score", "average precision", f"precision in the top {tau:g} %",
        title="finding the wrong labels that are known", title_justify="left",
    )  # fmt: skip
    for name in sorted(found, key=lambda n: -found[n]["average_precision"]):
        row = found[name]
        table.add_row(name, f"{row['average_precision']:.3f}", f"{row['precision_at_tau']:.3f}")
    Console().print(table)


def print_precision(found: dict[str, Any]) -> None:
    """How precise the ranking is by planted errors, a score per row, and what it comes to in words."""
    planted = found["planted"]
    if planted:
        taus = list(next(iter(planted["scores"].values()))["precision"])
        table = Table(
            "score", "average", *(f"top {tau} %" for tau in taus),
            title="precision in per cent, estimated from planted errors, with 95 % intervals",
            title_justify="left",
        )  # fmt: skip

        def cell(e: dict[str, float]) -> str:
            value, low, high = (100 * e[key] for key in ("value", "low", "high"))
            return f"{value:.0f}\n{low:.0f}-{high:.0f}"

        scores = planted["scores"]
        for name in sorted(scores, key=lambda n: -scores[n]["average_precision"]["value"]):
            row = scores[name]
            cells = [row["average_precision"], *row["precision"].values()]
            table.add_row(name, *map(cell, cells))
        Console().print(table)
    for sentence in found["in_words"]:
        Console().print(sentence, markup=False, highlight=False)


def print_agreement(run: Any) -> None:
    """How far the scores of a run agree."""
    tau = run.config.influence.tau
    titles = ("rank correlation (Spearman)", f"shared part of the top {tau:g} %")
    for title, values in zip(titles, run.explore.scores.agreement(), strict=True):
        # words that can wrap, where the terminal is narrow
        words = [str(name).replace("_", " ") for name in values.columns]
        table = Table("", *words, title=title, title_justify="left")
        for name, row in zip(words, values.to_numpy(), strict=True):
            table.add_row(name, *(f"{v:.2f}" for v in row))
        Console().print(table)


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def print_report(figures: dict[str, Any]) -> None:
    """A run in figures."""
    out = Console()
    for name in ("dataset", "influence", "predictor", "repair", "review"):
        section = figures[name]
        table = Table("figure", "value", title=name, title_justify="left", min_width=60)
        for key, value in (section or {"not run": None}).items():
            shown = (
                ", ".join(f"{k} {_number(v)}" for k, v in value.items() if not isinstance(v, dict))
                if isinstance(value, dict)
                else _number(value)
            )
            if shown:
                table.add_row(key, shown)
        out.print(table)
        if name == "influence" and section and section["by_signal"]:
            print_quality(section["by_signal"], section["tau"])
        if name == "influence" and figures["precision"]:
            print_precision(figures["precision"])
    from diffinf_core.cli.export import print_audit

    print_audit(figures["audit"])
    print_arms(figures["arms"])


def print_rounds(rounds: list[dict[str, Any]]) -> None:
    """What each round did."""
    names = {
        "round": "round",
        "edited": "edited",
        "seen_before": "of the ranked, in the round before",
        "precision_at_tau": "wrong labels among the ranked",
        "judge_agreement_after": "judge agrees",
        "identity_mean": "identity",
    }
    table = Table(*names.values(), "folder")
    for row in rounds:
        table.add_row(*(_number(row[key]) for key in names), escape(row["folder"]))
    Console().print(table)


def print_arms(arms: dict[str, Any]) -> None:
    """The arms of the comparison."""
    keys = ("accuracy", "auroc", "kappa_linear", "kappa", "ece")
    table = Table("arm", "seeds", "n", *keys, title="arms", title_justify="left")
    for arm, row in arms.items():
        cells = []
        for key in keys:
            sd = row[f"{key}_sd"]
            cells.append(_number(row[key]) + (f" ± {sd:.3f}" if sd is not None else ""))
        table.add_row(arm, str(row["seeds"]), str(row["n_train"]), *cells)
    Console().print(table)


def print_subgroups(words: dict[str, Any]) -> None:
    """What happened to each group and class, and the warnings it gives rise to."""
    titles = {
        "training": "subgroups of the training split: flagged, edited and decided, in per cent",
        "test": f"subgroups of the test split: accuracy in per cent, change against {words['against']}",
        "arms": "subgroups by arm",
    }
    for name, title in titles.items():
        shown = words[name]
        if len(shown):
            table = Table(*map(str, shown.columns), title=title, title_justify="left")
            for row in shown.itertuples(index=False, name=None):
                table.add_row(*map(escape, row))
            Console().print(table)
    for sentence in (*words["warnings"], *words["notes"]):
        Console().print(sentence, markup=False, highlight=False)


@contextmanager
def one_sentence() -> Iterator[None]:
    """End with a sentence and exit code 2 on what a user can put right, with 130 on Ctrl+C."""
    try:
        yield
    except (DiffInfError, OSError, UnicodeDecodeError) as error:
        # A path may hold brackets, which Rich would take for its markup.
        console.print(
            f"diffinf: {error}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        sys.exit(2)
    except KeyboardInterrupt:
        console.print("Stopped. Finished work is kept; the same command goes on from here.")
        sys.exit(130)


def print_weights(rows: list[tuple[Pretrained, str]]) -> None:
    """Published weights and their state, the licence below each name."""
    table = Table("name", "here", "size", "used as", show_lines=True)
    for item, state in rows:
        sizes = [source.size for source in item.sources] or [item.size]
        size = f"{sum(filter(None, sizes)) / 1e6:,.1f} MB" if all(sizes) else "?"
        known = item.sha256 or item.sources
        note = "" if known else "\nno published SHA-256: the first sum seen is kept"
        how = f"\n{item.file} by hand from {item.page}"
        if item.sources:
            how = f"\n{item.file}, converted from {', '.join(s.file for s in item.sources)} ({item.page})"
        elif item.url:
            how = f"\n{item.file} from {item.url}"
        table.add_row(item.name, state, size, escape(f"{item.use}\n{item.licence}{note}{how}"))
    Console().print(table)
