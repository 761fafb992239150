"""DDIM as pure functions: inversion of a picture into noise and decoding of noise into a picture.

A ``Predictor`` maps (x_t, t) to (x_0 estimate, eps), shapes (B, 3, S, S); it hides the network, the
code, the labels and the guidance. Nothing here knows a network.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from diffinf_core.diffusion.schedule import abar, times

Predictor = Callable[[Tensor, int], tuple[Tensor, Tensor]]
#: (step index, time, x_t, x_0 estimate) -> x_0 estimate to go on with
StepCallback = Callable[[int, int, Tensor, Tensor], Tensor]


def from_v(x_t: Tensor, v: Tensor, t: int | Tensor) -> tuple[Tensor, Tensor]:
    """x_0 estimate and eps from a v-prediction; exact, also at t = 0 (equation 7)."""
    a = abar(t, x_t)
    return a.sqrt() * x_t - (1 - a).sqrt() * v, (1 - a).sqrt() * x_t + a.sqrt() * v


def eps_for(x_t: Tensor, x0: Tensor, t: int | Tensor) -> Tensor:
    """The eps that makes x_t out of x0: equation 6 solved for eps."""
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


def decode(
    predict: Predictor,
    x_T: Tensor,
    steps: int,
    t0: int,
    callback: StepCallback | None = None,
) -> Tensor:
    """Run DDIM from time ``t0`` down to a picture; the callback may move each x_0 estimate."""
    schedule = times(steps, t0)
    h = x_T
    for i in reversed(range(steps)):
        t = schedule[i + 1]
        x0, eps = predict(h, t)
        if callback is not None:
            moved = callback(steps - 1 - i, t, h, x0)
            if moved is not x0:
                x0, eps = moved, eps_for(h, moved, t)
        h = step_to(x0, eps, schedule[i])
    return h
