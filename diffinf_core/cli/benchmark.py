"""The command line's verb that compares the repair with its rivals."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from diffinf_core.cli.console import console, watch
from diffinf_core.records import DiffInfError

T = TypeVar("T")


class Preset(StrEnum):
    """Whose recipe: one for all rows, or that of each method's authors."""

    matched = "matched"
    source = "source"


class Schedule(StrEnum):
    """Learning rate of the matched recipe."""

    cosine = "cosine"
    constant = "constant"


def listed(text: str | None, read: Callable[[str], T], option: str) -> tuple[T, ...]:
    """Values with commas between; :class:`DiffInfError` for one that cannot be read."""
    try:
        return tuple(read(part.strip()) for part in (text or "").split(",") if part.strip())
    except ValueError:
        raise DiffInfError(
            f"Cannot read {option} {text!r}; write values with commas between, e.g. 5,10,20."
        ) from None


def benchmark(
    run: Annotated[Path, typer.Argument(help="Folder of the run.", metavar="RUN")],
    methods: Annotated[
        str,
        typer.Option(
            help="Names with commas between, or a group: table1, methods, controls, all; a name with "
            "hyperparameters as in proselflc:theta=0.3. docs/baselines.md describes each."
        ),
    ] = "table1",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each row.")] = 3,
    tau: Annotated[
        str | None,
        typer.Option(
            help="Per cent that removal drops and repair edits, e.g. 5,10,20; default: the run's."
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            help="Fractions of wrong labels to inject, e.g. 0.1,0.2,0.4, each ranked and repaired anew; "
            "default: the run's."
        ),
    ] = None,
    noise_rate: Annotated[
        float | None,
        typer.Option(
            help="The rate that methods assume in the place of the injected one.", min=0, max=0.99
        ),
    ] = None,
    augment: Annotated[
        bool | None,
        typer.Option(
            "--augment/--no-augment", help="Flips and shifts; default: as the run's classifier."
        ),
    ] = None,
    preset: Annotated[Preset, typer.Option(help="Whose recipe and constants.")] = Preset.matched,
    schedule: Annotated[
        Schedule, typer.Option(help="Learning rate: as retrained arms, or as in the paper.")
    ] = Schedule.cosine,
    reference: Annotated[
        str, typer.Option(help="Method that the others' differences refer to.")
    ] = "noisy",
    workers: Annotated[int, typer.Option(min=1, help="Trainings at once, a process each.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the tables; default: RUN/benchmark.")
    ] = None,
) -> None:
    """Train the rivals of Table 1 on a run and compare them; a stopped benchmark goes on where it was."""
    from diffinf_core.engine import BenchmarkSettings, open_run

    settings = BenchmarkSettings(
        methods=listed(methods, str, "--methods"),
        seeds=seeds,
        taus=listed(tau, float, "--tau"),
        noises=listed(noise, float, "--noise"),
        augment=augment,
        schedule=schedule.value,
        preset=preset.value,
        noise_rate=noise_rate,
        reference=reference,
    )
    opened = open_run(run)
    watch(opened.benchmark.run(settings, workers, out))
    print(opened.benchmark.markdown(out))
    console.print(f"Tables and plots: {out or opened.benchmark.home}", markup=False, soft_wrap=True)
