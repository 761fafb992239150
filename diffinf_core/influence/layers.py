"""Per-sample squared gradient norms of single layers, without forming the gradients where possible.

Each function takes the layer, its input and the gradient of the summed loss with respect to its
output, and returns (N,): the squared norm, over the layer's own parameters, of each sample's
gradient. All are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.nn import functional as F

from diffinf_core.influence.convolution import conv_norm, row_dot

#: floats of per-sample gradient alive at once in :func:`any_norm` (64 MiB)
_VMAP_BUDGET = 1 << 24


def linear_norm(layer: nn.Linear, x: Tensor, g: Tensor) -> Tensor:
    """Linear: ||g||^2 ||x||^2 for vectors; for sequences the cheaper of Gram and direct form.

    x (N, ..., in), g (N, ..., out).
    """
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


def embedding_norm(layer: nn.Embedding, x: Tensor, g: Tensor) -> Tensor:
    """Embedding: the gradients of equal tokens of a sample meet in one row. x (N, ...) indices."""
    n, rows = len(x), layer.num_embeddings
    x, g = x.reshape(n, -1), g.reshape(n, -1, g.shape[-1])
    sample = torch.arange(n, device=x.device)[:, None]
    cells, place = torch.unique(x + rows * sample, return_inverse=True)
    summed = g.new_zeros(len(cells), g.shape[-1]).index_add_(0, place.flatten(), g.flatten(0, 1))
    squares = row_dot(summed, summed)
    if layer.padding_idx is not None:  # that row is never trained
        squares = squares * (cells % rows != layer.padding_idx)
    return g.new_zeros(n).index_add_(0, cells // rows, squares)


def batch_norm(layer: nn.modules.batchnorm._BatchNorm, x: Tensor, g: Tensor) -> Tensor:
    """BatchNorm in evaluation mode: an affine map of each channel. x, g (N, C, ...)."""
    assert layer.running_mean is not None and layer.running_var is not None
    n, channels = x.shape[:2]
    x, g = x.reshape(n, channels, -1), g.reshape(n, channels, -1)
    bias = g.sum(2)
    centred = torch.linalg.vecdot(g, x) - layer.running_mean * bias
    weight = centred * torch.rsqrt(layer.running_var + layer.eps)
    out = row_dot(weight, weight)
    return out + row_dot(bias, bias) if layer.bias is not None else out


def _affine(normal: Tensor, g: Tensor, over: int, biased: bool) -> Tensor:
    """Scale and shift of a normalised (N, positions, over) input."""
    normal, g = normal.reshape(len(g), -1, over), g.reshape(len(g), -1, over)
    weight = (normal * g).sum(1)
    out = row_dot(weight, weight)
    if biased:
        bias = g.sum(1)
        out = out + row_dot(bias, bias)
    return out


def layer_norm(layer: nn.LayerNorm, x: Tensor, g: Tensor) -> Tensor:
    """LayerNorm over the last axes. x, g (N, ..., *normalized_shape)."""
    shape = list(layer.normalized_shape)
    normal = F.layer_norm(x, shape, None, None, layer.eps)
    return _affine(normal, g, layer.weight.numel(), layer.bias is not None)


def rms_norm(layer: nn.RMSNorm, x: Tensor, g: Tensor) -> Tensor:
    """RMSNorm over the last axes. x, g (N, ..., *normalized_shape)."""
    normal = F.rms_norm(x, list(layer.normalized_shape), None, layer.eps)
    return _affine(normal, g, layer.weight.numel(), False)


def group_norm(layer: nn.GroupNorm, x: Tensor, g: Tensor) -> Tensor:
    """GroupNorm. x, g (N, C, ...)."""
    n, channels = x.shape[:2]
    normal = F.group_norm(x, layer.num_groups, None, None, layer.eps)
    by_channel = normal.reshape(n, channels, -1).mT, g.reshape(n, channels, -1).mT
    return _affine(*by_channel, channels, layer.bias is not None)


def any_norm(
    layer: nn.Module,
    inputs: tuple[Tensor, ...],
    g: Tensor,
    keywords: dict[str, Any] | None = None,
    whole: bool = False,
    batch_axis: int = 0,
) -> Tensor:
    """Any other layer: vmap of its own backward, one sample at a time.

    ``inputs`` are batched along ``batch_axis``, as is ``g``, the gradient of the (first) output.
    ``whole`` counts the parameters of the layer's children as well.
    """
    parameters = {k: p.detach() for k, p in layer.named_parameters(recurse=whole)}
    buffers = dict(layer.named_buffers())

    def one(g_i: Tensor, *inputs_i: Tensor) -> Tensor:
        batch = tuple(v.unsqueeze(batch_axis) for v in inputs_i)

        def run(p: dict[str, Tensor]) -> Tensor:
            out = functional_call(layer, (p, buffers), batch, keywords or {})
            return out[0] if isinstance(out, tuple) else out

        pull = vjp(run, parameters)[1]
        squares = [v.square().sum() for v in pull(g_i.unsqueeze(batch_axis))[0].values()]
        return torch.stack(squares).sum()

    at_once = max(1, _VMAP_BUDGET // max(1, sum(p.numel() for p in parameters.values())))
    return vmap(one, in_dims=batch_axis, chunk_size=at_once)(g, *inputs)


#: closed form by the class whose ``forward`` it describes
_FORMS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Linear: linear_norm,
    nn.Conv1d: conv_norm,
    nn.Conv2d: conv_norm,
    nn.BatchNorm1d: batch_norm,
    nn.BatchNorm2d: batch_norm,
    nn.BatchNorm3d: batch_norm,
    nn.LayerNorm: layer_norm,
    nn.RMSNorm: rms_norm,
    nn.GroupNorm: group_norm,
    nn.Embedding: embedding_norm,
}


def closed_form(layer: nn.Module) -> Callable[..., Tensor] | None:
    """The closed form of a layer, or None.

    A subclass counts only while it computes what its base does: one that overrides ``forward``, or
    keeps its weight in other parameters, has none.
    """
    names = {name for name, _ in layer.named_parameters(recurse=False)}
    if not names <= {"weight", "bias"} or "weight" not in names:
        return None
    if isinstance(layer, nn.Embedding) and (layer.max_norm or layer.scale_grad_by_freq):
        return None
    for base, form in _FORMS.items():
        if isinstance(layer, base) and type(layer).forward is base.forward:
            inner = getattr(base, "_conv_forward", None)
            return form if getattr(type(layer), "_conv_forward", None) is inner else None
    return None


def layer_norm_of(layer: nn.Module, x: Tensor, g: Tensor) -> Tensor:
    """Squared norms (N,) of a layer with one input, by its closed form or by vmap.

    Under autocast matrix work keeps the low type, sums take the high one.
    """
    form = closed_form(layer)
    if form in (linear_norm, conv_norm):
        x = x.to(g.dtype)
    elif g.dtype in (torch.bfloat16, torch.float16):
        g = g.float()
        x = x.float() if x.is_floating_point() else x
    elif x.is_floating_point():
        x = x.to(g.dtype)
    return any_norm(layer, (x,), g) if form is None else form(layer, x, g)
