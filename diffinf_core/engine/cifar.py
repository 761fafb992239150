"""Sanity runs of the methods on CIFAR-10, beside the figures of their authors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pandas as pd

from diffinf_core.baselines import Recipe, make_method
from diffinf_core.baselines.registry import Preset
from diffinf_core.experiments.benchmark import (
    EPOCHS,
    Epoch,
    Row,
    benchmark_results,
    run_benchmark,
    unfinished,
)
from diffinf_core.experiments.cifar import PUBLISHED, Cifar10
from diffinf_core.records import DiffInfError, Job, Progress
from diffinf_core.report.benchmark import EPOCH_TITLES
from diffinf_core.report.benchmark_rows import to_markdown, to_table
from diffinf_core.runs.files import write_table, write_text
from diffinf_core.runs.locks import exclusive

#: for methods whose authors prescribe no recipe, and for all under the preset "matched"
_RECIPE = Recipe(
    epochs=200,
    batch_size=128,
    optimiser="sgd",
    learning_rate=0.02,
    weight_decay=5e-4,
    schedule="steps",
    milestones=(100, 150),
)


def benchmark_cifar(
    folder: str | Path,
    out: str | Path,
    methods: Sequence[str] = ("noisy", "elr"),
    rate: float = 0.2,
    noise: Literal["inclusive", "exact"] = "inclusive",
    preset: Preset = "source",
    seeds: int = 1,
    epochs: int | None = None,
    most: int | None = None,
    workers: int = 1,
) -> Job[Progress, str]:
    """Train methods on CIFAR-10 under ``out``; the result is a table in Markdown, also a file there.

    ``folder`` holds the binary version; ``noise`` and ``rate`` are those of
    :class:`~diffinf_core.experiments.cifar.Cifar10`. ``epochs`` shortens the shared recipe, and needs the
    preset "matched". Resumes where it was stopped. Raises :class:`DiffInfError` for other files.
    """
    if epochs is not None and preset == "source":
        raise DiffInfError(
            "The recipes of the methods' authors have their own epochs; use --preset matched."
        )
    if not 0 <= rate < 1:
        raise DiffInfError(f"A noise rate of {rate} is not in [0, 1).")
    recipe, home = _RECIPE, Path(out)
    if epochs is not None:
        # a training of one epoch has no decay
        milestones = tuple(max(1, epochs * m // recipe.epochs) for m in recipe.milestones)
        recipe = replace(recipe, epochs=epochs, milestones=milestones)
    problem = Cifar10(Path(folder), rate, noise, recipe=recipe, most=most)
    problem.test(), problem.wrong()  # what cannot be read is said at once
    rows = [Row(make_method(name, preset), preset) for name in methods]

    def work() -> Iterator[Progress]:
        home.mkdir(parents=True, exist_ok=True)
        refusal = f"Another process is computing in {home}{{holder}}; wait for it or stop it."
        with exclusive(home / ".lock", refusal):
            yield from run_benchmark(home / "trainings", problem, rows, range(seeds), workers)

    return Job.of(work(), lambda: _tables(home, problem, rows, range(seeds)))


def _tables(home: Path, problem: Cifar10, rows: Sequence[Row], seeds: Sequence[int]) -> str:
    wrong = problem.wrong()
    published = PUBLISHED.get(problem.rate, {}) if problem.noise == "inclusive" else {}
    text = [
        f"CIFAR-10, {problem.noise} noise of rate {problem.rate:g}: {wrong.mean():.1%} of "
        f"{len(wrong):,} training labels are wrong."
    ]
    records = []
    for epoch in EPOCHS:
        found = benchmark_results(home / "trainings", problem, rows, seeds, epoch)
        records += to_table(found)
        if found:
            text += [f"**{_title(epoch)}**", to_markdown(found)]
    text += unfinished(home / "trainings", problem, rows, seeds)
    if published:
        names = {row.method.name: row.method.title for row in rows}
        known = ", ".join(f"{names[n]} {published[n]:g}" for n in names if n in published)
        if known:
            text.append(f"Published accuracy, per cent, best epoch, other networks: {known}.")
    whole = "\n\n".join(text) + "\n"
    write_text(home / "cifar10.md", whole)
    write_table(home / "cifar10.csv", pd.DataFrame(records))
    return whole


def _title(epoch: Epoch) -> str:
    title = EPOCH_TITLES[epoch]
    return title[0].upper() + title[1:]
