"""Mixed batches: mixup with its weight and partner known, and FMix masks."""

from __future__ import annotations

import torch
from torch import Tensor


def mixing_weight(alpha: float) -> float:
    """m ~ Beta(alpha, alpha), then max(m, 1 - m) as in MixMatch; 1 where alpha is 0.

    With m >= 1/2 the mixture stays closer to its own sample than to its partner.
    """
    if alpha == 0:
        return 1.0
    m = float(torch.distributions.Beta(alpha, alpha).sample())
    return max(m, 1 - m)


def mix(a: Tensor, m: float, partner: Tensor) -> Tensor:
    """m a_i + (1 - m) a_partner(i), for inputs, soft labels or targets (B, ...)."""
    return m * a + (1 - m) * a[partner]


def permutation(n: int, like: Tensor) -> Tensor:
    """A random order (n,) on the device of ``like``."""
    return torch.randperm(n).to(like.device)


def fmix_mask(size: tuple[int, int], m: float, decay: float = 3.0) -> Tensor:
    """A binary mask (H, W) whose ones are a fraction m of the pixels (Harris et al. 2020).

    Low-frequency noise, its spectrum falling as 1 / frequency^decay, cut at its (1 - m) quantile.
    """
    h, w = size
    fy, fx = torch.fft.fftfreq(h)[:, None], torch.fft.rfftfreq(w)
    frequency = (fy**2 + fx**2).sqrt().clamp_min(1 / max(h, w))
    spectrum = torch.randn(h, fx.numel(), dtype=torch.cfloat) / frequency**decay
    picture = torch.fft.irfft2(spectrum, s=(h, w)).flatten()
    mask = torch.zeros(h * w)
    mask[picture.argsort(descending=True)[: round(m * h * w)]] = 1
    return mask.reshape(h, w)
