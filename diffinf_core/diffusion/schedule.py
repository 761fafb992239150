"""The noise schedule: how much of the picture is left at each of the 1000 diffusion times."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

TIMES = 1000
BETA_START, BETA_END = 1e-4, 0.02


@lru_cache(maxsize=1)
def _abar64() -> Tensor:
    betas = torch.linspace(BETA_START, BETA_END, TIMES, dtype=torch.float64)
    return torch.cumprod(1 - betas, 0)


def abar(t: Tensor | int, like: Tensor) -> Tensor:
    """abar_t of equation 6: the share of signal variance at time t.

    ``t`` is an int or a long tensor (B,) in [0, 999]. Returns a scalar or (B, 1, 1, 1) tensor with
    the device and type of ``like``; the products are formed in float64.
    """
    values = _abar64().to(like.device, like.dtype)[t]
    return values[:, None, None, None] if values.dim() else values


def times(steps: int, t0: int) -> list[int]:
    """``steps + 1`` ascending times from 0 to ``t0``, evenly spaced, ends included."""
    if not 1 <= steps <= t0 <= TIMES - 1:
        raise ValueError(f"steps={steps}, t0={t0}: need 1 <= steps <= t0 <= {TIMES - 1}.")
    return [round(i * t0 / steps) for i in range(steps + 1)]


def abar_at(t: int) -> float:
    """abar_t in float64."""
    return float(_abar64()[t])


def respaced(steps: int) -> list[int]:
    """The published evaluation times: every s-th of 0..999 from 0, s chosen so that there are ``steps``.

    Only 62 values of ``steps`` exist (10, 20, 50, 100, 250, ...); ValueError for another one.
    """
    for stride in range(1, TIMES):
        found = -(-TIMES // stride)
        if found == steps:
            return list(range(0, TIMES, stride))
        if found < steps:
            break
    near = min({-(-TIMES // s) for s in range(1, TIMES)}, key=lambda n: abs(n - steps))
    raise ValueError(f"There is no even spacing of {TIMES} times in {steps} steps; take {near}.")
