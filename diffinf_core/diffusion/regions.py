"""Where in a picture a label shows: what an edit to a class changes, over many pictures."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.diffusion import sampling
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder

_STEPS, _T0, _GUIDANCE = 10, 900, 5.0
_BATCH = 16


def local_change(edit: Tensor, plain: Tensor) -> Tensor:
    """Mean absolute difference (B, 1, s, s) of two x_0, over 3 x 3 cells."""
    return F.avg_pool2d((edit - plain).abs().mean(1, keepdim=True), 3, 1, 1)


@torch.no_grad()
def label_regions(
    model: DiffusionAutoencoder, x: Tensor, x0: Tensor, covariates: Tensor | None
) -> Iterator[tuple[int, Tensor]]:
    """How strongly an edit to each class of the first attribute changes each cell (C, s, s), with mean 1.

    Over pictures x (N, 3, S, S) and their x_0, edited by classifier-free guidance without surroundings;
    ``covariates`` (N, attributes) are kept, with the label unknown. Yields after each batch: over how many
    pictures, and the measure so far.
    """
    attributes = model.architecture.attributes
    classes = len(attributes[0].classes)
    if covariates is None:
        covariates = torch.full((len(x), len(attributes)), -1, device=x.device)
    total = torch.zeros(classes, *x0.shape[-2:], device=x0.device)
    seen = 0
    parts = zip(x.split(_BATCH), x0.split(_BATCH), covariates.split(_BATCH), strict=True)
    for pictures, part, plain in parts:
        z = model.encode(pictures, part)
        x_T = model.invert(part, z, _STEPS, _T0, plain)
        rebuilt = model.decode(x_T, z, _STEPS, _T0, plain)
        for k in range(classes):
            label = plain.clone()
            label[:, 0] = k
            predictor = model.predictor(z, label, _GUIDANCE, plain)
            edit = sampling.decode(predictor, x_T, _STEPS, _T0)
            total[k] += local_change(edit, rebuilt).sum(0)[0]
        seen += len(part)
        yield seen, total / total.mean((1, 2), keepdim=True).clamp_min(1e-8)
