"""Exact per-sample squared gradient norms ||g_i||^2 over all trainable parameters of a network.

These are ghost norms (Li et al. 2022, after Goodfellow 2015). After every layer with parameters a
:class:`_GhostNorm` passes the output through and, in the backward pass, returns the layer's squared norms
as the "gradient" of one shared vector of N zeros. Autograd sums them over the layers, and neither the
weight gradients nor the gradient of the picture are ever formed, which is why a score costs less than a
training step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from diffinf_core.influence.layers import any_norm, closed_form, layer_norm_of
from diffinf_core.records import DiffInfError

#: largest relative difference from autograd that the self-check accepts, by working type
CHECK_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-2, torch.bfloat16: 0.3}


class NotFiniteError(DiffInfError):
    """A gradient is NaN or infinite; ``row`` is the sample's index in the batch.

    ``checkpoint`` is set by callers that score several checkpoints.
    """

    def __init__(self, row: int) -> None:
        self.row = row
        self.checkpoint = 0
        super().__init__(
            f"The gradient of sample {row} of the batch is not finite; "
            "train the classifier with a lower learning rate."
        )


#: ``loss(model, batch)``: the loss (B,) of each sample of a batch of any structure
SampleLoss = Callable[[nn.Module, Any], Tensor]


class _NotCovered(Exception):
    """The network uses its weights in a way that the ghost norms would miscount."""


class _GhostNorm(torch.autograd.Function):
    """Identity on y; its backward is also this layer's row of the score."""

    @staticmethod
    def forward(
        ctx: Any, y: Tensor, norms: Tensor, of: Callable[..., Tensor], *inputs: Tensor
    ) -> Tensor:
        ctx.of = of
        ctx.save_for_backward(*inputs)
        ctx.mark_dirty(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        squares = ctx.of(inputs, g)
        squares = squares.to(torch.float64 if g.dtype == torch.float64 else torch.float32)
        return (g, squares, None, *(None for _ in inputs))


def _gradients(loss: Tensor, parameters: list[nn.Parameter]) -> tuple[Tensor | None, ...]:
    """The gradient of a scalar loss for each parameter, None for one that it does not reach."""
    if not loss.requires_grad:
        raise DiffInfError(
            "The loss does not depend on any trainable parameter, so no sample has a gradient."
        )
    return torch.autograd.grad(loss, parameters, allow_unused=True)


def gradient_norms_by_vmap(
    model: nn.Module, x: Tensor, y: Tensor, low: torch.dtype | None = None
) -> Tensor:
    """The same numbers from torch.func, for any network: slow, and the reference in tests."""
    parameters = {k: p.detach() for k, p in model.named_parameters() if p.requires_grad}
    frozen = {k: p.detach() for k, p in model.named_parameters() if not p.requires_grad}
    buffers = dict(model.named_buffers())

    def loss(p: dict[str, Tensor], x_i: Tensor, y_i: Tensor) -> Tensor:
        with torch.autocast(x.device.type, low, enabled=low is not None):
            out = functional_call(model, (p, frozen, buffers), (x_i[None],))
        return F.cross_entropy(out if low is None else out.float(), y_i[None])

    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no batching rule
        grads = vmap(grad(loss), in_dims=(None, 0, 0), chunk_size=8)(parameters, x, y)
    return torch.stack([g.reshape(len(x), -1).square().sum(1) for g in grads.values()]).sum(0)


def gradient_norms_by_loop(model: nn.Module, loss: SampleLoss, batches: Iterable[Any]) -> Tensor:
    """The same numbers from one backward pass per sample, for any network and loss.

    ``batches`` hold one sample each. Parameters that a sample does not reach count as zero.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    out = []
    with torch.enable_grad():
        for batch in batches:
            grads = _gradients(loss(model, batch).sum(), trained)
            out.append(torch.stack([g.square().sum() for g in grads if g is not None]).sum())
    return torch.stack(out)


class GradientNorms:
    """``with GradientNorms(model) as norms: squares = norms(x, y)``.

    ``x`` (N, ...) inputs, ``y`` (N,) class indices, ``model(x)`` (N, C) logits; returns (N,) squared
    norms of the gradient of each sample's cross-entropy. With ``loss``, :meth:`of` takes batches of
    any structure. The model is put into evaluation mode inside the block and left exactly as it was,
    also after an exception.

    Layers with a closed form cost less than their own weight gradient; any other layer and
    attention go through vmap of that one module; a parameter held by a module that has layers
    inside (a class token, a layer scale) is given a copy per sample. The first batch is compared
    with autograd on one sample; on a mismatch, and where weights are shared or used without their
    layer, the whole model falls back to :func:`gradient_norms_by_vmap`, with ``loss`` to
    :func:`gradient_norms_by_loop`, and ``fallback`` gives the reason. A layer that no sample reaches counts
    as zero.

    ``low`` is an optional type for autocast (``torch.bfloat16``): scores are then 1 to 6 % off.
    ``form(layer, x, g)`` gives a layer's contribution to the score; one other than the squared norm is
    for scores that weight the gradient (:mod:`.curvature`), with ``check=False``.

    Raises :class:`DiffInfError` for labels out of range and BatchNorm without running statistics,
    :class:`NotFiniteError` for a gradient that is NaN or infinite.
    """

    def __init__(
        self,
        model: nn.Module,
        check: bool = True,
        low: torch.dtype | None = None,
        form: Callable[[nn.Module, Tensor, Tensor], Tensor] = layer_norm_of,
        loss: SampleLoss | None = None,
    ) -> None:
        self.model = model
        self._form = form
        self._sample_loss = loss
        self.fallback: str | None = None
        self._check = check
        self._low = low
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._bare: list[tuple[nn.Module, str]] = []
        self._norms: Tensor | None = None
        self._layers: set[nn.Module] = set()
        self._seen: set[nn.Module] = set()
        self._unused: set[nn.Module] = set()
        self._shared: dict[nn.Module, bool] = {}
        self._classes: int | None = None

    def __enter__(self) -> GradientNorms:
        self._modes = {m: m.training for m in self.model.modules()}
        self._flags = [(p, p.requires_grad) for p in self.model.parameters()]
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
                raise DiffInfError(
                    "A BatchNorm layer keeps no running statistics, so its samples share one "
                    "gradient; score a network with track_running_stats=True."
                )
        self.model.eval()
        self._plan()
        return self

    def _plan(self) -> None:
        """Decide for each module with trainable parameters how they are counted."""
        owners: dict[Tensor, int] = {}
        inside: set[nn.Module] = set()
        for module in self.model.modules():
            own = dict(module.named_parameters(recurse=False))
            for p in own.values():
                owners[p] = owners.get(p, 0) + 1
            if module in inside:
                continue
            unit = isinstance(module, nn.MultiheadAttention)
            mine = list(module.parameters()) if unit else list(own.values())
            if not any(p.requires_grad for p in mine):
                continue
            if unit:  # it reads its output projection's weight without calling that layer
                inside.update(module.modules())
            deeper = any(list(child.parameters()) for child in module.children())
            if not unit and closed_form(module) is None and deeper:
                self._bare += [(module, name) for name, p in own.items() if p.requires_grad]
                continue
            if not all(p.requires_grad for p in mine):
                self.fallback = "a layer is trained in part"
            self._layers.add(module)
            self._handles.append(module.register_forward_hook(self._after, with_kwargs=True))
        if any(count > 1 for p, count in owners.items() if p.requires_grad):
            self.fallback = "two layers share a weight"

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._bare.clear()
        for module, mode in self._modes.items():
            module.training = mode
        for parameter, flag in self._flags:
            parameter.requires_grad_(flag)
        self._norms = None

    @property
    def bare(self) -> bool:
        """Whether a parameter stands outside a layer and is counted by copies."""
        return bool(self._bare)

    def _after(
        self, layer: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any], out: Any
    ) -> Any:
        if self._norms is None:
            return None
        if layer in self._seen:
            raise _NotCovered("a layer is used twice")
        self._seen.add(layer)
        # Without a gradient of its own the output may be a view into the input: keep the input.
        inputs = tuple(a.detach() for a in args if isinstance(a, Tensor))
        if isinstance(layer, nn.MultiheadAttention):
            if len(inputs) != 3 or any(isinstance(v, Tensor) for v in keywords.values()):
                raise _NotCovered("attention is called with a mask")
            axis = 0 if layer.batch_first else 1

            def attention(saved: tuple[Tensor, ...], g: Tensor) -> Tensor:
                with sdpa_kernel(SDPBackend.MATH):  # as in gradient_norms_by_vmap
                    return any_norm(layer, saved, g, keywords, whole=True, batch_axis=axis)

            return (_GhostNorm.apply(out[0], self._norms, attention, *inputs), *out[1:])
        if len(args) != 1 or len(inputs) != 1 or keywords or not isinstance(out, Tensor):
            raise _NotCovered(f"{type(layer).__name__} has several inputs or outputs")
        out, inputs = self._per_sample(layer, out, inputs[0])

        def single(saved: tuple[Tensor, ...], g: Tensor) -> Tensor:
            return self._form(layer, saved[0], g)

        return _GhostNorm.apply(out, self._norms, single, *inputs)

    def _per_sample(
        self, layer: nn.Module, out: Tensor, x: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Output and input of a layer with one row per sample.

        What is computed once for all samples and broadcast later, as position embeddings are, gets
        a copy per sample here, so that its gradient is per sample, too.
        """
        assert self._norms is not None
        n, rows = len(self._norms), len(out) if out.dim() else 0
        indices = isinstance(layer, nn.Embedding) and x.dim() < 2
        shared = rows != n and (rows == 1 or indices)
        known = self._shared.setdefault(layer, shared) if n > 1 else shared
        # One that is read in two ways owes one of them to a coincidence of sizes.
        if (rows != n and not shared) or known != shared:
            raise _NotCovered(f"the first axis of a {type(layer).__name__} is not the sample")
        if not shared:
            return out, (x,)
        if indices:
            out, x = out[None], x[None]
        return out.expand(n, *out.shape[1:]).clone(), (x.expand(n, *x.shape[1:]),)

    @contextmanager
    def _copies(self, n: int) -> Iterator[list[Tensor]]:
        """Give every bare parameter a copy per sample, whose gradient is then per sample too.

        Right where the parameter is used by broadcasting over the batch; anything else has the
        wrong shape or fails the self-check.
        """
        kept = [(module, name, module._parameters[name]) for module, name in self._bare]
        copies: list[Tensor] = []
        try:
            for module, name, p in kept:
                assert p is not None
                if p.dim() == 0:
                    raise _NotCovered("a parameter without axes stands outside a layer")
                lead = p.detach() if p.shape[0] == 1 and p.dim() > 1 else p.detach()[None]
                copy: Any = lead.expand(n, *lead.shape[1:]).requires_grad_()
                copies.append(copy)
                module._parameters[name] = copy
            yield copies
        finally:
            for module, name, p in kept:
                module._parameters[name] = p

    def _loss(self, batch: Any, n: int) -> Tensor:
        """The summed loss of a batch of n samples."""
        if self._sample_loss is not None:
            losses = self._sample_loss(self.model, batch)
            if not isinstance(losses, Tensor):
                raise DiffInfError(
                    f"The loss returns a {type(losses).__name__}, not a tensor with one value per sample."
                )
            if losses.shape != (n,):
                raise DiffInfError(
                    f"The loss returns shape {tuple(losses.shape)} for {n} samples; one value for each is "
                    f'needed, ({n},), as with reduction="none".'
                )
            return losses.sum()
        x, y = batch
        with torch.autocast(x.device.type, self._low, enabled=self._low is not None):
            logits = self.model(x)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return F.cross_entropy(logits, y, reduction="sum")

    def _ghost_norms(self, batch: Any, n: int) -> Tensor:
        self._seen.clear()
        first = next(self.model.parameters())
        kind = torch.float64 if first.dtype == torch.float64 else torch.float32
        self._norms = torch.zeros(n, device=first.device, dtype=kind, requires_grad=True)
        try:
            for parameter, _ in self._flags:
                parameter.requires_grad_(False)
            with torch.enable_grad(), self._copies(n) as copies:
                loss = self._loss(batch, n)
                norms, self._norms = (
                    self._norms,
                    None,
                )  # layers called in the backward pass are not new
                unused = self._layers - self._seen
                if self._check:  # the self-check tells an unused layer from an uncalled one
                    self._unused = unused
                if not unused <= self._unused:
                    raise _NotCovered("a weight is used without calling its layer")
                grads = torch.autograd.grad(loss, [norms, *copies], allow_unused=True)
            squares = grads[0] if grads[0] is not None else torch.zeros_like(norms)
            for g in grads[1:]:
                if g is not None:
                    squares = squares + g.flatten(1).square().sum(1)
            return squares.detach()
        finally:
            self._norms = None
            for parameter, flag in self._flags:
                parameter.requires_grad_(flag)

    def _agrees(self, batch: Any, squares: Tensor) -> bool:
        """Whether the first score is that of autograd on a batch of that one sample."""
        trained = [p for p, flag in self._flags if flag]
        with torch.enable_grad():
            grads = _gradients(self._loss(batch, 1), trained)
        reached = {p for p, g in zip(trained, grads, strict=True) if g is not None}
        if any(p in reached for layer in self._unused for p in layer.parameters()):
            return False
        truth = float(sum(g.double().square().sum() for g in grads if g is not None))
        tolerance = CHECK_TOLERANCE[self._low or squares.dtype]
        return abs(float(squares[0]) - truth) <= tolerance * max(truth, 1e-12) + 1e-12

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        if self._classes is None:
            with torch.no_grad():
                self._classes = self.model(x[:1]).shape[1]
        if int(y.min()) < 0 or int(y.max()) >= self._classes:
            raise DiffInfError(
                f"Labels run from {int(y.min())} to {int(y.max())}, "
                f"but the classifier has {self._classes} classes."
            )
        return self.of((x, y), len(x), lambda i: (x[i : i + 1], y[i : i + 1]))

    def of(self, batch: Any, n: int, one: Callable[[int], Any]) -> Tensor:
        """Squared norms (n,) for a batch of n samples; ``one(i)`` is the batch of sample i alone."""
        if self.fallback is None:
            try:
                squares = self._ghost_norms(batch, n)
            except _NotCovered as reason:
                self.fallback = str(reason)
            except (DiffInfError, torch.OutOfMemoryError):
                raise
            except Exception as reason:
                # a shape that a copy per sample does not fit, an input changed in place; what is
                # wrong with the model or the batch itself is raised by the fallback again
                self.fallback = (str(reason).splitlines() or [type(reason).__name__])[0]
            else:
                if self._check and not self._agrees(one(0), squares):
                    self.fallback = "the self-check against autograd failed"
        if self.fallback is not None:
            if self._sample_loss is None:
                x, y = batch
                squares = gradient_norms_by_vmap(self.model, x, y, self._low)
            else:
                batches = (one(i) for i in range(n))
                squares = gradient_norms_by_loop(self.model, self._sample_loss, batches)
        # A batch of one cannot show that samples of a batch are mixed up: check a larger one too.
        self._check = self._check and n == 1
        bad = ~torch.isfinite(squares)
        if bad.any():
            raise NotFiniteError(int(bad.nonzero()[0]))
        return squares
