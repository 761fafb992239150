"""Weight files: safetensors with a JSON card beside them. Nothing here executes pickled code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import file_digest, read_json, write_file, write_json

#: bytes of a model card; those of published generators have some kilobytes
MAX_CARD = 1_000_000
_PACKAGE = Path(__file__).resolve().parents[1]


def assets_folder() -> Path:
    """The shipped assets: beside the package in a checkout, inside it in an installed wheel."""
    inside = _PACKAGE / "_assets"
    return inside if inside.is_dir() else _PACKAGE.parent / "assets"


def added_weights() -> Path:
    """The folder of weights that a user adds: ``DIFFINF_WEIGHTS``, else ``cache/weights`` of a checkout,
    else the user's cache."""
    if given := os.environ.get("DIFFINF_WEIGHTS"):
        return Path(given)
    if (_PACKAGE.parent / "pyproject.toml").exists():
        return _PACKAGE.parent / "cache" / "weights"
    return Path.home() / ".cache" / "diffinf" / "weights"


def shipped(name: str) -> Path:
    """The shipped weight file of a network, e.g. ``shipped("generator")``."""
    return assets_folder() / "weights" / f"{name}.safetensors"


def card_of(file: Path) -> dict[str, Any]:
    """The model card beside a weight file."""
    card = file.with_suffix(".json")
    if not card.exists():
        raise DiffInfError(f"{file} has no model card {card.name} beside it.")
    found = read_json(card, MAX_CARD)
    if not isinstance(found, dict):
        raise DiffInfError(f"{card} is no model card; replace it.")
    return found


def save_weights(file: Path, net: nn.Module, card: Mapping[str, Any], half: bool = True) -> None:
    """Write a network and its card, to which the file's SHA-256 is added; ``half`` stores float16."""
    state = {
        k: (v.detach().cpu().half() if half and v.is_floating_point() else v.cpu()).contiguous()
        for k, v in net.state_dict().items()
    }
    data = save(state)
    write_file(file, lambda out: out.write(data))
    parameters = sum(p.numel() for p in net.parameters())
    write_json(
        file.with_suffix(".json"),
        {**card, "parameters": parameters, "sha256": file_digest(file)},
    )


def load_weights(file: Path, net: nn.Module) -> nn.Module:
    """Load a file into a network, strictly; the result is frozen and in evaluation mode.

    Raises :class:`DiffInfError` for a missing, truncated or foreign file.
    """
    if not file.exists():
        raise DiffInfError(f"The weight file {file} does not exist.")
    try:
        state: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise DiffInfError(
            f"The weight file {file} is corrupt or not a safetensors file; replace it."
        ) from error
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise DiffInfError(
            f"The weight file {file} does not fit {type(net).__name__}; "
            "it belongs to another architecture."
        ) from error
    return net.to(memory_format=torch.channels_last).eval().requires_grad_(False)
