"""Per-sample squared gradient norms of convolution weights, in three exact forms.

For one sample the weight gradient is dW = sum over output pixels t of b_t patch_t^T. The forms differ
in the order of multiplication, and the cheapest depends on the layer: pixel-Gram never forms dW and wins on
small maps, grouped convolution forms it and wins on large maps with few channels, unfold + matrix
product forms it too and is the one to try on a GPU, where grouped weight gradients are slow.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: floats of per-sample weight gradient alive at once in the direct forms (16 MiB)
_DIRECT_BUDGET = 1 << 22
#: measured cost of a memory-bound multiply-add relative to one inside a matrix product
_MEMORY_BOUND = 16


def row_dot(a: Tensor, b: Tensor) -> Tensor:
    """Dot product of each row of two (N, ...) tensors, shape (N,); at least float32."""
    a, b = a.flatten(1), b.flatten(1)
    if a.dtype in (torch.bfloat16, torch.float16):
        a, b = a.float(), b.float()
    return torch.linalg.vecdot(a, b)


@dataclass(frozen=True)
class Geometry:
    """A two-dimensional convolution over an input that is padded by ``padding`` zeros."""

    channels_out: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


def _pair(values: Any) -> tuple[int, int]:
    """The two numbers of an axis pair; a one-dimensional layer has a first axis of length one."""
    pair = tuple(int(v) for v in values)
    return (pair[0], pair[1]) if len(pair) == 2 else (1, pair[0])


def flat_convolution(
    layer: nn.Conv1d | nn.Conv2d, x: Tensor, g: Tensor
) -> tuple[Geometry, Tensor, Tensor]:
    """A Conv1d or Conv2d as (geometry, x (N, C, H, W), g (N, D, h, w)).

    Every padding that is not a number of zeros (``"same"``, reflected, circular, replicated) has no
    parameter: it is put onto the input, and the convolution then has none.
    """
    one = isinstance(layer, nn.Conv1d)
    explicit = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    padding = (0, 0)
    if explicit:
        padding = (0, int(layer.padding[0])) if one else _pair(layer.padding)
    else:
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        x = F.pad(x, layer._reversed_padding_repeated_twice, mode)
    if one:
        x, g = x[:, :, None], g[:, :, None]
    geometry = Geometry(
        layer.out_channels,
        _pair(layer.kernel_size),
        _pair(layer.stride),
        padding,
        _pair(layer.dilation),
        layer.groups,
    )
    return geometry, x, g


def _taps(size: int, stride: int, dilation: int) -> dict[int, list[int]]:
    """Kernel taps of one axis by stride phase: where they land after a stride is taken out."""
    taps: dict[int, list[int]] = {}
    for i in range(size):
        taps.setdefault(i * dilation % stride, []).append(i * dilation // stride)
    return taps


def gram_form(c: Geometry, x: Tensor, g: Tensor) -> Tensor:
    """||dW||^2 = sum over output pixels t, s of <b_t, b_s> <patch_t, patch_s>.

    The Gram of patches is the sum, over kernel taps, of the shifted Gram of pixels, so patches are
    never laid out. A stride splits the pixels into phases that do not meet.
    """
    n = len(x)
    height, width = g.shape[2:]
    pad_y, pad_x = c.padding
    x = F.pad(x, (pad_x, pad_x, pad_y, pad_y))
    x = x.reshape(n * c.groups, -1, *x.shape[2:])
    g = g.reshape(n * c.groups, -1, height * width)
    gram = x.new_zeros(n * c.groups, height, width, height, width)
    for phase_y, rows in _taps(c.kernel[0], c.stride[0], c.dilation[0]).items():
        for phase_x, columns in _taps(c.kernel[1], c.stride[1], c.dilation[1]).items():
            h, w = max(rows) + height, max(columns) + width
            pixels = x[:, :, phase_y :: c.stride[0], phase_x :: c.stride[1]]
            pixels = pixels[:, :, :h, :w].flatten(2)
            pixel_gram = torch.bmm(pixels.mT, pixels).view(-1, h, w, h, w)
            by_row = sum(pixel_gram[:, i : i + height, :, i : i + height] for i in rows)
            assert isinstance(by_row, Tensor)
            for j in columns:
                gram += by_row[:, :, j : j + width, :, j : j + width]
    out = row_dot(gram.flatten(1), torch.bmm(g.mT, g))
    return out.view(n, c.groups).sum(1)


def _weight_count(c: Geometry, x: Tensor) -> int:
    return c.channels_out * (x.shape[1] // c.groups) * c.kernel[0] * c.kernel[1]


def grouped_form(c: Geometry, x: Tensor, g: Tensor) -> Tensor:
    """The ordinary weight gradient, several samples at once as groups of one convolution."""
    step = max(1, _DIRECT_BUDGET // _weight_count(c, x))
    if x.device.type == "cpu":
        # measured: many groups are slow there, most of all with few channels
        step = 1 if x.shape[1] < 16 else min(step, 8)
    shape = (x.shape[1] // c.groups, *c.kernel)
    out = []
    for some_x, some_g in zip(x.split(step), g.split(step), strict=True):
        k = len(some_x)
        grad = torch.ops.aten.convolution_backward(
            some_g.reshape(1, -1, *g.shape[2:]),
            some_x.reshape(1, -1, *x.shape[2:]),
            # only the shape of the weight is read
            x.new_zeros(1, 1, 1, 1).expand(k * c.channels_out, *shape),
            None,
            list(c.stride),
            list(c.padding),
            list(c.dilation),
            False,
            [0, 0],
            k * c.groups,
            [False, True, False],
        )[1].reshape(k, -1)
        out.append(row_dot(grad, grad))
    return torch.cat(out)


def weight_gradients(c: Geometry, x: Tensor, g: Tensor) -> Tensor:
    """dW of each sample by unfold and a matrix product: (N, groups, D / groups, C / groups * taps)."""
    n, pixels = len(x), g.shape[2] * g.shape[3]
    patches = F.unfold(x, c.kernel, c.dilation, c.padding, c.stride)
    patches = patches.reshape(n, c.groups, -1, pixels)
    return g.reshape(n, c.groups, -1, pixels) @ patches.mT


def unfold_form(c: Geometry, x: Tensor, g: Tensor) -> Tensor:
    """The weight gradients by unfold and a matrix product, a few samples at once."""
    laid_out = x.shape[1] * c.kernel[0] * c.kernel[1] * g.shape[2] * g.shape[3]
    step = max(1, _DIRECT_BUDGET // max(_weight_count(c, x), laid_out))
    parts = [weight_gradients(c, a, b) for a, b in zip(x.split(step), g.split(step), strict=True)]
    return torch.cat([row_dot(p, p) for p in parts])


Form = Callable[[Geometry, Tensor, Tensor], Tensor]
FORMS: tuple[Form, ...] = (gram_form, grouped_form, unfold_form)


def counted_form(c: Geometry, x: Tensor, g: Tensor) -> Form:
    """The cheaper of Gram and grouped form by counted multiply-adds for one sample; right on a CPU."""
    pixels = g.shape[2] * g.shape[3]
    per_output = x.shape[1] // c.groups * c.kernel[0] * c.kernel[1]
    (ky, kx), (sy, sx) = c.kernel, c.stride
    spread = (g.shape[2] + (ky - 1) // sy) * (g.shape[3] + (kx - 1) // sx)
    phases = min(sy, ky) * min(sx, kx)
    direct = pixels * per_output * c.channels_out + 8 * per_output * c.channels_out
    gram = (
        spread**2 * x.shape[1] * phases
        + pixels**2 * c.channels_out
        + _MEMORY_BOUND * c.groups * spread**2 * (phases + ky + kx)
    )
    return gram_form if gram < direct else grouped_form


_measured: dict[tuple[Any, ...], Form] = {}


def measured_form(c: Geometry, x: Tensor, g: Tensor) -> Form:
    """The fastest form by trying each on this very layer, once per shape and process.

    A form that runs out of memory is not considered. The three agree to rounding, so the choice
    moves a score by a few units in its last place and no more.
    """
    key = (c, tuple(x.shape[1:]), len(x), x.dtype, str(x.device))
    if key not in _measured:
        seconds = []
        for form in FORMS:
            try:
                form(c, x, g)  # the first call also picks kernels
                _wait(x.device)
                began = time.perf_counter()
                for _ in range(3):
                    form(c, x, g)
                _wait(x.device)
                seconds.append(time.perf_counter() - began)
            except torch.OutOfMemoryError:
                seconds.append(float("inf"))
        _measured[key] = FORMS[seconds.index(min(seconds))]
    return _measured[key]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def conv_norm(layer: nn.Conv1d | nn.Conv2d, x: Tensor, g: Tensor) -> Tensor:
    """Conv1d and Conv2d with any stride, padding, dilation and groups; x, g (N, C, ...)."""
    c, x, g = flat_convolution(layer, x, g)
    choose = measured_form if x.device.type == "cuda" else counted_form
    out = choose(c, x, g)(c, x, g)
    if layer.bias is not None:
        bias = g.sum((2, 3))
        out = out + row_dot(bias, bias)
    return out
