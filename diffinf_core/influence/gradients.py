"""Exact per-sample squared gradient norms ||g_i||^2 over all trainable parameters of a network.

After every layer with parameters a :class:`_Tap` passes the output on and, on the way back, returns
the layer's squared norms as the "gradient" of one vector of N zeros. Autograd adds the layers up by
itself, and neither the weight gradients nor the gradient of the picture are ever formed, which is
why a score costs less than a training step.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from diffinf_core.influence.layers import layer_norm_of
from diffinf_core.records import DiffInfError

#: largest relative difference from autograd that the self-check accepts in float32
CHECK_TOLERANCE = 1e-2


class _Tap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, norms: Tensor, x: Tensor, layer: nn.Module) -> Tensor:
        ctx.layer = layer
        ctx.save_for_backward(x)
        ctx.mark_dirty(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (x,) = ctx.saved_tensors
        squares = layer_norm_of(ctx.layer, x, g)
        return (
            g,
            squares.to(torch.float64 if g.dtype == torch.float64 else torch.float32),
            None,
            None,
        )


class _NotCovered(Exception):
    """The network uses its weights in a way that the taps would miscount."""


def gradient_norms_by_vmap(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The same numbers from torch.func, for any network: slow, and the reference in tests."""
    parameters = {k: p.detach() for k, p in model.named_parameters() if p.requires_grad}
    frozen = {k: p.detach() for k, p in model.named_parameters() if not p.requires_grad}
    buffers = dict(model.named_buffers())

    def loss(p: dict[str, Tensor], x_i: Tensor, y_i: Tensor) -> Tensor:
        out = functional_call(model, (p, frozen, buffers), (x_i[None],))
        return F.cross_entropy(out, y_i[None])

    grads = vmap(grad(loss), in_dims=(None, 0, 0), chunk_size=8)(parameters, x, y)
    return torch.stack([g.flatten(1).square().sum(1) for g in grads.values()]).sum(0)


class GradientNorms:
    """``with GradientNorms(model) as norms: squares = norms(x, y)``.

    ``x`` (N, ...) inputs, ``y`` (N,) class indices; returns (N,) squared norms of the gradient of
    each sample's cross-entropy. The model is put into evaluation mode inside the block and left
    exactly as it was, also after an exception. The first batch is compared with autograd on one
    sample; on a mismatch, and for weights that are shared or used twice, the whole model falls back
    to :func:`gradient_norms_by_vmap` and ``fallback`` says why.
    """

    def __init__(self, model: nn.Module, check: bool = True) -> None:
        self.model = model
        self.fallback: str | None = None
        self._check = check
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._norms: Tensor | None = None
        self._seen: set[nn.Module] = set()

    def __enter__(self) -> GradientNorms:
        self._modes = {m: m.training for m in self.model.modules()}
        self._flags = [(p, p.requires_grad) for p in self.model.parameters()]
        self.model.eval()
        owners: dict[Tensor, int] = {}
        layers = []
        for module in self.model.modules():
            own = [p for p in module.parameters(recurse=False) if p.requires_grad]
            for p in own:
                owners[p] = owners.get(p, 0) + 1
            if own:
                layers.append(module)
        if any(count > 1 for count in owners.values()):
            self.fallback = "two layers share a weight"
        for module in layers:
            partly = any(not p.requires_grad for p in module.parameters(recurse=False))
            if partly:
                self.fallback = "a layer is trained in part"
            self._handles.append(module.register_forward_hook(self._after))
        self._layers = len(layers)
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        for module, mode in self._modes.items():
            module.training = mode
        for parameter, flag in self._flags:
            parameter.requires_grad_(flag)
        self._norms = None

    def _after(self, layer: nn.Module, args: tuple[Any, ...], out: Any) -> Any:
        if self._norms is None:
            return None
        if layer in self._seen:
            raise _NotCovered("a layer is used twice")
        if len(args) != 1 or not isinstance(out, Tensor):
            raise _NotCovered(f"{type(layer).__name__} has several inputs or outputs")
        self._seen.add(layer)
        # Without a gradient of its own the output may be a view into the input: keep the input.
        return _Tap.apply(out, self._norms, args[0].detach(), layer)

    def _tapped(self, x: Tensor, y: Tensor) -> Tensor:
        self._seen.clear()
        kind = torch.float64 if x.dtype == torch.float64 else torch.float32
        self._norms = torch.zeros(len(x), device=x.device, dtype=kind, requires_grad=True)
        try:
            for parameter, _ in self._flags:
                parameter.requires_grad_(False)
            with torch.enable_grad():
                loss = F.cross_entropy(self.model(x), y, reduction="sum")
                norms, self._norms = self._norms, None  # layers called on the way back are not new
                if len(self._seen) != self._layers:
                    raise _NotCovered("a weight is used without calling its layer")
                return torch.autograd.grad(loss, norms)[0]
        finally:
            self._norms = None
            for parameter, flag in self._flags:
                parameter.requires_grad_(flag)

    def _agrees(self, x: Tensor, y: Tensor, found: Tensor) -> bool:
        trained = [p for p, flag in self._flags if flag]
        with torch.enable_grad():
            loss = F.cross_entropy(self.model(x[:1]), y[:1])
            grads = torch.autograd.grad(loss, trained, allow_unused=True)
        truth = float(sum(g.double().square().sum() for g in grads if g is not None))
        tolerance = 1e-6 if x.dtype == torch.float64 else CHECK_TOLERANCE
        return abs(float(found[0]) - truth) <= tolerance * max(truth, 1e-12) + 1e-12

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        if self._check:
            with torch.no_grad():
                classes = self.model(x[:1]).shape[1]
            if int(y.min()) < 0 or int(y.max()) >= classes:
                raise DiffInfError(
                    f"Labels run from {int(y.min())} to {int(y.max())}, "
                    f"but the classifier has {classes} classes."
                )
        if self.fallback is None:
            try:
                found = self._tapped(x, y)
            except _NotCovered as reason:
                self.fallback = str(reason)
            else:
                if self._check:
                    self._check = False
                    if not self._agrees(x, y, found):
                        self.fallback = "the self-check against autograd failed"
                if self.fallback is None:
                    return self._finite(found)
        return self._finite(gradient_norms_by_vmap(self.model, x, y))

    @staticmethod
    def _finite(squares: Tensor) -> Tensor:
        bad = ~torch.isfinite(squares)
        if bad.any():
            raise DiffInfError(
                f"The gradient of sample {int(bad.nonzero()[0])} of the batch is not finite; "
                "train the classifier with a lower learning rate."
            )
        return squares
