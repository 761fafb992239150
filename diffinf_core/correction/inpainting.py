"""Guided decoding within the region where the label shows, with the rest of the picture known.

Guidance over a whole picture redraws the face, and what is transferred from it is misaligned with the
original: a mouth too small, or beside its place. So the label is decoded twice. The first decoding tells
where the picture changes; the cells of strong change that are also those of its class become the region. In
the second one the network is shown the original around the region. Either only the region moves away from
the plain decoding, from the same noise; or it is drawn without noise, because what an inversion holds of a
closed mouth shows through the open one, and what is drawn so is noised a little and denoised, because a mean
has no detail.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.config import RepairConfig
from diffinf_core.correction.guidance import (
    GuidedStep,
    Task,
    guided_decode,
    objective_step,
    soft_mask,
)
from diffinf_core.diffusion import sampling
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder
from diffinf_core.diffusion.regions import local_change
from diffinf_core.diffusion.sampling import eps_for, step_to
from diffinf_core.diffusion.schedule import times

#: passes over 3 x 3 cells by which a region is smoothed: a cell apart, on half of an eye, turns no label and
#: is seen at once
_TOGETHER = 2
#: DDIM steps, at most, of the second denoising of what is drawn from the mean
_REFINE_STEPS = 2
#: how much a class usually changes in a separate piece of a region, at least, of the most in any piece
_PIECE = 0.75


def inpaint(task: Task) -> Iterator[GuidedStep]:
    """Decode towards the label within its region, a step per event; without a label as
    :func:`guided_decode`."""
    generator, config, negative = task.generator, task.config, task.negative
    if task.label is None or negative is None:
        yield from guided_decode(task)
        return
    assert isinstance(generator, DiffusionAutoencoder)
    decode = _redraw if config.decode_from == "mean" else _decode_within
    total = 2 * config.steps + (_refining(config) if decode is _redraw else 0)
    without_objective = replace(task, config=config.model_copy(update={"step_size": 0.0}))
    for step in guided_decode(without_objective):
        yield replace(step, total=total)
    region = edit_region(
        generator, task.label, step.x0, task.inversion.reconstruction, config.mask_quantile
    )
    for step in decode(task, generator, region, task.label, negative):
        yield replace(step, done=config.steps + step.done, total=total)


@torch.no_grad()
def _decode_within(
    task: Task, generator: DiffusionAutoencoder, region: Tensor, label: Tensor, negative: Tensor
) -> Iterator[GuidedStep]:
    """The second decoding and the plain one in parallel; they differ in ``region`` (B, 1, s, s) alone."""
    config, z = task.config, task.inversion.z_sem
    around = _surroundings(task, region)
    schedule = times(config.steps, config.t0)

    def unconditional(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        return generator.predict(x_t, t, z, negative, around)

    plain = edit = sampling.invert(unconditional, task.original, config.steps, config.t0)
    reconstruction = task.inversion.reconstruction
    for i in reversed(range(config.steps)):
        t = schedule[i + 1]
        plain_x0, plain_eps = unconditional(plain, t)
        guided, _ = generator.guide(edit, t, z, label, negative, task.guidance, around)
        terms: dict[str, Tensor] = {}
        if i % config.objective_every == 0:
            pictures = partial(_edit, task, region, plain_x0)
            guided, terms = objective_step(task, guided, t, pictures)
        edit = step_to(guided, eps_for(edit, guided, t), schedule[i])
        plain = step_to(plain_x0, plain_eps, schedule[i])
        edit = plain + region * (edit - plain)
        x0 = _edit_x0(reconstruction, region, plain_x0, guided)
        yield GuidedStep(config.steps - i, config.steps, x0, terms)


@torch.no_grad()
def _redraw(
    task: Task, generator: DiffusionAutoencoder, region: Tensor, label: Tensor, negative: Tensor
) -> Iterator[GuidedStep]:
    """The second decoding from the mean of the noised original, without any noise: the most typical drawing.

    Noise, the picture's own or new, holds what the network has to make sense of, and a network that was
    trained for minutes does so badly. What is not in the region stays the original. The mean is soft: noise
    of level ``refine_t0`` is added and taken away again (SDEdit, Meng et al. 2022), by the prediction under
    the label without guidance, and too little of it to draw anything but detail.
    """
    config, original, z = task.config, task.original, task.inversion.z_sem
    around = _surroundings(task, region)

    def within(x0: Tensor) -> Tensor:
        return original + region * (x0 - original)

    def pictures(x0: Tensor) -> Tensor:
        return task.drawn(within(x0))

    refining = _refining(config)
    total = config.steps + refining

    def denoised(
        h: Tensor, schedule: list[int], left: int, predict: Callable[[Tensor, int], Tensor]
    ) -> Iterator[GuidedStep]:
        """Steps of h down a schedule, ``left`` of all steps being left after them."""
        for i in reversed(range(len(schedule) - 1)):
            t = schedule[i + 1]
            x0, terms = predict(h, t), dict[str, Tensor]()
            if i % config.objective_every == 0:
                x0, terms = objective_step(task, x0, t, pictures)
            x0 = within(x0)
            h = step_to(x0, eps_for(h, x0, t), schedule[i])
            yield GuidedStep(total - left - i, total, x0, terms, drawn=True)

    def guided(h: Tensor, t: int) -> Tensor:
        return generator.guide(h, t, z, label, negative, task.guidance, around)[0]

    def plain(h: Tensor, t: int) -> Tensor:
        return generator.predict(h, t, z, label, around)[0]

    schedule = times(config.steps, config.t0)
    mean = step_to(original, torch.zeros_like(original), schedule[-1])
    for step in denoised(mean, schedule, refining, guided):
        yield step
    if refining:
        schedule = times(refining, config.refine_t0)
        yield from denoised(step_to(step.x0, _noise(task), schedule[-1]), schedule, 0, plain)


def _refining(config: RepairConfig) -> int:
    """How many steps denoise once more what was drawn from the mean."""
    return min(_REFINE_STEPS, config.refine_t0)


def _noise(task: Task) -> Tensor:
    """Unit noise (B, C, s, s) determined by the seed and each picture alone, independent of the batch; shared
    noise would let a classifier tell edits from photographs."""
    levels = ((task.objective.reference.x + 1) * 127.5).round().to(torch.uint8).cpu()
    drawn = []
    for picture in levels:
        seed = zlib.crc32(picture.numpy().tobytes(), task.config.seed)
        rng = torch.Generator().manual_seed(seed)
        drawn.append(torch.randn(task.original.shape[1:], generator=rng))
    return torch.stack(drawn).to(task.original)


def _surroundings(task: Task, region: Tensor) -> Tensor:
    known = (region == 0).to(region.dtype)
    return torch.cat([known * task.original, known], 1)


def _edit(task: Task, region: Tensor, plain: Tensor, guided: Tensor) -> Tensor:
    return task.pictures(_edit_x0(task.inversion.reconstruction, region, plain, guided))


def _edit_x0(reconstruction: Tensor, region: Tensor, plain: Tensor, guided: Tensor) -> Tensor:
    """x_0 of an edit whose estimate is ``guided`` where the plain decoding's is ``plain``."""
    return reconstruction + region * (guided - plain)


def edit_region(
    generator: DiffusionAutoencoder,
    label: Tensor,
    edit: Tensor,
    plain: Tensor,
    quantile: float,
) -> Tensor:
    """Soft mask (B, 1, s, s) in [0, 1] of what an edit to ``label`` (B, attributes) may change.

    Where the change of this picture times the usual change of its class, smoothed, is strong, above its
    ``quantile``, and one cell around that, but for some separate pieces, see :func:`main_pieces`.
    """
    usual = generator.regions[label[:, 0]][:, None]
    change = local_change(edit, plain) * usual
    for _ in range(_TOGETHER):
        change = F.avg_pool2d(change, 3, 1, 1, count_include_pad=False)
    return main_pieces(F.max_pool2d(soft_mask(change, quantile), 3, 1, 1), usual)


def main_pieces(mask: Tensor, usual: Tensor) -> Tensor:
    """A soft mask (B, 1, s, s) without connected pieces in which its class usually changes little.

    By the mean of ``usual`` (B, 1, s, s) over a piece, weighted by the mask; pieces below :data:`_PIECE` of
    the highest are left out. Those on the hair, for example, do not change the label, and cannot be drawn
    from their surroundings.
    """
    kept = []
    for m, u in zip(*(v[:, 0].float().cpu().numpy() for v in (mask, usual)), strict=True):
        pieces, n = ndimage.label(m > 0, np.ones((3, 3)))
        size, total = (np.bincount(pieces.flat, of.flat, n + 1) for of in (m, m * u))
        mean = total / np.maximum(size, 1e-6)
        kept.append(mean[pieces] >= _PIECE * mean[1:].max(initial=0))
    return mask * torch.from_numpy(np.stack(kept))[:, None].to(mask.device)
