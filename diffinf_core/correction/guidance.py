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
from torch.nn import functional as F

from diffinf_core.config import RepairConfig
from diffinf_core.correction.objective import Objective
from diffinf_core.diffusion.autoencoder import Autoencoder
from diffinf_core.diffusion.sampling import eps_for, step_to
from diffinf_core.diffusion.schedule import abar, times

#: local mean change, on the scale of [-1, 1], at which the gate begins to close and at which it is closed
GATE_LOW, GATE_HIGH = 0.06, 0.16


@dataclass(frozen=True)
class GuidedStep:
    """One decoding step: ``done`` of ``total``, the x_0 estimate so far, unweighted terms (B,)."""

    done: int
    total: int
    x0: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Inversion:
    """An inverted original: its codes z_sem (B, d) and x_T, and its plain reconstruction (B, 3, S, S)."""

    z_sem: Tensor
    x_T: Tensor
    reconstruction: Tensor


@torch.no_grad()
def invert(
    generator: Autoencoder, x: Tensor, label: Tensor | None, config: RepairConfig
) -> Inversion:
    """Codes of x at noise level t0, and their decoding under the same label without guidance."""
    z = generator.encode(x)
    x_T = generator.invert(x, z, config.steps, config.t0, label)
    return Inversion(z, x_T, generator.decode(x_T, z, config.steps, config.t0, label))


@dataclass(frozen=True)
class Task:
    """A batch to edit, by whatever method.

    ``label`` and ``negative`` (B, attributes) are the condition and the negative condition of
    classifier-free guidance, None where the generator is unconditional.
    """

    generator: Autoencoder
    inversion: Inversion
    label: Tensor | None
    negative: Tensor | None
    objective: Objective
    config: RepairConfig

    def predict(self, x_t: Tensor, t: int, z: Tensor) -> tuple[Tensor, Tensor]:
        """(x_0 estimate, eps) of x_t (B, 3, S, S), with classifier-free guidance where there is a label."""
        guidance = self.config.guidance
        label, negative = self.label, self.negative
        if label is None or negative is None or not self.generator.needs_guiding(guidance):
            return self.generator.predict(x_t, t, z, label)
        return self.generator.guide(x_t, t, z, label, negative, guidance)

    def terms(self, x0: Tensor) -> dict[str, Tensor]:
        """The objective's terms for x_0 (B, 3, S, S) as it would be stored, with detail transferred."""
        x, plain = self.objective.reference.x, self.inversion.reconstruction
        return self.objective.terms(transfer(x, x0, plain, self.config.transfer))


def guided_decode(task: Task) -> Iterator[GuidedStep]:
    """Decode towards the label under the objective, a step per event.

    A guided step has length step_size sqrt(abar_t): small while the picture is mostly noise, full
    at the end.
    """
    config, objective = task.config, task.objective
    schedule = times(config.steps, config.t0)
    z, h = task.inversion.z_sem, task.inversion.x_T
    for i in reversed(range(config.steps)):
        t = schedule[i + 1]
        with torch.no_grad():
            x0, eps = task.predict(h, t, z)
        terms: dict[str, Tensor] = {}
        if config.step_size:
            with torch.enable_grad():
                moving = x0.detach().requires_grad_(True)
                terms = task.terms(moving)
                if terms:
                    (g,) = torch.autograd.grad(objective.loss(terms).sum(), moving)
                    length = g.flatten(1).norm(dim=1)[:, None, None, None]
                    pace = config.step_size * abar(t, h).sqrt()
                    x0 = x0 - pace * g / (length + 1e-8)
                    eps = eps_for(h, x0, t)
        h = step_to(x0, eps, schedule[i])
        detached = {name: value.detach() for name, value in terms.items()}
        yield GuidedStep(config.steps - i, config.steps, x0, detached)


def transfer(x: Tensor, edit: Tensor, reconstruction: Tensor, how: str) -> Tensor:
    """Restore the original's sharpness in an edit.

    The residual x - reconstruction is the detail that the generator cannot reproduce. "delta" adds all of
    it to the edit, so that the result is x + (edit - reconstruction); "gated" adds it only where the edit
    left the picture unchanged, because where a mouth opened, the residual still holds the lines of the
    closed one; "none" adds nothing.
    """
    if how == "none":
        return edit
    residual = x - reconstruction
    if how == "gated":
        residual = residual * (1 - changed(edit, reconstruction))
    return edit + residual


def changed(edit: Tensor, reconstruction: Tensor) -> Tensor:
    """Soft mask (B, 1, S, S) in [0, 1] of where an edit changed the picture, a few pixels wider."""
    with torch.no_grad():
        d = (edit - reconstruction).abs().mean(1, keepdim=True)
        for _ in range(2):
            # a row and then a column give the mean of the square, for 10 instead of 25 terms
            d = F.avg_pool2d(d, (5, 1), 1, (2, 0), count_include_pad=False)
            d = F.avg_pool2d(d, (1, 5), 1, (0, 2), count_include_pad=False)
        return ((d - GATE_LOW) / (GATE_HIGH - GATE_LOW)).clamp(0, 1)
