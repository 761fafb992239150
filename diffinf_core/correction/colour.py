"""The mean colour of the subject: how far an edit moves it, in CIE L*a*b* under D65 (CIE 15:2004), an edit
that keeps it, and grey pictures in the colours of others."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.diffusion.autoencoder import coarse_colour, grey

#: linear sRGB to XYZ, over the white of D65 (IEC 61966-2-1)
_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041))  # fmt: skip
_WHITE = (0.95047, 1.0, 1.08883)
_KNEE = (6 / 29) ** 3
#: differences up to this, on the scale of [-1, 1], are none
_SAME = 1 / 127.5
#: lightnesses in [-1, 1] whose colours are kept apart, and the weight of colours at any other
_LIGHTS, _ANY = 9, 0.02
#: how much brighter or darker a channel may become at most, as a fraction
_MOST_GAIN = 0.5


def lab(colours: Tensor) -> Tensor:
    """L* in [0, 100], a* and b* (..., 3) of sRGB colours (..., 3) in [-1, 1]."""
    srgb = ((colours.double() + 1) / 2).clamp(0, 1)
    linear = (srgb / 12.92).where(srgb <= 0.04045, ((srgb + 0.055) / 1.055) ** 2.4)
    relative = linear @ linear.new_tensor(_XYZ).T / linear.new_tensor(_WHITE)
    f = (relative * (29 / 6) ** 2 / 3 + 4 / 29).where(relative <= _KNEE, relative ** (1 / 3))
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def colour_shift(x: Tensor, edit: Tensor) -> Tensor:
    """Distance (B,) in L*a*b* between the mean colours of the middle half of pictures (B, 3, S, S)."""
    return (lab(coarse_colour(x)) - lab(coarse_colour(edit))).norm(dim=1)


def keep_colour(x: Tensor, edit: Tensor) -> Tensor:
    """``edit`` with the mean colour that the middle of x has; both (B, 3, S, S) in [-1, 1].

    By a gain per channel where the edit changed the picture, fading over about an eighth of its side: dark
    hair stays dark, and what did not change stays as it is.
    """
    side = 2 * (x.shape[-1] // 16) + 1
    where = ((edit - x).detach().abs().amax(1, keepdim=True) > _SAME).to(x.dtype)
    where = F.avg_pool2d(where, side, 1, side // 2, count_include_pad=False)
    light = (edit.clamp(-1, 1) + 1) / 2
    missing = (coarse_colour(x) + 1) / 2 - coarse_colour(light)
    gain = missing / coarse_colour(where * light).clamp_min(1e-3)
    return (
        edit.clamp(-1, 1)
        + 2 * light * where * gain.clamp(-_MOST_GAIN, _MOST_GAIN)[:, :, None, None]
    )


def colours_by_light(x: Tensor) -> Tensor:
    """The colours that pictures x (B, 3, S, S) have nearby at each of some lightnesses, (B, K, 3, S, S).

    Nearby is a quarter of the side, and each colour a difference from grey; after the bilateral grid of
    Chen, Paris and Durand 2007.
    """
    own = grey(x)

    def nearby(values: Tensor) -> Tensor:
        side = 2 * (x.shape[-1] // 8) + 1
        half = side // 2
        rows = F.avg_pool2d(values, (side, 1), 1, (half, 0), count_include_pad=False)
        return F.avg_pool2d(rows, (1, side), 1, (0, half), count_include_pad=False)

    out = []
    for share in _shares(own[:, :1]):
        there = share + _ANY
        out.append(nearby(there * (x - own)) / nearby(there))
    return torch.stack(out, 1)


def coloured(light: Tensor, colours: Tensor) -> Tensor:
    """Grey pictures ``light`` (B, 3, S, S) in the colours that :func:`colours_by_light` gives for their
    lightness: teeth do not take the colour of the lips that were there."""
    shares = _shares(light[:, :1].clamp(-1, 1))
    return light + sum(share * colours[:, k] for k, share in enumerate(shares))


def _shares(light: Tensor) -> list[Tensor]:
    """How near light (B, 1, S, S) is to each lightness that is kept apart; all add up to 1."""
    step = 2 / (_LIGHTS - 1)
    return [(1 - (light - (k * step - 1)).abs() / step).clamp_min(0) for k in range(_LIGHTS)]
