"""Per-sample squared gradient norms of single layers, without forming the gradients where possible.

Each function takes the layer, its input and the gradient of the summed loss with respect to its
output, and returns (N,): the squared norm, over the layer's own parameters, of each sample's
gradient. All are exact; they differ in what they multiply.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.nn import functional as F

#: floats of per-sample weight gradient alive at once in the direct form (16 MiB)
_DIRECT_BUDGET = 1 << 22
#: measured price of a memory-bound multiply-add against one inside a matrix product
_MEMORY_BOUND = 16


def row_dot(a: Tensor, b: Tensor) -> Tensor:
    """Dot product of each row of two (N, ...) tensors, shape (N,)."""
    return torch.linalg.vecdot(a.flatten(1), b.flatten(1))


def linear_norm(layer: nn.Linear, x: Tensor, g: Tensor) -> Tensor:
    """Linear: ||g||^2 ||x||^2 for vectors; for sequences the cheaper of Gram and direct form."""
    if x.dim() == 2:
        squared = row_dot(g, g)
        return squared * (row_dot(x, x) + (layer.bias is not None))
    n = len(x)
    x, g = x.reshape(n, -1, x.shape[-1]), g.reshape(n, -1, g.shape[-1])
    length, cin, cout = x.shape[1], x.shape[2], g.shape[2]
    if length * (cin + cout) < cin * cout:
        out = row_dot(x @ x.mT, g @ g.mT)
    else:
        weight = g.mT @ x
        out = row_dot(weight, weight)
    if layer.bias is not None:
        bias = g.sum(1)
        out = out + row_dot(bias, bias)
    return out


def _taps(size: int, stride: int, dilation: int) -> dict[int, list[int]]:
    """Kernel taps of one axis by stride phase: where they land after a stride is taken out."""
    taps: dict[int, list[int]] = {}
    for i in range(size):
        taps.setdefault(i * dilation % stride, []).append(i * dilation // stride)
    return taps


def _conv_gram(layer: nn.Conv2d, x: Tensor, g: Tensor) -> Tensor:
    """||dW||^2 = sum over output pixels t, s of <g_t, g_s> <patch_t, patch_s>.

    The Gram of patches is the sum, over kernel taps, of the shifted Gram of pixels, so patches are
    never laid out. A stride splits the pixels into phases that do not meet.
    """
    kernel, stride, dilation = layer.kernel_size, layer.stride, layer.dilation
    n, groups = len(x), layer.groups
    height, width = g.shape[2:]
    pad_y, pad_x = (int(p) for p in layer.padding)
    x = F.pad(x, (pad_x, pad_x, pad_y, pad_y)).reshape(
        n * groups, x.shape[1] // groups, x.shape[2] + 2 * pad_y, x.shape[3] + 2 * pad_x
    )
    g = g.reshape(n * groups, -1, height * width)
    gram = x.new_zeros(n * groups, height, width, height, width)
    for phase_y, rows in _taps(kernel[0], stride[0], dilation[0]).items():
        for phase_x, columns in _taps(kernel[1], stride[1], dilation[1]).items():
            h, w = max(rows) + height, max(columns) + width
            pixels = x[:, :, phase_y :: stride[0], phase_x :: stride[1]][:, :, :h, :w].flatten(2)
            pixel_gram = torch.bmm(pixels.mT, pixels).view(-1, h, w, h, w)
            by_row = sum(pixel_gram[:, i : i + height, :, i : i + height] for i in rows)
            assert isinstance(by_row, Tensor)
            for j in columns:
                gram += by_row[:, :, j : j + width, :, j : j + width]
    out = row_dot(gram.flatten(1), torch.bmm(g.mT, g))
    return out.view(n, groups).sum(1)


def _conv_direct(layer: nn.Conv2d, x: Tensor, g: Tensor) -> Tensor:
    """The ordinary weight gradient, several samples at once as groups of one convolution."""
    step = max(1, _DIRECT_BUDGET // layer.weight.numel())
    if (
        x.device.type == "cpu"
    ):  # measured: many groups are slow there, most of all with few channels
        step = 1 if x.shape[1] < 16 else min(step, 8)
    geometry = (list(layer.stride), [int(p) for p in layer.padding], list(layer.dilation))
    out = []
    for some_x, some_g in zip(x.split(step), g.split(step), strict=True):
        k = len(some_x)
        weight = layer.weight.detach()[:1].expand(k * layer.out_channels, *layer.weight.shape[1:])
        grad = torch.ops.aten.convolution_backward(
            some_g.reshape(1, -1, *g.shape[2:]),
            some_x.reshape(1, -1, *x.shape[2:]),
            weight,
            None,
            *geometry,
            False,
            [0, 0],
            k * layer.groups,
            [False, True, False],
        )[1]
        grad = grad.reshape(k, -1)
        out.append(row_dot(grad, grad))
    return torch.cat(out)


def _conv_prefers_gram(layer: nn.Conv2d, g: Tensor) -> bool:
    """Compare counted multiply-adds of the two forms for one sample."""
    pixels = g.shape[2] * g.shape[3]
    per_output = layer.weight[0].numel()
    (ky, kx), (sy, sx) = layer.kernel_size, layer.stride
    spread = (g.shape[2] + (ky - 1) // sy) * (g.shape[3] + (kx - 1) // sx)
    phases = min(sy, ky) * min(sx, kx)
    direct = pixels * per_output * layer.out_channels + 8 * per_output * layer.out_channels
    gram = (
        spread**2 * layer.in_channels * phases
        + pixels**2 * layer.out_channels
        + _MEMORY_BOUND * layer.groups * spread**2 * (phases + ky + kx)
    )
    return gram < direct


def conv_norm(layer: nn.Conv2d, x: Tensor, g: Tensor) -> Tensor:
    """Conv2d with any stride, padding, dilation and groups, zero padding only."""
    gram = _conv_prefers_gram(layer, g)
    out = _conv_gram(layer, x, g) if gram else _conv_direct(layer, x, g)
    if layer.bias is not None:
        bias = g.sum((2, 3))
        out = out + row_dot(bias, bias)
    return out


def batch_norm(layer: nn.modules.batchnorm._BatchNorm, x: Tensor, g: Tensor) -> Tensor:
    """BatchNorm in evaluation mode: an affine map of each channel."""
    assert layer.running_mean is not None and layer.running_var is not None
    n, channels = x.shape[:2]
    x, g = x.reshape(n, channels, -1), g.reshape(n, channels, -1)
    bias = g.sum(2)
    centred = torch.linalg.vecdot(g, x) - layer.running_mean * bias
    weight = centred * torch.rsqrt(layer.running_var + layer.eps)
    return row_dot(weight, weight) + row_dot(bias, bias)


def any_norm(layer: nn.Module, x: Tensor, g: Tensor) -> Tensor:
    """Any other layer with one input: vmap of its own backward, one sample at a time."""
    parameters = {k: p.detach() for k, p in layer.named_parameters(recurse=False)}
    buffers = dict(layer.named_buffers(recurse=False))

    def one(x_i: Tensor, g_i: Tensor) -> Tensor:
        pull = vjp(lambda p: functional_call(layer, (p, buffers), (x_i[None],)), parameters)[1]
        squares = [v.square().sum() for v in pull(g_i[None])[0].values()]
        return torch.stack(squares).sum()

    return vmap(one)(x, g)


def _plain_padding(layer: nn.Conv2d) -> bool:
    return layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def layer_norm_of(layer: nn.Module, x: Tensor, g: Tensor) -> Tensor:
    """Choose the form for a layer; under autocast matrix work keeps the low type."""
    if x.dtype != g.dtype:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            x = x.to(g.dtype)
        else:
            g = g.to(x.dtype)
    if isinstance(layer, nn.Conv2d) and _plain_padding(layer):
        return conv_norm(layer, x, g)
    if isinstance(layer, nn.Linear):
        return linear_norm(layer, x, g)
    affine = getattr(layer, "affine", False)
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) and affine:
        return batch_norm(layer, x, g)
    return any_norm(layer, x, g)
