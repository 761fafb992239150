"""Paint outlines into a picture and into the mask of its parts, and the shapes they are made of."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from diffinf_core.data.rendered import faces as f
from diffinf_core.data.rendered.faces import Nuisance

SUPERSAMPLE = 3
_ANGLES = np.linspace(0, 2 * np.pi, 40, endpoint=False)
COS, SIN = np.cos(_ANGLES), np.sin(_ANGLES)

Points = NDArray[np.float64]


def ellipse(x: float, y: float, rx: float, ry: float, tilt: float = 0.0, every: int = 1) -> Points:
    """Outline of an ellipse, shape (40 / every, 2)."""
    c, s = np.cos(tilt), np.sin(tilt)
    cos, sin = COS[::every], SIN[::every]
    return np.stack([x + rx * cos * c - ry * sin * s, y + rx * cos * s + ry * sin * c], 1)


def xy(x: object, y: object) -> Points:
    """Points (N, 2) from two coordinates that broadcast."""
    return np.stack(np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float)), 1)


def ring(upper: Points, lower: Points) -> Points:
    """Close two lines drawn left to right into one outline."""
    return np.concatenate([upper, lower[::-1]])


@lru_cache(maxsize=8)
def grid(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """x and y of every pixel, each (size, size) in [-1, 1]."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    return x, y


class Canvas:
    """Paints outlines given in face units into the picture and, on request, into the mask."""

    def __init__(self, size: int, nuisance: Nuisance) -> None:
        self.size = size * SUPERSAMPLE
        self.image = Image.new("RGB", (self.size, self.size))
        self.mask = Image.new("L", (self.size, self.size), f.BACKGROUND)
        self._paint = ImageDraw.Draw(self.image)
        self._label = ImageDraw.Draw(self.mask)
        self.unit = self.size * 0.55 * nuisance.scale
        c, s = np.cos(nuisance.rotation) * self.unit, np.sin(nuisance.rotation) * self.unit
        self._turn = np.array([[c, s], [-s, c]])
        self._origin = np.array(
            [
                self.size * (0.5 + nuisance.shift[0] * 0.5),
                self.size * (0.515 + nuisance.shift[1] * 0.5),
            ]
        )

    def _place(self, points: Points) -> list[tuple[float, float]]:
        return list(map(tuple, points @ self._turn + self._origin))

    def fill(self, points: Points, colour: tuple[int, ...], part: int | None = None) -> None:
        """Fill an outline (N, 2); ``part`` is its number in the mask, None for none."""
        placed = self._place(points)
        self._paint.polygon(placed, fill=colour)
        if part is not None:
            self._label.polygon(placed, fill=part)

    def stroke(
        self, points: Points, colour: tuple[int, ...], width: float, part: int | None = None
    ) -> None:
        """Draw a line along points (N, 2), ``width`` in face units."""
        placed = self._place(points)
        pixels = max(1, round(width * self.unit))
        self._paint.line(placed, fill=colour, width=pixels, joint="curve")
        if part is not None:
            self._label.line(placed, fill=part, width=pixels)


def rgb(colour: object, factor: float = 1.0) -> tuple[int, ...]:
    """A colour times a factor, as three levels in 0..255."""
    return tuple(int(v) for v in np.clip(np.asarray(colour, float) * factor, 0, 255))
