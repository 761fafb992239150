"""Guided decoding (section 3.5): invert, decode under the assigned label, and at every step move the
x_0 estimate down the objective's gradient.

Gradients never pass through the UNet: a step costs two network calls (with and without the label), four
where a part of the label's direction is predicted without the code, and one backward pass through the
small perceptors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.config import RepairConfig
from diffinf_core.correction.colour import coloured, colours_by_light, keep_colour
from diffinf_core.correction.objective import Objective
from diffinf_core.diffusion.autoencoder import Autoencoder, DiffusionAutoencoder
from diffinf_core.diffusion.regions import local_change
from diffinf_core.diffusion.sampling import Guidance, eps_for, step_to
from diffinf_core.diffusion.schedule import abar, times
from diffinf_core.records import DiffInfError

#: local mean change, on the scale of [-1, 1], at which the gate begins to close and at which it is closed
GATE_LOW, GATE_HIGH = 0.06, 0.16
#: the same for the local colour of what is drawn without the original's noise, and so without its grain
COLOUR_LOW, COLOUR_HIGH = 0.08, 0.2
#: fraction of a picture of latents whose detail transfer="gated" keeps, before what is drawn anew is widened
#: by a cell
GATE_QUANTILE = 0.75


@dataclass(frozen=True)
class GuidedStep:
    """One decoding step: ``done`` of ``total``, the x_0 estimate so far, unweighted terms (B,).

    Where it is ``drawn``, it shares nothing with the plain reconstruction, see :meth:`Task.drawn`.
    """

    done: int
    total: int
    x0: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    drawn: bool = False


@dataclass(frozen=True)
class Inversion:
    """An inverted original: its codes z_sem (B, d) and x_T, and the x_0 of its plain reconstruction."""

    z_sem: Tensor
    x_T: Tensor
    reconstruction: Tensor


@torch.no_grad()
def invert(
    generator: Autoencoder, x: Tensor, label: Tensor | None, config: RepairConfig
) -> Inversion:
    """Codes of pictures x at noise level t0, and their decoding under the same label without guidance."""
    x0 = generator.latent(x)
    z = generator.encode(x, x0)
    x_T = generator.invert(x0, z, config.steps, config.t0, label)
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

    def __post_init__(self) -> None:
        """:class:`DiffInfError` where the generator cannot edit so, see :func:`refuse_settings`."""
        if self.label is not None:
            refuse_settings(self.config, self.generator)

    def predict(self, x_t: Tensor, t: int, z: Tensor) -> tuple[Tensor, Tensor]:
        """(x_0 estimate, eps) of x_t (B, 3, S, S), with classifier-free guidance where there is a label."""
        label, negative, generator = self.label, self.negative, self.generator
        if label is None or negative is None or not generator.needs_guiding(self.guidance):
            return generator.predict(x_t, t, z, label)
        return generator.guide(x_t, t, z, label, negative, self.guidance)

    @property
    def guidance(self) -> Guidance:
        """The scales of the settings, with what is usual for the generator."""
        c, usual = self.config, self.generator.usual_without_code
        w = usual if c.without_code is None else c.without_code
        return Guidance(c.guidance, w, c.covariate_guidance)

    @cached_property
    def original(self) -> Tensor:
        """x_0 of the originals."""
        with torch.no_grad():
            return self.generator.latent(self.objective.reference.x)

    def _pixels(self, x0: Tensor) -> Tensor:
        """What x_0 is decoded to, where the generator is one of grey pictures in the original's colours."""
        out = self.generator.pixels(x0)
        return coloured(out, self._colours) if self.generator.grey else out

    @cached_property
    def _colours(self) -> Tensor:
        return colours_by_light(self.objective.reference.x)

    @cached_property
    def plain(self) -> Tensor:
        """The plain reconstructions (B, 3, S, S)."""
        with torch.no_grad():
            return self._pixels(self.inversion.reconstruction)

    @cached_property
    def _decoded(self) -> Tensor:
        """What the first stage makes of the originals (B, 3, S, S)."""
        with torch.no_grad():
            return self._pixels(self.original)

    @property
    def _decoder_error(self) -> Tensor:
        """What the first stage itself loses of the originals (B, 3, S, S)."""
        return self.objective.reference.x - self._decoded

    def pictures(self, x0: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) of an edit's x_0, with the original's detail transferred.

        On latents the transfer takes place there: the result is decoded once, and what the decoder loses of
        the original itself is added back.
        """
        out = self._transferred(x0)
        return keep_colour(self.objective.reference.x, out) if self.config.keep_colour else out

    def _transferred(self, x0: Tensor) -> Tensor:
        how, plain = self.config.transfer, self.inversion.reconstruction
        if self.generator.on_pixels:
            return transfer(self.original, x0, plain, how, self.config.mask_quantile)
        moved = transfer(self.original, x0, plain, how, self.config.mask_quantile, on_pixels=False)
        out = self._pixels(moved)
        if how == "none":
            return out
        if how != "gated":
            return out + self._decoder_error
        anew = F.interpolate(drawn_anew(x0, plain), out.shape[-2:], mode="bilinear")
        return out + (1 - anew) * self._decoder_error

    def drawn(self, x0: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) of an x_0 of which a region was drawn apart from the plain reconstruction.

        The original stays where its colour hardly changes, with the grain of its skin, which is not drawn.
        """
        x, out = self.objective.reference.x, self._pixels(x0)
        out = x + changed_colour(self._decoded, out) * (out - x)
        return keep_colour(x, out) if self.config.keep_colour else out


def refuse_settings(config: RepairConfig, generator: Autoencoder) -> None:
    """:class:`DiffInfError` where a generator was not trained for what the settings ask of it."""
    if config.method == "inpaint" and not (
        isinstance(generator, DiffusionAutoencoder) and generator.architecture.inpaints
    ):
        raise DiffInfError(
            "The generator was not trained to inpaint: set repair.method=guided, repair.transfer=masked and "
            "repair.mask_quantile=0.3, or train another generator."
        )
    if config.covariate_guidance and not any(
        a.covariate for a in generator.architecture.attributes
    ):
        raise DiffInfError(
            "The generator has no covariates to keep: leave repair.covariate_guidance out, or train one with "
            "generator.covariates."
        )
    asked = config.without_code or config.covariate_guidance
    if asked and not generator.usual_without_code:
        raise DiffInfError(
            "The generator is not known to have been trained with conditioning dropout of z_sem, and may not "
            "know a label without the code: leave repair.without_code and repair.covariate_guidance out, or "
            "train another generator."
        )


def guided_decode(task: Task) -> Iterator[GuidedStep]:
    """Decode towards the label under the objective, a step per event.

    A guided step has length step_size sqrt(abar_t): small while the picture is mostly noise, full
    at the end.
    """
    config = task.config
    schedule = times(config.steps, config.t0)
    z, h = task.inversion.z_sem, task.inversion.x_T
    for i in reversed(range(config.steps)):
        t = schedule[i + 1]
        with torch.no_grad():
            x0, eps = task.predict(h, t, z)
        terms: dict[str, Tensor] = {}
        if i % config.objective_every == 0:
            x0, terms = objective_step(task, x0, t)
            eps = eps_for(h, x0, t) if terms else eps
        h = step_to(x0, eps, schedule[i])
        yield GuidedStep(config.steps - i, config.steps, x0, terms)


def objective_step(
    task: Task, x0: Tensor, t: int, pictures: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """An x_0 estimate, a step down the objective's gradient, and the unweighted terms (B,) before it.

    ``pictures`` makes the edit as it would be stored from an estimate (B, C, s, s); default: the task's.
    Without a step size or without terms the estimate is returned as it is.
    """
    if not task.config.step_size:
        return x0, {}
    with torch.enable_grad():
        moving = x0.detach().requires_grad_(True)
        terms = task.objective.terms((pictures or task.pictures)(moving))
        if not terms:
            return x0, {}
        (g,) = torch.autograd.grad(task.objective.loss(terms).sum(), moving)
    length = g.flatten(1).norm(dim=1)[:, None, None, None]
    pace = task.config.step_size * abar(t, x0).sqrt()
    detached = {name: value.detach() for name, value in terms.items()}
    return x0 - pace * g / (length + 1e-8), detached


def transfer(
    x: Tensor,
    edit: Tensor,
    reconstruction: Tensor,
    how: str,
    quantile: float = 0.6,
    on_pixels: bool = True,
) -> Tensor:
    """Restore the original's sharpness in an edit; all are x_0 of pictures or of latents.

    The residual x - reconstruction is the detail that the generator cannot reproduce. "delta" adds all of
    it to the edit, so that the result is x + (edit - reconstruction); "gated" adds it only where the edit
    left the picture unchanged, because where a mouth opened, the residual still holds the lines of the
    closed one. Latents differ everywhere: there all of it is added except in the quarter that changed most
    and the cells beside that, which get only its mean over an eighth of the side to each side, the colour.
    "masked" adds the change to the original where the change is strong, and leaves the original
    as it is elsewhere; "none" adds nothing.
    """
    if how == "none":
        return edit
    if how == "masked":
        return x + strongly_changed(edit, reconstruction, quantile) * (edit - reconstruction)
    residual = x - reconstruction
    if how == "gated" and on_pixels:
        residual = residual * (1 - changed(edit, reconstruction))
    elif how == "gated":
        side = 2 * (x.shape[-1] // 8) + 1
        colour = F.avg_pool2d(residual, side, 1, side // 2, count_include_pad=False)
        residual = residual - drawn_anew(edit, reconstruction) * (residual - colour)
    return edit + residual


def strongly_changed(edit: Tensor, reconstruction: Tensor, quantile: float) -> Tensor:
    """Soft mask (B, 1, s, s) in [0, 1] of where label and no-label decodings differ most, for each picture.

    By the mean absolute difference, smoothed over 3 x 3 cells.
    """
    with torch.no_grad():
        return soft_mask(local_change(edit, reconstruction), quantile)


def drawn_anew(edit: Tensor, reconstruction: Tensor) -> Tensor:
    """Soft mask (B, 1, s, s) in [0, 1] of where an edit has detail of its own, and the original's would show
    through: teeth through closed lips."""
    return F.max_pool2d(strongly_changed(edit, reconstruction, GATE_QUANTILE), 3, 1, 1)


def soft_mask(change: Tensor, quantile: float) -> Tensor:
    """Mask (B, 1, s, s) of strong change (B, 1, s, s): 0 up to its ``quantile``, 1 from 1.5 times that on."""
    q = change.flatten(1).float().quantile(quantile, dim=1)[:, None, None, None].clamp_min(1e-8)
    return ((change / q - 1) * 2).clamp(0, 1)


def changed(edit: Tensor, reconstruction: Tensor) -> Tensor:
    """Soft mask (B, 1, S, S) in [0, 1] of where an edit changed the picture, a few pixels wider."""
    with torch.no_grad():
        d = _near(_near((edit - reconstruction).abs().mean(1, keepdim=True)))
        return ((d - GATE_LOW) / (GATE_HIGH - GATE_LOW)).clamp(0, 1)


def changed_colour(decoded: Tensor, edit: Tensor) -> Tensor:
    """The same of where local means changed, (B, 1, S, S): grain that is gone is no change, nor is what the
    first stage loses."""
    with torch.no_grad():
        d = _near(_near(edit - decoded)).abs().mean(1, keepdim=True)
        gate = ((d - COLOUR_LOW) / (COLOUR_HIGH - COLOUR_LOW)).clamp(0, 1)
        return _near(F.max_pool2d(gate, 5, 1, 2))


def _near(d: Tensor) -> Tensor:
    """Mean over 5 x 5 pixels."""
    # a row and then a column give the mean of the square, for 10 instead of 25 terms
    d = F.avg_pool2d(d, (5, 1), 1, (2, 0), count_include_pad=False)
    return F.avg_pool2d(d, (1, 5), 1, (0, 2), count_include_pad=False)
