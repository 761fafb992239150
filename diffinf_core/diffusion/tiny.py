"""The tiny autoencoders of madebyollin/taesd (MIT): TAESD, TAESD3, TAEF1 and TAEF2, as published.

Encoder and decoder are stacks of 64-channel blocks, three convolutions and a skip each. TAEF2 adds a
branch with GroupNorm to the three blocks at the smallest size. Pictures are RGB in [0, 1], with sides 8
times those of the latents.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTH = 64


class _Clamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    """Three convolutions and a skip on (B, WIDTH, H, W); ``pool`` adds TAEF2's branch with GroupNorm."""

    def __init__(self, pool: bool = False) -> None:
        super().__init__()
        w = WIDTH
        self.conv = nn.Sequential(
            nn.Conv2d(w, w, 3, 1, 1), nn.ReLU(), nn.Conv2d(w, w, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(w, w, 3, 1, 1),
        )  # fmt: skip
        self.pool: nn.Module | None = None
        if pool:
            self.pool = nn.Sequential(
                nn.Conv2d(w, 4 * w, 1, bias=False), nn.GroupNorm(4, 4 * w), nn.ReLU(),
                nn.Conv2d(4 * w, w, 1, bias=False),
            )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)


def blocks(count: int, pool: bool = False) -> list[nn.Module]:
    """That many of them, one after the other."""
    return [Block(pool) for _ in range(count)]


def tiny_encoder(channels: int, pool: bool) -> nn.Sequential:
    """Pictures (B, 3, S, S) in [0, 1] to latents (B, channels, S/8, S/8), under the published key names."""
    w, layers = WIDTH, [nn.Conv2d(3, WIDTH, 3, 1, 1), Block()]
    for last in (False, False, True):
        layers += [nn.Conv2d(w, w, 3, 2, 1, bias=False), *blocks(3, pool and last)]
    return nn.Sequential(*layers, nn.Conv2d(w, channels, 3, 1, 1))


def tiny_decoder(channels: int, pool: bool) -> nn.Sequential:
    """Latents to pictures, the inverse of :func:`tiny_encoder`."""
    w, layers = WIDTH, [_Clamp(), nn.Conv2d(channels, WIDTH, 3, 1, 1), nn.ReLU()]
    for first in (True, False, False):
        layers += blocks(3, pool and first)
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(w, w, 3, 1, 1, bias=False)]
    return nn.Sequential(*layers, Block(), nn.Conv2d(w, 3, 3, 1, 1))
