"""Inverse-curvature self-influence, equation 4: I_i = g_i^T (F + lambda)^-1 g_i at one checkpoint.

F is the Fisher information matrix, approximated layer by layer: in the eigenbasis of its Kronecker
factors with eigenvalues fitted in that basis (EK-FAC, George et al. 2018), and by its diagonal for
BatchNorm, which has few parameters. Labels are sampled from the network's own predictions (the true
Fisher, not the empirical one). lambda is ``damping`` times a layer's mean eigenvalue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from diffinf_core.influence.convolution import flat_convolution, weight_gradients
from diffinf_core.influence.gradients import GradientNorms
from diffinf_core.records import DiffInfError

_BatchNorm = nn.modules.batchnorm._BatchNorm
_Convolution = nn.Conv1d | nn.Conv2d
#: a layer's curvature: eigenvalues, and for a Kronecker layer both eigenbases
State = dict[str, Tensor]


def _ones_row(x: Tensor) -> Tensor:
    """(N, G, I, T) with a row of ones appended, for the bias."""
    return torch.cat([x, x.new_ones(*x.shape[:2], 1, x.shape[3])], 2)


def _sides(layer: nn.Module, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs (N, groups, I, T) and output gradients (N, groups, O, T); dW = sum_t g_t x_t^T."""
    n = len(x)
    if isinstance(layer, _Convolution):
        c, x, g = flat_convolution(layer, x, g)
        patches = nn.functional.unfold(x, c.kernel, c.dilation, c.padding, c.stride)
        a = patches.reshape(n, c.groups, -1, patches.shape[2])
        b = g.reshape(n, c.groups, -1, patches.shape[2])
    else:
        a = x.reshape(n, 1, -1, x.shape[-1]).mT
        b = g.reshape(n, 1, -1, g.shape[-1]).mT
    return (_ones_row(a) if getattr(layer, "bias", None) is not None else a), b


def _gradients(layer: nn.Module, x: Tensor, g: Tensor) -> Tensor:
    """Gradient of each sample: (N, groups, O, I) of a matrix layer, (N, 2 C) of BatchNorm."""
    if isinstance(layer, _BatchNorm):
        assert layer.running_mean is not None and layer.running_var is not None
        shape = (1, -1) + (1,) * (x.dim() - 2)
        scale = torch.rsqrt(layer.running_var + layer.eps).view(shape)
        normal = (x - layer.running_mean.view(shape)) * scale
        n, channels = x.shape[:2]
        weight = (normal * g).reshape(n, channels, -1).sum(2)
        if layer.bias is None:
            return weight
        return torch.cat([weight, g.reshape(n, channels, -1).sum(2)], 1)
    if isinstance(layer, _Convolution) and layer.bias is None:
        return weight_gradients(*flat_convolution(layer, x, g))
    a, b = _sides(layer, x, g)
    return b @ a.mT


class Curvature:
    """EK-FAC of a network: ``fit_covariances`` on every batch, ``eigendecompose``, ``fit_eigenvalues`` on
    every batch, then ``score``.

    Pictures x are (N, ...). Raises :class:`DiffInfError` for a network with layers other than Linear,
    convolutions and BatchNorm.
    """

    def __init__(self, net: nn.Module, damping: float, seed: int) -> None:
        self.net, self.damping = net, damping
        self._rng = torch.Generator().manual_seed(seed)
        self._names = {module: name for name, module in net.named_modules()}
        self.states: dict[str, State] = {}

    def _visit(
        self, x: Tensor, y: Tensor, visit: Callable[[nn.Module, Tensor, Tensor], Tensor]
    ) -> Tensor:
        with GradientNorms(self.net, check=False, form=visit) as norms:
            out = norms(x, y)
            why = "a parameter stands outside a layer" if norms.bare else norms.fallback
        if why is not None:
            raise DiffInfError(
                f"inverse_curvature cannot score this network: {why}; use another estimator."
            )
        return out

    def _sampled_labels(self, x: Tensor) -> Tensor:
        """Labels (N,) sampled from the network's predictions."""
        with torch.no_grad():
            p = torch.softmax(self.net(x).float(), 1).cpu()
        return torch.multinomial(p, 1, generator=self._rng)[:, 0].to(x.device)

    def _add(self, layer: nn.Module, key: str, value: Tensor) -> None:
        state = self.states.setdefault(self._names[layer], {})
        state[key] = state[key] + value if key in state else value

    def fit_covariances(self, x: Tensor) -> None:
        """First pass: covariances of layer inputs and of output gradients, the Kronecker factors."""

        def visit(layer: nn.Module, x: Tensor, g: Tensor) -> Tensor:
            if isinstance(layer, nn.Linear | _Convolution):
                a, b = _sides(layer, x, g)
                self._add(layer, "inputs", torch.einsum("ngit,ngjt->gij", a, a))
                self._add(layer, "outputs", torch.einsum("ngit,ngjt->gij", b, b))
            elif not isinstance(layer, _BatchNorm):
                raise DiffInfError(
                    f"inverse_curvature does not support {type(layer).__name__} layers; "
                    "use another estimator."
                )
            return g.new_zeros(len(g))

        self._visit(x, self._sampled_labels(x), visit)

    def eigendecompose(self) -> Iterator[int]:
        """Between the passes: eigenvectors of both factors; yields the number of layers done."""
        for done, state in enumerate(self.states.values(), 1):
            for key in ("inputs", "outputs"):
                state[key] = torch.linalg.eigh(state[key].double())[1].to(state[key].dtype)
            yield done

    def _rotated(self, layer: nn.Module, x: Tensor, g: Tensor) -> Tensor:
        """The samples' gradients in the eigenbasis."""
        gradients = _gradients(layer, x, g)
        if isinstance(layer, _BatchNorm):
            return gradients
        state = self.states[self._names[layer]]
        return state["outputs"].mT @ gradients @ state["inputs"]

    def fit_eigenvalues(self, x: Tensor) -> None:
        """Second pass: eigenvalues, as mean squared gradients in the eigenbasis."""

        def visit(layer: nn.Module, x: Tensor, g: Tensor) -> Tensor:
            self._add(layer, "values", self._rotated(layer, x, g).square().sum(0))
            return g.new_zeros(len(g))

        self._visit(x, self._sampled_labels(x), visit)
        whole = self.states.setdefault("", {})
        whole["count"] = whole.get("count", torch.zeros(())) + len(x)

    def score(self, x: Tensor, y: Tensor) -> Tensor:
        """(N,) of equation 4 for pictures x (N, ...) under labels y (N,)."""
        count = self.states[""]["count"].to(x.device)

        def visit(layer: nn.Module, x: Tensor, g: Tensor) -> Tensor:
            values = self.states[self._names[layer]]["values"] / count
            floor = self.damping * values.mean() + torch.finfo(values.dtype).tiny
            squares = self._rotated(layer, x, g).square() / (values + floor)
            return squares.flatten(1).sum(1)

        return self._visit(x, y, visit)

    def state(self) -> dict[str, Any]:
        """Everything fitted so far, for :meth:`load`."""
        tensors = {f"{name}|{key}": v for name, s in self.states.items() for key, v in s.items()}
        return {**tensors, "rng": self._rng.get_state()}

    def load(self, state: dict[str, Any]) -> None:
        """Restore a :meth:`state`."""
        device = next(self.net.parameters()).device
        self.states = {}
        # states saved by earlier versions name it "draw"
        self._rng.set_state(state["rng"] if "rng" in state else state["draw"])
        for name, value in state.items():
            if "|" not in name:
                continue
            layer, _, key = name.rpartition("|")
            self.states.setdefault(layer, {})[key] = value.to(device)
