"""The noise schedule: the signal that is left at each of the 1000 diffusion times."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

TIMES = 1000
BETA_START, BETA_END = 1e-4, 0.02
#: how times are spaced: 1 evenly, more than 1 denser where the picture is nearly clean
SPACING = 1.75


@lru_cache(maxsize=1)
def _abar64() -> Tensor:
    betas = torch.linspace(BETA_START, BETA_END, TIMES, dtype=torch.float64)
    return torch.cumprod(1 - betas, 0)


def abar(t: Tensor | int, like: Tensor) -> Tensor:
    """abar_t of equation 6: the fraction of signal variance at time t.

    ``t`` is an int or a long tensor (B,) in [0, 999]. Returns a scalar or (B, 1, 1, 1) tensor with
    the device and type of ``like``; the products are formed in float64.
    """
    values = _abar64().to(like.device, like.dtype)[t]
    return values[:, None, None, None] if values.dim() else values


def times(steps: int, t0: int, spacing: float = SPACING) -> list[int]:
    """``steps + 1`` ascending times from 0 to ``t0``, ends included: t0 (i / steps)^spacing, rounded.

    Detail is generated at low noise, so an even spacing spends most steps where little is decided: with
    8 steps to t0 = 600 the demo generator inverts and decodes to L1 6.3 of 255 with spacing 1 and to
    3.5 with 1.75. Raises ValueError where there are fewer times than steps.
    """
    if not 1 <= steps <= t0 <= TIMES - 1:
        raise ValueError(f"steps={steps}, t0={t0}: need 1 <= steps <= t0 <= {TIMES - 1}.")
    out = [0]
    for i in range(1, steps + 1):
        # Close to 0 the formula repeats a time; each step must move, and leave room for the rest.
        wanted = max(round(t0 * (i / steps) ** spacing), out[-1] + 1)
        out.append(min(wanted, t0 - (steps - i)))
    return out


def abar_at(t: int) -> float:
    """abar_t in float64."""
    return float(_abar64()[t])


def respaced(steps: int) -> list[int]:
    """The published evaluation times: every s-th of 0..999 from 0, s chosen so that there are ``steps``.

    Only 62 values of ``steps`` exist (10, 20, 50, 100, 250, ...); ValueError for another one.
    """
    for stride in range(1, TIMES):
        count = -(-TIMES // stride)
        if count == steps:
            return list(range(0, TIMES, stride))
        if count < steps:
            break
    near = min({-(-TIMES // s) for s in range(1, TIMES)}, key=lambda n: abs(n - steps))
    raise ValueError(f"There is no even spacing of {TIMES} times in {steps} steps; take {near}.")
