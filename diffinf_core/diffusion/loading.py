"""Load a diffusion autoencoder from a safetensors file and its card."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import ValidationError

from diffinf_core.config import explain
from diffinf_core.diffusion.autoencoder import Architecture, DiffusionAutoencoder
from diffinf_core.records import DiffInfError
from diffinf_core.weights import card_of, load_weights


def load_autoencoder(
    path: Path, architecture: Architecture | None = None, device: torch.device | str = "cpu"
) -> DiffusionAutoencoder:
    """A frozen generator in evaluation mode.

    The architecture comes from the card beside the file unless it is given. Raises
    :class:`DiffInfError` for a missing, corrupt or foreign file.
    """
    if architecture is None:
        if not path.exists():
            raise DiffInfError(f"The generator {path} does not exist.")
        try:
            architecture = Architecture(**card_of(path)["architecture"])
        except (KeyError, TypeError) as error:
            raise DiffInfError(f"The card of {path} does not describe an architecture.") from error
        except ValidationError as error:
            raise DiffInfError(f"The card of {path}: {explain(error)}") from error
    model = DiffusionAutoencoder(architecture)
    load_weights(path, model)
    return model.to(device)
