"""DDIM as pure functions: inversion of a picture into noise and decoding of noise into a picture.

A ``Predictor`` maps (x_t, t) to (x_0 estimate, eps), shapes (B, 3, S, S); it encapsulates the
network, the code, the labels and the guidance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from diffinf_core.diffusion.schedule import abar, abar_at, respaced, times

Predictor = Callable[[Tensor, int], tuple[Tensor, Tensor]]
#: (step index, time, x_t, x_0 estimate) -> x_0 estimate to go on with
StepCallback = Callable[[int, int, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Guidance:
    """Scales of classifier-free guidance: of the label's direction, of which the fraction ``without_code``
    is predicted without z_sem (None: as usual for the generator), and of that of the covariates."""

    scale: float
    without_code: float | None = None
    covariates: float = 0.0


def from_v(x_t: Tensor, v: Tensor, t: int | Tensor) -> tuple[Tensor, Tensor]:
    """x_0 estimate and eps from a v-prediction; exact, also at t = 0 (equation 7)."""
    a = abar(t, x_t)
    return a.sqrt() * x_t - (1 - a).sqrt() * v, (1 - a).sqrt() * x_t + a.sqrt() * v


def eps_for(x_t: Tensor, x0: Tensor, t: int | Tensor) -> Tensor:
    """The eps that takes x_0 to x_t: equation 6 solved for eps."""
    a = abar(t, x_t)
    return (x_t - a.sqrt() * x0) / (1 - a).sqrt()


def step_to(x0: Tensor, eps: Tensor, t: int) -> Tensor:
    """One deterministic DDIM step to time t (equation 8 with no fresh noise); t = 0 is the picture."""
    if t == 0:
        return x0
    a = abar(t, x0)
    return a.sqrt() * x0 + (1 - a).sqrt() * eps


def invert(predict: Predictor, x: Tensor, steps: int, t0: int) -> Tensor:
    """The stochastic code x_T: run DDIM from the picture up to time ``t0``."""
    schedule = times(steps, t0)
    h = x
    for i in range(steps):
        x0, eps = predict(h, schedule[i])
        # At t = 0 the picture itself is the best x_0 estimate there is.
        h = step_to(x if i == 0 else x0, eps, schedule[i + 1])
    return h


def with_gradient_checkpointing(predict: Predictor) -> Predictor:
    """The same predictor, recomputed in the backward pass instead of keeping its activations.

    A gradient through n decoding steps then needs the memory of one step and n pictures, for a third
    more time (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost").
    """

    def checkpointed(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        if not torch.is_grad_enabled():
            return predict(x_t, t)
        return checkpoint(predict, x_t, t, use_reentrant=False)

    return checkpointed


def decode(
    predict: Predictor,
    x_T: Tensor,
    steps: int,
    t0: int,
    callback: StepCallback | None = None,
) -> Tensor:
    """Run DDIM from time ``t0`` down to a picture; the callback may replace each x_0 estimate."""
    schedule = times(steps, t0)
    return _descend(
        predict, x_T, schedule[1:], [abar_at(t) if t else 1.0 for t in schedule[:-1]], callback
    )


def _descend(
    predict: Predictor,
    h: Tensor,
    schedule: list[int],
    levels: list[float],
    callback: StepCallback | None,
) -> Tensor:
    """DDIM from the last time of an ascending schedule down; step i ends at abar = ``levels[i]``."""
    steps = len(schedule)
    for i in reversed(range(steps)):
        t = schedule[i]
        x0, eps = predict(h, t)
        if callback is not None:
            replaced = callback(steps - 1 - i, t, h, x0)
            if replaced is not x0:
                x0, eps = replaced, eps_for(h, replaced, t)
        h = _to_level(x0, eps, levels[i])
    return h


def _column(value: float | Tensor, like: Tensor) -> Tensor:
    """A float64 coefficient, cast last, that broadcasts over (B, 3, S, S)."""
    column = torch.as_tensor(value, dtype=torch.float64, device=like.device).to(like.dtype)
    return column[:, None, None, None] if column.dim() else column


def clamped(x_t: Tensor, eps: Tensor, t: int | Tensor) -> tuple[Tensor, Tensor]:
    """x_0 estimate clamped to [-1, 1] and the eps re-derived from it, as the published networks do.

    At high noise most values are clamped, so the network's own eps would be inconsistent with x_0.
    """
    wide = torch.zeros((), dtype=torch.float64, device=x_t.device)
    a = abar(t, wide).flatten() if isinstance(t, Tensor) else abar_at(t)
    by, minus = _column((1 / a) ** 0.5, x_t), _column((1 / a - 1) ** 0.5, x_t)
    x0 = (by * x_t - minus * eps).clamp(-1, 1)
    return x0, (by * x_t - x0) / minus


def _to_level(x0: Tensor, eps: Tensor, a: float) -> Tensor:
    level = _column(a, x0)
    return level.sqrt() * x0 + (1 - level).sqrt() * eps


def invert_respaced(
    predict: Predictor, x: Tensor, steps: int, callback: StepCallback | None = None
) -> Tensor:
    """x_T by the published convention: the picture counts as time 0, and noise alone is left at the end."""
    schedule = respaced(steps)
    for i, t in enumerate(schedule):
        x0, eps = predict(x, t)
        if callback is not None:
            callback(i, t, x, x0)
        x = _to_level(x0, eps, abar_at(schedule[i + 1]) if i + 1 < steps else 0.0)
    return x


def decode_respaced(
    predict: Predictor, x_T: Tensor, steps: int, callback: StepCallback | None = None
) -> Tensor:
    """A picture from x_T by the published convention; the callback may replace each x_0 estimate."""
    schedule = respaced(steps)
    levels = [1.0, *(abar_at(t) for t in schedule[:-1])]
    return _descend(predict, x_T, schedule, levels, callback)
