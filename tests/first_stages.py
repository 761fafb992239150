"""First stages of random weights for tests, as their two published files."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from diffinf_core.diffusion.tiny import tiny_decoder, tiny_encoder


def write_first_stage(folder: Path) -> Path:
    """Write encoder and decoder of a tiny autoencoder with four channels to a new folder."""
    torch.manual_seed(0)
    folder.mkdir()
    for name, net in (("encoder", tiny_encoder), ("decoder", tiny_decoder)):
        state = net(4, False).state_dict()
        save_file({k: v.half() for k, v in state.items()}, folder / f"own_{name}.safetensors")
    return folder
