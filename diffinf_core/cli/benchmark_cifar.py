"""The command line's verb for sanity runs of the methods on CIFAR-10."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from diffinf_core.cli.benchmark import Preset, listed
from diffinf_core.cli.console import watch


class Noise(StrEnum):
    """What redrawn labels are drawn from."""

    inclusive = "inclusive"
    exact = "exact"


def benchmark_cifar(
    folder: Annotated[
        Path, typer.Argument(help="Folder with the .bin files of the binary version of CIFAR-10.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for trainings and table.")] = Path("runs/cifar"),
    methods: Annotated[str, typer.Option(help="Names with commas between.")] = "noisy,elr",
    rate: Annotated[float, typer.Option(help="Fraction of labels redrawn.", min=0, max=0.99)] = 0.2,
    noise: Annotated[
        Noise,
        typer.Option(
            help="Draw from all classes, as published tables do, or from the wrong ones only."
        ),
    ] = Noise.inclusive,
    preset: Annotated[Preset, typer.Option(help="Whose recipe and constants.")] = Preset.source,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each row.")] = 1,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of the shared recipe, with --preset matched.")
    ] = None,
    most: Annotated[
        int | None, typer.Option(min=100, help="Use so many training pictures, for a trial.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trainings at once, a process each.")] = 1,
) -> None:
    """Train methods on CIFAR-10 and compare them with their authors' figures; needs a GPU in practice."""
    from diffinf_core.engine import benchmark_cifar as work

    job = work(
        folder,
        out,
        listed(methods, str, "--methods"),
        rate,
        noise.value,
        preset.value,
        seeds,
        epochs,
        most,
        workers,
    )
    watch(job)
    print(job.result())
