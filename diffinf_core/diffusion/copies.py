"""Copies of training pictures: as they are, mirrored, and slightly turned, moved and lit otherwise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: the most that a copy is turned (radians), enlarged or made smaller, moved (of the half side), changed in
#: contrast (fraction) and in brightness (of [-1, 1])
_TURN, _ZOOM, _SHIFT, _CONTRAST, _BRIGHTNESS = 0.10, 0.06, 0.05, 0.10, 0.10


def copied(x: Tensor, k: int, seed: int) -> Tensor:
    """Copy number ``k`` of pictures (B, 3, S, S) in [-1, 1]: the first is the picture itself, the second is
    mirrored, each further one random by ``seed`` and ``k`` alone, and mirrored in half of the cases."""
    if k < 2:
        return x.flip(3) if k else x
    n, rng = len(x), torch.Generator().manual_seed((seed << 6) + k)

    def uniform() -> Tensor:
        return torch.rand(n, generator=rng) * 2 - 1

    turn, zoom = _TURN * uniform(), 1 + _ZOOM * uniform()
    side = torch.where(uniform() < 0, 1.0, -1.0)
    to = torch.zeros(n, 2, 3)
    to[:, 0, 0], to[:, 0, 1] = side * zoom * turn.cos(), -zoom * turn.sin()
    to[:, 1, 0], to[:, 1, 1] = side * zoom * turn.sin(), zoom * turn.cos()
    to[:, :, 2] = _SHIFT * torch.stack([uniform(), uniform()], 1)
    grid = F.affine_grid(to, list(x.shape), align_corners=False).to(x.device)
    moved = F.grid_sample(x, grid, "bicubic", "reflection", align_corners=False)
    contrast = (1 + _CONTRAST * uniform()).to(x.device)[:, None, None, None]
    light = (_BRIGHTNESS * uniform()).to(x.device)[:, None, None, None]
    middle = moved.mean((1, 2, 3), keepdim=True)
    return ((moved - middle) * contrast + middle + light).clamp(-1, 1)
