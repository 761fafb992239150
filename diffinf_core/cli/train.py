"""The command line's verbs that train networks apart from a run's stages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffinf_core.cli.console import watch
from diffinf_core.config import parse_overrides
from diffinf_core.records import DiffInfError

SceneSeed = Annotated[int, typer.Option(help="Seed of the scenes.")]
Scenes = Annotated[Path, typer.Option(help="Where rendered scenes are kept.")]


def train_generator(
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the weights; default: RUN/generator, or runs/generator."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Train on this run's training split, conditioned on its labels."),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Train on every picture under this folder, unconditional.")
    ] = None,
    size: Annotated[
        int, typer.Option(min=32, max=256, help="Side in pixels, with --pictures.")
    ] = 64,
    start: Annotated[
        Path | None, typer.Option(help="Go on from these weights (.safetensors).")
    ] = None,
    width: Annotated[
        float, typer.Option(min=0.25, max=8, help="Channels, times the default; 2 to 4 on a GPU.")
    ] = 1.0,
    steps: Annotated[int | None, typer.Option(min=1, help="Diffusion steps.")] = None,
    warmup_steps: Annotated[int | None, typer.Option(min=0, help="Encoder-only steps.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=2, help="Pictures per pass and process.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting, e.g. precision=bfloat16. Repeatable."),
    ] = None,
    first_stage: Annotated[
        str | None,
        typer.Option(
            help="Train on latents of this autoencoder, with --run: auto, own, taef2, its file or folder; "
            "photographs need it."
        ),
    ] = None,
    first_stage_minutes: Annotated[
        float | None,
        typer.Option(
            min=0.1, max=10_000, help="Time budget of --first-stage own; default: 8, 1 on a GPU."
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Time budget, in place of --steps.")
    ] = None,
    covariate: Annotated[
        list[str] | None,
        typer.Option(
            help="Column that an edit must keep, e.g. sex. With --first-stage; repeatable."
        ),
    ] = None,
    colour: Annotated[
        bool, typer.Option(help="An edit keeps the coarse colour. With --first-stage.")
    ] = True,
    trust: Annotated[
        float | None,
        typer.Option(
            min=0.05,
            max=1,
            help="Fraction of each class's labels, the least suspicious, to train on; "
            "default: estimated.",
        ),
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(
            help="Folder of further pictures of the same kind, without labels, to learn to draw from. With "
            "--first-stage."
        ),
    ] = None,
    scenes: Annotated[
        int, typer.Option(min=64, help="Rendered scenes, four pictures each.")
    ] = 10000,
    scene_seed: SceneSeed = 20261,
    age_fraction: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Fraction of scenes that change age, conditioned on the age label.",
        ),
    ] = 0.3,
    cache: Scenes = Path("cache/scenes"),
) -> None:
    """Train a diffusion autoencoder; a killed training resumes.

    Without --run or --pictures it learns rendered faces. Several GPUs: 'accelerate launch -m
    diffinf_core.cli train-generator ...'. While it runs, curve.html and grids/ show its progress.
    """
    from diffinf_core.engine import train_generator as work

    latent = covariate or trust is not None or not colour or first_stage_minutes is not None
    if first_stage is None and (latent or unlabelled is not None):
        raise DiffInfError(
            "--covariate, --trust, --no-colour, --first-stage-minutes and --unlabelled need --first-stage."
        )
    changes = {
        "steps": steps,
        "warmup_steps": warmup_steps,
        "batch_size": batch_size,
        "minutes": minutes,
    }
    given = {k: v for k, v in changes.items() if v is not None}
    for pair in settings or []:
        if "=" not in pair:
            raise DiffInfError(
                f"Cannot read {pair!r}; write setting=value, e.g. precision=bfloat16."
            )
        given.update(parse_overrides([f"training.{pair}"])["training"])
    watch(
        work(
            out=out,
            settings=given,
            run_root=run,
            pictures=pictures,
            size=size,
            start=start,
            width=width,
            scenes=scenes,
            scene_seed=scene_seed,
            age_fraction=age_fraction,
            cache=cache,
            first_stage=first_stage,
            covariates=tuple(covariate or ()),
            colour=colour,
            trust=trust,
            first_stage_minutes=first_stage_minutes,
            unlabelled=unlabelled,
        )
    )


def train_perceptor(
    name: Annotated[str, typer.Argument(help="identity, parsing, perceptual or judge.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights.")] = Path("assets/weights"),
    scenes: Annotated[int, typer.Option(min=1000, help="Rendered scenes.")] = 10000,
    scene_seed: SceneSeed = 20261,
    cache: Scenes = Path("cache/scenes"),
) -> None:
    """Train one of the small shipped networks on rendered faces."""
    from diffinf_core.engine import train_perceptor as work

    watch(work(name, out, scenes, scene_seed, cache))
