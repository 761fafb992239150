"""Put the change that an edit makes onto the original at its own size.

An edit is made at the run's working size, of a crop of the original. What it changed is the edit minus the
plain reconstruction, both decoded by the same network: what the network cannot draw is in both and cancels
out. That change is enlarged, moved back to where the crop came from, and added to the stored pixels; a
pixel that it does not reach keeps its value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt

Floats = NDArray[np.float32]
#: levels of 255 below which a difference between two decodings is not taken for a change
NOISE = 3.0
#: the change is faded out over this fraction of the working size, at the border of what changed and of the
#: crop
FADE = 1 / 16
#: pixels of the original that are computed at once
_BAND = 1 << 21


@dataclass(frozen=True)
class Placement:
    """Where the working picture lies in the stored one.

    ``matrix`` (2, 3) maps a stored point (x, y, 1) to the working picture. Points are continuous: the first
    pixel is the square from 0 to 1. Any crop, size, mirroring and rotation is such a matrix.
    """

    matrix: NDArray[np.float64]

    @property
    def scale(self) -> float:
        """Working pixels per stored pixel, along a side."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    def stored(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """The stored points (N, 2) that working points (N, 2) come from."""
        away = (points - self.matrix[:, 2]).T
        return np.asarray(np.linalg.solve(self.matrix[:, :2], away).T, np.float64)


def upright(width: int, height: int, orientation: int) -> NDArray[np.float64]:
    """The matrix (2, 3) that maps stored points to the upright picture, by the EXIF orientation 1 to 8."""
    w, h = float(width), float(height)
    rows = {
        2: ((-1, 0, w), (0, 1, 0)),
        3: ((-1, 0, w), (0, -1, h)),
        4: ((1, 0, 0), (0, -1, h)),
        5: ((0, 1, 0), (1, 0, 0)),
        6: ((0, -1, h), (1, 0, 0)),
        7: ((0, -1, h), (-1, 0, w)),
        8: ((0, 1, 0), (-1, 0, w)),
    }
    return np.array(rows.get(orientation, ((1, 0, 0), (0, 1, 0))), np.float64)


def centre_crop(width: int, height: int, size: int, orientation: int = 1) -> Placement:
    """The placement of :func:`diffinf_core.data.decode.decode`: upright, centre-cropped, resized to ``size``.

    ``width`` and ``height`` are those of the stored picture.
    """
    turn = upright(width, height, orientation)
    sides = np.array([width, height], float)
    if orientation in (5, 6, 7, 8):
        sides = sides[::-1]
    turn[:, 2] -= (sides - sides.min()) / 2
    return Placement(turn * (size / sides.min()))


def aligned(
    matrix: NDArray[np.float64], width: int, height: int, orientation: int = 1
) -> Placement:
    """The placement of a framed face by its matrix (2, 3), see :mod:`diffinf_core.data.framing`.

    ``width`` and ``height`` are those of the stored picture.
    """
    turn = np.vstack([upright(width, height, orientation), [0, 0, 1]])
    return Placement(matrix @ turn)


def reduced(placement: Placement, factor: float) -> Placement:
    """The placement in the stored picture, from that in a picture decoded smaller by ``factor``."""
    return Placement(placement.matrix / np.array([factor, factor, 1.0]))


def change_of(edit: NDArray[np.uint8], reconstruction: NDArray[np.uint8]) -> Floats:
    """What an edit changed, (S, S, 3) in levels of 255; decoding noise is taken out.

    The change stays as it is where it is visible and around it, and fades out beyond.
    """
    change = edit.astype(np.float32) - reconstruction.astype(np.float32)
    visible = np.abs(change).max(2) >= NOISE
    if not visible.any():
        return np.zeros_like(change)
    fade = max(1.0, FADE * len(change))
    away = distance_transform_edt(~visible)
    kept = np.clip(1 - (away - fade) / fade, 0, 1).astype(np.float32)
    out: Floats = change * kept[..., None]
    return out


def _crop_fade(size: int, placement: Placement, width: int, height: int) -> Floats:
    """(S, S) from 0 to 1: faded where a side of the crop lies inside the stored picture."""
    fade = max(1.0, FADE * size)
    ramp = np.clip((np.arange(size) + 0.5) / fade, 0, 1).astype(np.float32)
    half = size / 2
    middles = placement.stored(np.array([[0, half], [size, half], [half, 0], [half, size]], float))
    margin = 0.5 / placement.scale
    inside = ((middles > margin) & (middles < np.array([width, height]) - margin)).all(1)
    out = np.ones((size, size), np.float32)
    for side in np.flatnonzero(inside):
        line = ramp if side in (0, 2) else ramp[::-1]
        out *= line[None, :] if side < 2 else line[:, None]
    return out


def placed(
    change: Floats, placement: Placement, width: int, height: int
) -> Iterator[tuple[slice, slice, Floats]]:
    """The change at the size of the stored picture, in bands: rows, columns, (h, w, 3) in levels of 255.

    Outside of these bands nothing changes. Bicubic; where the original is smaller than the working
    picture, the change is averaged first.
    """
    size = len(change)
    change = change * _crop_fade(size, placement, width, height)[..., None]
    if not change.any():
        return
    matrix = placement.matrix
    if placement.scale > 1:
        small = max(1, round(size / placement.scale))
        planes = [
            np.asarray(Image.fromarray(p).resize((small, small), Image.Resampling.BOX))
            for p in _planes(change)
        ]
        matrix, change, size = matrix * (small / size), np.stack(planes, 2), small
    at = np.argwhere(np.abs(change).max(2) > 0)
    # bicubic reaches two pixels further
    (top, left), (bottom, right) = at.min(0) - 2, at.max(0) + 3
    corners = np.array([[left, top], [right, top], [left, bottom], [right, bottom]], float)
    points = Placement(matrix).stored(np.clip(corners, 0, size))
    x0, y0 = np.maximum(np.floor(points.min(0)), 0).astype(int)
    x1, y1 = np.minimum(np.ceil(points.max(0)), [width, height]).astype(int)
    if x1 <= x0:
        return
    step = max(1, _BAND // (x1 - x0))
    images = [Image.fromarray(plane) for plane in _planes(change)]
    for row in range(y0, y1, step):
        end = min(row + step, y1)
        moved = matrix.copy()
        moved[:, 2] += matrix[:, :2] @ [x0, row]
        how: Any = tuple(moved.ravel())
        bands = [
            np.asarray(
                image.transform(
                    (int(x1 - x0), end - row),
                    Image.Transform.AFFINE,
                    how,
                    Image.Resampling.BICUBIC,
                )
            )
            for image in images
        ]
        yield slice(row, end), slice(int(x0), int(x1)), np.stack(bands, 2)


def _planes(picture: Floats) -> list[Floats]:
    return [np.ascontiguousarray(picture[..., c], np.float32) for c in range(picture.shape[2])]


def add_change(pixels: NDArray[Any], mode: str, change: Floats, depth: int = 16) -> NDArray[Any]:
    """Stored pixels (h, w) or (h, w, bands) of a Pillow mode with a change (h, w, 3) of their colour added.

    Modes: L, LA, RGB, RGBA, CMYK and those that begin with I. Pixels of more than eight bits use ``depth`` of
    them, as :func:`diffinf_core.data.decode.decode` read them. Alpha stays.
    """
    used = 8 if pixels.dtype == np.uint8 else depth
    most, change = (1 << used) - 1, change * np.float32(1 << (used - 8))
    levels = np.rint(change).astype(np.int64)
    if mode in ("L", "LA") or mode.startswith("I"):
        grey = change @ np.array([0.299, 0.587, 0.114], np.float32)
        first = pixels if pixels.ndim == 2 else pixels[..., 0]
        step = np.rint(grey).astype(np.int64)
        moved = np.clip(first.astype(np.int64) + step, 0, most).astype(pixels.dtype)
        if pixels.ndim == 2:
            return moved
        return np.concatenate([moved[..., None], pixels[..., 1:]], 2)
    if mode == "CMYK":
        # Pillow reads colour as (255 - C) (255 - K) / 255
        ink = 255 - pixels[..., 3:].astype(np.float32)
        step = np.rint(change * 255 / np.maximum(ink, 1)).astype(np.int64)
        colour = np.clip(pixels[..., :3].astype(np.int64) - step, 0, 255)
    else:
        colour = np.clip(pixels[..., :3].astype(np.int64) + levels, 0, most)
    return np.concatenate([colour.astype(pixels.dtype), pixels[..., 3:]], 2)
