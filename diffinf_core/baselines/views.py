"""Augmentation: the light view that every method trains on, and the strong view of ProMix.

All draw from PyTorch's global generator, which the training loop seeds for each step.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def weak_view(x: Tensor, shift: int | None = None) -> Tensor:
    """Flip each picture (B, 3, S, S) with probability 1/2 and shift it by up to ``shift`` pixels.

    The default is 4 % of the side in each direction.
    """
    b, _, height, width = x.shape
    flip = (torch.rand(b) < 0.5).to(x.device)
    x = torch.where(flip[:, None, None, None], x.flip(3), x)
    most = max(1, round(0.04 * width)) if shift is None else shift
    padded = F.pad(x, (most,) * 4, "replicate")
    top, left = torch.randint(0, 2 * most + 1, (2, b)).to(x.device)
    rows = top[:, None] + torch.arange(height, device=x.device)
    columns = left[:, None] + torch.arange(width, device=x.device)
    at = torch.arange(b, device=x.device)[:, None, None]
    moved = padded[at, :, rows[:, :, None], columns[:, None, :]]  # (B, S, S, 3)
    return moved.permute(0, 3, 1, 2)


def strong_view(x: Tensor, shift: int | None = None) -> Tensor:
    """A weak view, then three random operations on its colours and geometry, and one erased rectangle.

    Pictures (B, 3, S, S) in [-1, 1]. Every operation is drawn for each picture; none posterises or
    solarises, which would change how old a face looks.
    """
    from torchvision.transforms import v2

    erase = v2.RandomErasing(p=1.0, scale=(0.02, 0.25), value=0.0)
    out = []
    for picture in weak_view(x, shift):
        image = (picture + 1) / 2
        for which in torch.randint(0, len(_OPERATIONS), (3,)).tolist():
            image = _OPERATIONS[which](image, float(torch.rand(()) * 2 - 1)).clamp(0, 1)
        out.append(erase(image * 2 - 1))
    return torch.stack(out)


def _affine(image: Tensor, angle: float, shear: float, x: int, y: int) -> Tensor:
    from torchvision.transforms.v2 import functional as T

    return T.affine(image, angle, [x, y], 1.0, [shear, 0.0], fill=[0.5])


def _adjust(name: str, image: Tensor, factor: float) -> Tensor:
    from torchvision.transforms.v2 import functional as T

    return getattr(T, f"adjust_{name}")(image, factor)


#: operations of RandAugment (Cubuk et al. 2020) at strength m in [-1, 1]
_OPERATIONS = (
    lambda image, m: _affine(image, 30 * m, 0, 0, 0),
    lambda image, m: _affine(image, 0, 17 * m, 0, 0),
    lambda image, m: _affine(image, 0, 0, round(0.3 * m * image.shape[-1]), 0),
    lambda image, m: _affine(image, 0, 0, 0, round(0.3 * m * image.shape[-2])),
    lambda image, m: _adjust("brightness", image, 1 + 0.9 * m),
    lambda image, m: _adjust("contrast", image, 1 + 0.9 * m),
    lambda image, m: _adjust("saturation", image, 1 + 0.9 * m),
    lambda image, m: _adjust("sharpness", image, 1 + 0.9 * m),
)
