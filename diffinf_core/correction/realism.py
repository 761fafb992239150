"""Whether an edit still looks like a picture, by the generator itself, and so in any domain.

Guidance leaves what the generator has learnt: smears, spots and doubled edges appear where no label needs
them. Without guidance and label, but with the original's own code, the generator then denoises the edit
worse than it denoises the original; where that rise is largest in the picture, it says how implausible
the edit is.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.diffusion.autoencoder import Autoencoder
from diffinf_core.diffusion.schedule import abar

#: the time at which smeared edits stand out most, draws of noise, and seed of the same noise for all pictures
TIME, DRAWS, _SEED = 550, 4, 0
#: cells of the picture's side between which the rise is compared, and how many of them a region has
CELLS, _REGION = 16, 3


def implausibility(
    generator: Autoencoder, x: Tensor, edit: Tensor, unknown: Tensor | None, z: Tensor
) -> Tensor:
    """The largest local rise (B,) of the denoising error from originals to edits (B, 3, S, S).

    Errors are mean squares of the x_0 estimate at :data:`TIME`, as a fraction of the original's mean
    error: 0 where nothing changed, 0.25 where it rose by a quarter of that in some region of three by
    three cells.
    ``unknown`` (B, attributes) is the condition without a label, covariates included; ``z`` (B, d) are the
    originals' codes.
    """
    before = _errors(generator, generator.latent(x), unknown, z)
    after = _errors(generator, generator.latent(edit), unknown, z)
    rise = F.avg_pool2d(after - before, _REGION, 1)
    return rise.amax((1, 2, 3)) / before.mean((1, 2, 3)).clamp_min(1e-8)


@torch.no_grad()
def _errors(generator: Autoencoder, x0: Tensor, label: Tensor | None, z: Tensor) -> Tensor:
    """Mean squared error (B, 1, CELLS, CELLS) of the x_0 estimates of x_0."""
    rng = torch.Generator().manual_seed(_SEED)
    total = x0.new_zeros(len(x0), 1, *x0.shape[2:])
    a = abar(TIME, x0)
    for _ in range(DRAWS):
        # One noise for all pictures: what is seen in one does not depend on its batch.
        noise = torch.randn(1, *x0.shape[1:], generator=rng).to(x0.device)
        found, _eps = generator.predict(a.sqrt() * x0 + (1 - a).sqrt() * noise, TIME, z, label)
        total += (found - x0).square().mean(1, keepdim=True)
    cells = min(CELLS, total.shape[-1])
    return F.adaptive_avg_pool2d(total / DRAWS, cells)
