"""Layers of TensorFlow networks, and how published weights get into a module."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.records import DiffInfError

#: mean colour (red, green, blue) in 0 to 255 that dlib's and face-api's networks subtract
_MEAN_COLOUR = (122.782, 117.001, 104.298)

Network = TypeVar("Network", bound=nn.Module)


def load_published(net: Network, file: Path, prefix: str = "") -> Network:
    """The network with the file's tensors whose names begin with ``prefix``, frozen, to evaluate with.

    Raises :class:`DiffInfError` for a missing, damaged or foreign file.
    """
    if not file.is_file():
        raise DiffInfError(
            f"The weights {file} are missing: run 'diffinf weights fetch {file.stem}', or "
            "'diffinf weights import FOLDER' without a network."
        )
    try:
        state = {
            name.removeprefix(prefix): value.float()
            for name, value in load_file(file).items()
            if name.startswith(prefix)
        }
        net.load_state_dict(state)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise DiffInfError(
            f"{file} is not a readable file of {type(net).__name__}; remove it, or fetch or import it again."
        ) from error
    return net.eval().requires_grad_(False)


def without_mean_colour(x: Tensor, divisor: float) -> Tensor:
    """Pictures in [-1, 1] as (level - mean colour) / divisor, levels in 0 to 255."""
    return ((x + 1) * 127.5 - x.new_tensor(_MEAN_COLOUR)[:, None, None]) / divisor


def resized_tf(x: Tensor, side: int) -> Tensor:
    """Bilinear resize of square pictures on TensorFlow's old grid: source = target * in / out."""
    n = x.shape[-1]
    if n == side:
        return x
    place = torch.arange(side, device=x.device, dtype=torch.float32) * (n / side)
    low = place.long().clamp(max=n - 1)
    high = (low + 1).clamp(max=n - 1)
    part = (place - low)[:, None]
    eye = torch.eye(n, device=x.device)
    weight = (eye[low] * (1 - part) + eye[high] * part).to(x.dtype)
    return weight @ x @ weight.T


def resized_cubic(x: Tensor, side: int) -> Tensor:
    """Bicubic resize without aliasing, within [-1, 1]."""
    if x.shape[-1] == side:
        return x
    out = F.interpolate(x, (side, side), mode="bicubic", antialias=True, align_corners=False)
    return out.clamp(-1, 1)


def padded_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """TensorFlow's "same" padding of square maps: an odd pixel goes right and below."""
    n = x.shape[-1]
    total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
    before, after = total // 2, total - total // 2
    return F.pad(x, (before, after, before, after), value=value) if total else x


def halved(x: Tensor) -> Tensor:
    """Maximum over 3 x 3 with stride 2 and "same" padding."""
    return F.max_pool2d(padded_same(x, 3, 2, float("-inf")), 3, 2)


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(padded_same(x, int(self.kernel_size[0]), int(self.stride[0])))


class SeparableConv(nn.Module):
    """A depthwise 3 x 3 convolution, then a pointwise one with bias."""

    def __init__(self, cin: int, cout: int, stride: int = 1) -> None:
        super().__init__()
        self.depth = SameConv(cin, cin, 3, stride, groups=cin, bias=False)
        self.point = nn.Conv2d(cin, cout, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.point(self.depth(x))
