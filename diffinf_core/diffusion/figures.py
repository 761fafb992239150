"""How well a generator reproduces pictures."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.diffusion.autoencoder import Autoencoder


def ssim(a: Tensor, b: Tensor, window: int = 7) -> Tensor:
    """Structural similarity (B,) of pictures (B, 3, S, S) in [-1, 1], uniform window (Wang 2004)."""
    a, b = (a + 1) / 2, (b + 1) / 2

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(F.avg_pool2d(x, (window, 1), 1), (1, window), 1)

    ma, mb = mean(a), mean(b)
    va, vb = mean(a * a) - ma**2, mean(b * b) - mb**2
    cov = mean(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    score = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return score.mean((1, 2, 3))


@torch.no_grad()
def reconstruction_figures(
    model: Autoencoder, x: Tensor, steps: int = 8, t0: int = 600
) -> dict[str, float]:
    """Invert pictures to t0, decode them without a label, and compare; L1 is of 255."""
    made = []
    for part in x.split(50):
        x0 = model.latent(part)
        z = model.encode(part, x0)
        made.append(model.pixels(model.decode(model.invert(x0, z, steps, t0), z, steps, t0)))
    out = torch.cat(made).clamp(-1, 1)
    return {
        "reconstruction_l1": float((out - x).abs().mean() * 127.5),
        "reconstruction_ssim": float(ssim(out, x).mean()),
        "t0": t0,
        "steps": steps,
    }
