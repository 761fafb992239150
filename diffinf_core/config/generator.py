"""The generator that a run trains before the repair, where it has none."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from diffinf_core.config.section import Section, later


class GeneratorConfig(Section):
    """The generator trained on the run's own pictures, on latents, where the repair has none."""

    train: bool = Field(False, description="train one before the repair where there is none")
    first_stage: str = Field(
        "auto",
        min_length=1,
        description="autoencoder whose latents it works on: auto, own, taef2, its file or folder",
    )
    first_stage_minutes: float | None = later(
        None,
        gt=0,
        le=10_000,
        description="time budget of the first stage own; default: 8 on a CPU, 1 on a GPU",
    )
    minutes: float | None = Field(
        None, gt=0, le=100_000, description="time budget; default: 60 on a CPU, 7 on a GPU"
    )
    covariates: tuple[str, ...] = Field((), description="columns that an edit keeps, e.g. sex")
    colour: bool = Field(True, description="an edit keeps the coarse colour")
    trust: float | None = Field(
        None,
        ge=0.05,
        le=1,
        description="fraction of each class's labels, the least suspicious, to train on; default: estimated",
    )
    confidence: bool = later(
        True,
        description="compute feature_confidence first, and trust labels by it in place of the losses",
    )
    unlabelled: Path | None = later(
        None,
        description="folder of further pictures of the same kind, without labels, to learn to draw from; "
        "covariates are taken from its labels.csv, if it has one",
    )
    training: dict[str, bool | int | float | str] = Field(
        {}, description="other settings of the training, as those of train-generator"
    )
