"""Figures of a picture's pixels that say little about what it shows: noise, spectrum, blocks, borders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BANDS = 8
#: pixels along a side from which only the middle is measured, but for the borders
_MOST = 512
#: the figures of :func:`figures`, in their order
NAMES = (
    *(f"mean {c}" for c in "RGB"), *(f"deviation {c}" for c in "RGB"), "black", "white", "odd levels",
    "levels used", "fine detail", "peaks of detail", "flat pixels", "noise R-G", "noise G-B",
    "blocks of 8, across", "blocks of 8, down",
    *(f"spectrum {k}" for k in range(1, _BANDS + 1)),
    *(f"border {side}" for side in ("left", "right", "top", "bottom")),
    *(f"border deviation {side}" for side in ("left", "right", "top", "bottom")),
)  # fmt: skip


def figures(picture: NDArray[np.uint8]) -> list[float]:
    """The figures :data:`NAMES` of a picture (H, W, 3)."""
    middle = _middle(picture).astype(np.float32)
    grey = middle.mean(2)
    out = [*middle.mean((0, 1)), *middle.std((0, 1))]
    out += [(middle == 0).mean(), (middle == 255).mean(), (middle.astype(np.uint8) & 1).mean()]
    out.append(len(np.unique(middle)) / 256)
    noise = _noise(middle)
    fine = noise.mean(2)
    size = np.abs(fine).mean()
    out += [np.log(size + 1e-3), np.log((fine**4).mean() / ((fine**2).mean() ** 2 + 1e-9) + 1e-3)]
    out.append((np.abs(fine) < 0.5).mean())
    flat = noise.reshape(-1, 3)
    deviation = flat.std(0) + 1e-6
    centred = (flat - flat.mean(0)) / deviation
    out += [(centred[:, 0] * centred[:, 1]).mean(), (centred[:, 1] * centred[:, 2]).mean()]
    out += [_blocks(np.diff(grey, axis=1)), _blocks(np.diff(grey, axis=0).T)]
    out += _spectrum(grey)
    out += _borders(picture.astype(np.float32))
    return [float(value) for value in out]


def _middle(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle, cut so that blocks of eight stay where they are."""
    rows, columns = (
        slice(o := max(0, (n - _MOST) // 16 * 8), o + _MOST) for n in picture.shape[:2]
    )
    return picture[rows, columns]


def _noise(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each inner pixel less the mean of its four neighbours."""
    around = x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:]
    return np.asarray(x[1:-1, 1:-1] - around / 4, np.float32)


def _blocks(steps: NDArray[np.float32]) -> float:
    """How much larger steps between columns are at multiples of eight than elsewhere, as a logarithm."""
    sizes = np.abs(steps).mean(0)
    at = np.arange(len(sizes)) % 8 == 7
    if not at.any() or at.all():
        return 0.0
    return float(np.log((sizes[at].mean() + 1e-3) / (sizes[~at].mean() + 1e-3)))


def _spectrum(grey: NDArray[np.float32]) -> list[float]:
    """The share of power in each ring of frequencies, as a logarithm."""
    window = np.outer(np.hanning(grey.shape[0]), np.hanning(grey.shape[1]))
    power = np.abs(np.fft.rfft2((grey - grey.mean()) * window)) ** 2
    fy = np.fft.fftfreq(grey.shape[0])[:, None]
    fx = np.fft.rfftfreq(grey.shape[1])[None, :]
    ring = np.minimum((np.hypot(fy, fx) * 2 * _BANDS).astype(int), _BANDS - 1)
    sums = np.bincount(ring.ravel(), power.ravel(), _BANDS)
    return [float(v) for v in np.log(sums / max(sums.sum(), 1e-9) + 1e-9)]


def _borders(x: NDArray[np.float32]) -> list[float]:
    """For each side, the step from its outermost line to the next against the next steps, as a logarithm;
    then the deviation along the outermost line against that of the next."""
    sides = [x.transpose(1, 0, 2), x[:, ::-1].transpose(1, 0, 2), x, x[::-1]]
    steps, spread = [], []
    for side in sides:
        own = np.abs(side[1] - side[0]).mean()
        inner = np.abs(np.diff(side[1:5], axis=0)).mean()
        steps.append(float(np.log((own + 0.5) / (inner + 0.5))))
        spread.append(float(np.log((side[0].std() + 0.5) / (side[1].std() + 0.5))))
    return steps + spread
