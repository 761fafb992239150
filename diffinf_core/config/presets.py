"""Presets: the configurations that a user starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from diffinf_core.config.models import RunConfig
from diffinf_core.config.text import explain, merge
from diffinf_core.records import DiffInfError

_PAPER: dict[str, Any] = {
    "classifier": {
        "architecture": "resnet18",
        "epochs": 100,
        "batch_size": 64,
        "learning_rate": 1e-4,
        "checkpoints": 10,
        "augment": True,
    },
    "influence": {"tau": 10.0, "checkpoint_rule": "all"},
    "retrain": {"epochs": 100, "learning_rate": 1e-4},
}

_DEMO: dict[str, Any] = {"split": {"val_share": 0.10, "test_share": 0.40}}

PRESETS: dict[str, dict[str, Any]] = {
    "demo": _DEMO,
    "demo-age": {
        **_DEMO,
        "data": {"attribute": "age"},
        "noise": {"rate": 0.30},
        # Hair and skin of another age change more of a picture than an expression does: as little as
        # reaches the label, in finer steps.
        "repair": {"guidance": 1.5, "steps": 12, "tries": "smallest"},
    },
    "paper-age": {
        **_PAPER,
        "data": {"source": "folder", "image_size": 128, "classes": ["Young", "Middle", "Old"]},
        "noise": {"rate": 0.30},
    },
    "paper-expression": {
        **_PAPER,
        "data": {
            "source": "folder",
            "image_size": 128,
            "classes": ["happy", "neutral", "surprised", "sad"],
        },
        "noise": {"rate": 0.20},
    },
    "photographs": {
        "data": {"source": "folder", "image_size": 128},
        "noise": {"rate": 0.0},
        "generator": {"train": True},
        # A generator on latents changes little at a low noise level; what a strong edit in a region leaves
        # keeps the person without the objective's help. What it draws from noise is smeared.
        "repair": {
            "method": "inpaint",
            "t0": 900,
            "steps": 12,
            "guidance": 6.0,
            "step_size": 0.0,
            "mask_quantile": 0.55,
            "decode_from": "mean",
        },
    },
}


def make_config(preset: str = "demo", overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """A preset with overrides, a nested mapping such as ``{"influence": {"tau": 20}}``.

    Raises :class:`DiffInfError` for an unknown preset, an unknown key or an impossible value.
    """
    if preset not in PRESETS:
        raise DiffInfError(f"Unknown preset {preset!r}; choose one of {', '.join(PRESETS)}.")
    try:
        return RunConfig(**merge(PRESETS[preset], overrides or {}))
    except ValidationError as error:
        raise DiffInfError(explain(error)) from error


def preset_for(preset: str, over: Mapping[str, Any]) -> RunConfig:
    """A preset with overrides for a new run; nobody's own labels are made wrong unless they ask for it.

    Copies of a picture stay in one split.
    """
    if over.get("data", {}).get("source") == "folder":
        over = merge({"split": {"copies": "together"}}, over)
        if preset.startswith("demo"):
            over = merge({"noise": {"rate": 0.0}}, over)
    return make_config(preset, over)
