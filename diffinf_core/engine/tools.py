"""What needs no run: training and converting networks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.run import Run


def train_generator(
    out: str | Path | None,
    settings: dict[str, Any],
    run_root: str | Path | None = None,
    pictures: str | Path | None = None,
    size: int = 64,
    start: str | Path | None = None,
    width: float = 1.0,
    scenes: int = 10000,
    scene_seed: int = 20261,
    age_fraction: float = 0.3,
    cache: str | Path = "cache/scenes",
    first_stage: str | None = None,
    covariates: tuple[str, ...] = (),
    colour: bool = True,
    trust: float | None = None,
    first_stage_minutes: float | None = None,
    unlabelled: str | Path | None = None,
) -> Iterator[Progress]:
    """Train a generator on a run's training split, on a folder of pictures, or on rendered scenes.

    With a ``first_stage`` it works on its latents instead of on pixels, for a run's pictures: then an edit
    keeps the columns ``covariates`` and the coarse ``colour``, and ``trust`` is the
    fraction of labels used of each class; the first stage "own" is trained for ``first_stage_minutes``;
    ``unlabelled`` is a folder of further pictures of the same kind.
    """
    from diffinf_core.diffusion.assets import train_on_pictures, train_on_run, train_on_scenes
    from diffinf_core.diffusion.on_latents import LatentOptions, train_on_latents

    if run_root is not None and pictures is not None:
        raise DiffInfError("Give a run or a folder of pictures, not both.")
    if unlabelled is not None and first_stage is None:
        raise DiffInfError("Unlabelled pictures are for a training on latents: give a first stage.")
    target, weights = _path(out), _path(start)
    if run_root is not None:
        opened = Run.open(Path(run_root))
        if first_stage is None:
            yield from train_on_run(opened, settings, target, weights, width)
        else:
            options = LatentOptions(
                first_stage,
                covariates,
                colour,
                trust,
                first_stage_minutes,
                _path(unlabelled),
                opened.config.generator.confidence,
            )
            yield from train_on_latents(opened, settings, target, weights, width, options)
    elif first_stage is not None:
        raise DiffInfError("Training on latents needs a run: give --run.")
    elif pictures is not None:
        if target is None:
            raise DiffInfError("Give --out, the folder for the weights.")
        yield from train_on_pictures(Path(pictures), target, settings, size, weights, width)
    else:
        target = target or Path("runs/generator")
        yield from train_on_scenes(
            target, settings, scenes, scene_seed, Path(cache), weights, age_fraction, width
        )


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def train_perceptor(
    name: str, out: str | Path, scenes: int, scene_seed: int, cache: str | Path
) -> Iterator[Progress]:
    """Train one of the small shipped networks."""
    from diffinf_core.correction.assets import train_asset

    yield from train_asset(name, Path(out), scenes, scene_seed, Path(cache))


def convert_generator(source: str | Path, target: str | Path, architecture: str | None) -> str:
    """Turn a published checkpoint into safetensors with a card; returns what it is."""
    from diffinf_core.diffusion.loading import convert

    autoencoder = convert(Path(source), Path(target), architecture)
    return f"{autoencoder.image_size} pixels, z_sem of {autoencoder.z_dim}"
