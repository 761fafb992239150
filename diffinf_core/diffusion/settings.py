"""How to train a generator: the settings, and the names they had in earlier versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from diffinf_core.diffusion.schedule import TIMES

#: settings as they are called in model cards, checkpoints and commands of earlier versions
_FORMER_SETTINGS = {
    "z_blank": "z_dropout",
    "decay_share": "decay_fraction",
    "low_time_share": "low_time_fraction",
}
#: the same for a card's description of its data, and for the training state
_FORMER_DATA = {"told_age": "age_fraction"}
_FORMER_STATE = {"falls_at": "decay_from"}


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in values.items()}


class GeneratorTraining(BaseModel):
    """How to train a generator."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    warmup_steps: int = Field(1800, ge=0, description="steps of the encoder-only phase")
    steps: int = Field(4000, ge=1, description="steps of the diffusion phase, at most")
    batch_size: int = Field(24, ge=2, description="pictures per pass and process")
    accumulate: int = Field(1, ge=1, description="passes per optimiser step")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW peak rate, both phases")
    decay_fraction: float = Field(
        0.35, gt=0, le=1, description="last fraction of the steps, with decaying learning rate"
    )
    z_noise: float = Field(0.1, ge=0, description="noise added to z_sem while training")
    z_dropout: float = Field(
        0.3, ge=0, le=1, description="conditioning dropout of z_sem, for unpaired data"
    )
    label_free: float = Field(
        0.0,
        ge=0,
        description="weight of the adversary that keeps the label out of z_sem; 0: none",
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="dropout in the UNet's blocks, so that few pictures are not memorised in a long training",
    )
    inpaint: float = Field(
        0.0,
        ge=0,
        le=1,
        description="fraction of training pictures of which x_0 is given outside a random region",
    )
    label_free_after: int = Field(1000, ge=1, description="steps in which that weight rises")
    balance: float = Field(
        0.0, ge=0, le=1, description="fraction of the draws that give each class the same chance"
    )
    pairs: float = Field(
        0.0,
        ge=0,
        le=1,
        description="fraction of the pictures of people who are there under another label that are drawn "
        "from the code of such a picture; needs data.group_column",
    )
    copies: int = Field(
        4,
        ge=1,
        le=64,
        description="latents per picture: as it is, mirrored, and slightly turned, moved and lit otherwise",
    )
    minutes: float | None = Field(
        None, gt=0, description="time budget, in place of steps; the learning rate decays in time"
    )
    warmup_weight: float = Field(0.5, ge=0, description="weight of the plain decoder in phase two")
    low_time: int = Field(700, ge=1, le=TIMES, description="times below this get most of the steps")
    low_time_fraction: float = Field(
        0.85, ge=0, le=1, description="fraction of the sampled times below low_time"
    )
    weight_decay: float = Field(1e-4, ge=0, description="of AdamW")
    ema: float = Field(0.998, ge=0, lt=1, description="decay of the averaged weights")
    clip: float = Field(1.0, gt=0, description="gradient norm above which a step is scaled down")
    patience: int = Field(
        5,
        ge=0,
        description="evaluations without a better held-out loss before the rate decays; 0: off",
    )
    evaluate_every: int = Field(1000, ge=1, description="steps between grids and held-out figures")
    checkpoint_every: int = Field(200, ge=1, description="steps that a kill can cost at most")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="type that the networks compute in; auto: half precision on a GPU"
    )
    compile: bool = Field(False, description="compile the UNet; pays after some minutes on a GPU")
    readers: int = Field(2, ge=0, description="threads that read batches ahead")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of weights, batches and noise")

    @model_validator(mode="before")
    @classmethod
    def _accept_former_names(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        for former, name in _FORMER_SETTINGS.items():
            if former in values and name in values:
                raise ValueError(f"{former} is the former name of {name}; give {name} alone.")
        return _renamed(values, _FORMER_SETTINGS)


#: what suits a generator on latents of photographs; the rest is as on pixels
ON_LATENTS: dict[str, Any] = {
    "warmup_steps": 0,
    "warmup_weight": 0.0,
    "batch_size": 32,
    "learning_rate": 8e-4,
    "decay_fraction": 0.5,
    "weight_decay": 1e-2,
    "ema": 0.999,
    "z_dropout": 0.12,
    "low_time_fraction": 0.6,
    "label_free": 0.04,
    "balance": 0.2,
    "inpaint": 0.6,
    "patience": 0,
}

#: what a run that trains a generator on latents by itself adds to that on each kind of device. On an H200 a
#: step of 256 pictures took as long as one of 128; a training that sees each picture hundreds of times needs
#: more copies and dropout
BY_DEVICE: dict[str, dict[str, Any]] = {
    "cpu": {"minutes": 60.0},
    "cuda": {"minutes": 7.0, "batch_size": 256, "copies": 16, "dropout": 0.1},
}

#: settings that may change when a training resumes: they affect its speed, or are turned down after a
#: divergence
FREE = {"checkpoint_every", "readers", "compile", "learning_rate", "clip"}


def with_current_names(state: Mapping[str, Any]) -> dict[str, Any]:
    """A training state, whichever version wrote it, under the names of this version."""
    state = _renamed(state, _FORMER_STATE)
    provenance = dict(state.get("provenance", {}))
    for key, names in (("training", _FORMER_SETTINGS), ("about", _FORMER_DATA)):
        if key in provenance:
            provenance[key] = _renamed(provenance[key], names)
    return {**state, "provenance": provenance}
