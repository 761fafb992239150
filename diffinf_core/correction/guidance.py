"""Guided decoding (section 3.5): invert, decode under the assigned label, and at every step move the
x_0 estimate down the objective's gradient.

Gradients never pass through the UNet: a step costs two network calls (with and without the label)
and one backward pass through the small perceptors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffinf_core.config import RepairConfig
from diffinf_core.correction.objective import Objective
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder
from diffinf_core.diffusion.sampling import eps_for, step_to
from diffinf_core.diffusion.schedule import abar, times


@dataclass(frozen=True)
class GuidedStep:
    """One decoding step: ``done`` of ``total``, the x_0 estimate so far, unweighted terms (B,)."""

    done: int
    total: int
    x0: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Inversion:
    """What an original is turned into once: its codes and its plain reconstruction."""

    z_sem: Tensor
    x_T: Tensor
    reconstruction: Tensor


@torch.no_grad()
def invert(generator: DiffusionAutoencoder, x: Tensor, config: RepairConfig) -> Inversion:
    """Codes of x at noise level t0, with the label unknown, and their decoding without guidance."""
    z = generator.encode(x)
    x_T = generator.invert(x, z, config.steps, config.t0)
    return Inversion(z, x_T, generator.decode(x_T, z, config.steps, config.t0))


def guided_decode(
    generator: DiffusionAutoencoder,
    inversion: Inversion,
    label: Tensor | None,
    objective: Objective,
    config: RepairConfig,
) -> Iterator[GuidedStep]:
    """Decode towards the label under the objective, a step per event.

    ``label`` (B, attributes) is what the generator is told, None for nothing. A guided step has
    length step_size sqrt(abar_t): small while the picture is mostly noise, full at the end.
    """
    schedule = times(config.steps, config.t0)
    z, h = inversion.z_sem, inversion.x_T
    for i in reversed(range(config.steps)):
        t = schedule[i + 1]
        with torch.no_grad():
            x0, eps = _predict(generator, h, t, z, label, config.guidance)
        terms: dict[str, Tensor] = {}
        if config.step_size:
            with torch.enable_grad():
                moving = x0.detach().requires_grad_(True)
                terms = objective.terms(moving)
                if terms:
                    (g,) = torch.autograd.grad(objective.loss(terms).sum(), moving)
                    length = g.flatten(1).norm(dim=1)[:, None, None, None]
                    pace = config.step_size * abar(t, h).sqrt()
                    x0 = x0 - pace * g / (length + 1e-8)
                    eps = eps_for(h, x0, t)
        h = step_to(x0, eps, schedule[i])
        detached = {name: value.detach() for name, value in terms.items()}
        yield GuidedStep(config.steps - i, config.steps, x0, detached)


def _predict(
    generator: DiffusionAutoencoder,
    h: Tensor,
    t: int,
    z: Tensor,
    label: Tensor | None,
    guidance: float,
) -> tuple[Tensor, Tensor]:
    if label is None or guidance == 1.0:
        return generator.predict(h, t, z, label)
    both = torch.cat([label, torch.full_like(label, -1)])
    x0, _ = generator.predict(h.repeat(2, 1, 1, 1), t, z.repeat(2, 1), both)
    told, untold = x0.chunk(2)
    x0 = untold + guidance * (told - untold)
    return x0, eps_for(h, x0, t)


def transfer(x: Tensor, edit: Tensor, reconstruction: Tensor, how: str) -> Tensor:
    """Bring an edit back to the original's sharpness.

    "delta" adds what the edit changed, edit - reconstruction, to the original, so that everything
    the generator cannot draw stays as photographed; "none" takes the edit as it is.
    """
    out = x + edit - reconstruction if how == "delta" else edit
    return out.clamp(-1, 1)
