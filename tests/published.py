"""Random networks in the layout of the published diffusion autoencoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from diffinf_core.diffusion.published import PublishedArchitecture, PublishedAutoencoder


def shaken(architecture: PublishedArchitecture, seed: int = 0) -> PublishedAutoencoder:
    """A network whose zero-initialised layers have values."""
    torch.manual_seed(seed)
    model = PublishedAutoencoder(architecture)
    for p in model.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.05)
    return model.eval().requires_grad_(False)


def checkpoint_of(model: PublishedAutoencoder, **more: Any) -> dict[str, Any]:
    """The layout of a training checkpoint, with raw weights that must not be taken."""
    state = {f"ema_model.{k}": v for k, v in model.state_dict().items()}
    state |= {f"model.{k}": torch.zeros_like(v) for k, v in model.state_dict().items()}
    state["ema_model.latent_net.layers.0.weight"] = torch.zeros(2, 2)
    side = model.architecture.image_size
    state["x_T"] = torch.zeros(2, 3, side, side)
    a = model.architecture
    conf = {
        "image_size": a.image_size,
        "model_channels": a.channels,
        "channel_mult": a.multipliers,
        "enc_channel_mult": a.encoder_multipliers,
        "num_res_blocks": a.res_blocks,
        "enc_num_res_block": a.encoder_res_blocks,
        "attention_resolutions": a.attention_at,
        "num_heads": a.heads,
        "embed_channels": a.embed,
        "enc_out_channels": a.z_dim,
    }
    return {"state_dict": state, "hyper_parameters": {"model_conf": conf}, "epoch": 3, **more}
