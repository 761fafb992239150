"""The framing of FFHQ, which the paper's generators know: a square around eyes and mouth as they stand.

Karras, Laine, Aila, "A Style-Based Generator Architecture for Generative Adversarial Networks" (2019), and
its script, https://github.com/NVlabs/ffhq-dataset, ``recreate_aligned_images``. A rotation, one scale and a
shift: the inverse brings an edit back onto the photograph.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from diffinf_core.data.decode import PLAIN, Pixels, open_upright, read_bytes
from diffinf_core.data.faces import find_faces
from diffinf_core.records import DiffInfError

#: why a picture without a face is left out
NO_FACE = "no face was detected, and data.align asks for one"
SEVERAL_FACES = "shows several faces, and data.one_face asks for one"
#: in the folder of a data stage: a row per picture, see :attr:`Framed.row`
ALIGNMENT = "alignment.npy"
#: columns of that file
ROW = 8
#: a face whose square lies beyond the picture's border by more than this fraction is cropped too tight
TOO_TIGHT = 0.1
#: points along a side at which the square is looked at
_GRID = 32


@dataclass(frozen=True)
class Framed:
    """A framed face: ``picture`` uint8 (S, S, 3), ``matrix`` (2, 3), and the number of ``faces`` in all.

    ``beyond`` is the fraction of the square that lies beyond the picture's border and is made up.

    The matrix maps points (x, y, 1) of the upright picture at its own size to the framed one; the first pixel
    of both is the square from 0 to 1. ``sha256`` is that of the file's bytes.
    """

    picture: NDArray[np.uint8]
    matrix: NDArray[np.float64]
    faces: int
    beyond: float
    sha256: str

    @property
    def row(self) -> NDArray[np.float64]:
        """Matrix, row by row, number of faces, and the fraction beyond the border (8,)."""
        return np.append(self.matrix.ravel(), [float(self.faces), self.beyond])


def ffhq_square(points: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The matrix (2, 3) that maps the picture of a face with these points (5, 2) to FFHQ's ``size`` square.

    Points: eye, eye, nose, mouth, mouth, of which those left in the picture come first.
    """
    left, right, _, mouth_left, mouth_right = points
    across = right - left
    middle = (left + right) / 2
    down = (mouth_left + mouth_right) / 2 - middle
    # half a side of the square: along the eyes, and across the line from eyes to mouth
    half = across + np.array([down[1], -down[0]])
    length = np.hypot(*half)
    if length < 1e-6:
        raise DiffInfError(NO_FACE)
    half *= max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down)) / length
    centre = middle + 0.1 * down
    turn = np.array([half, [-half[1], half[0]]]) * (size / 2 / (half @ half))
    return np.column_stack([turn, size / 2 - turn @ centre])


def framed(image: Image.Image, matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """The part of an upright RGB picture that ``matrix`` maps to the square, uint8 (size, size, 3).

    Beyond the picture's border it is mirrored, blurred and faded to its middle colour, as FFHQ's script does.
    """
    turn, shift = matrix[:, :2], matrix[:, 2]
    factor = max(1, int(1 / np.sqrt(np.linalg.det(turn))))
    if factor > 1:  # averaged first, so that nothing is skipped
        image, turn = image.reduce(factor), turn * factor
    inverse = np.linalg.inv(turn)
    corners = (np.array([[0, 0], [size, 0], [0, size], [size, size]]) - shift) @ inverse.T
    before = np.maximum(0, np.ceil(2 - corners.min(0))).astype(int)
    after = np.maximum(0, np.ceil(corners.max(0) + 2 - image.size)).astype(int)
    if before.any() or after.any():
        half = 0.5 * size / np.sqrt(np.linalg.det(turn))
        image = Image.fromarray(_padded(np.asarray(image), before, after, half))
    # twice as fine, then averaged; Pillow maps from the new picture to the old one
    fine = inverse / 2
    origin = before - inverse @ shift
    how = (*fine[0], origin[0], *fine[1], origin[1])
    turned = image.transform(
        (2 * size, 2 * size), Image.Transform.AFFINE, how, Image.Resampling.BICUBIC
    )
    return np.asarray(turned.reduce(2), np.uint8)


def _padded(
    pixels: NDArray[np.uint8], before: NDArray[np.int64], after: NDArray[np.int64], half: float
) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) with margins (x, y) before and after; ``half`` a side of the square in pixels."""
    margins = ((before[1], after[1]), (before[0], after[0]), (0, 0))
    out = np.pad(pixels, margins, "symmetric").astype(np.float32)
    least = max(1.0, 0.3 * half)  # FFHQ's margin, over which the blur sets in
    rows = _depth(out.shape[0], before[1], after[1], least)
    columns = _depth(out.shape[1], before[0], after[0], least)
    depth = np.maximum(rows[:, None], columns[None, :])[..., None]
    blurred = gaussian_filter(out, (0.04 * half, 0.04 * half, 0))
    out += (blurred - out) * np.clip(3 * depth, 0, 1)
    out += (np.median(out, (0, 1)) - out) * np.clip(depth, 0, 1)
    return np.clip(out + 0.5, 0, 255).astype(np.uint8)


def _depth(length: int, before: int, after: int, least: float) -> NDArray[np.float32]:
    """How deep each of ``length`` places lies in a margin, in margins of ``least``; 0 inside the picture."""
    at = np.arange(length)
    low, high = (before - at) / least, (at + 1 - (length - after)) / least
    return np.maximum(0, np.maximum(low, high)).astype(np.float32)


def beyond_border(matrix: NDArray[np.float64], width: int, height: int, size: int) -> float:
    """The fraction of a framed square that lies beyond a picture of ``width`` and ``height``."""
    steps = (np.arange(_GRID) + 0.5) * size / _GRID
    points = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2) - matrix[:, 2]
    at = points @ np.linalg.inv(matrix[:, :2]).T
    return float(1 - ((at >= 0) & (at <= [width, height])).all(1).mean())


def frame_bytes(
    path: Path, raw: bytes, size: int, pixels: Pixels = PLAIN, one_face: bool = False
) -> Framed:
    """Frame the largest face of a picture whose file has been read.

    Raises :class:`DiffInfError` for a file that is no picture, shows no face or, with ``one_face``, several.
    """
    image = open_upright(path, None, pixels, raw)
    faces = find_faces(image)
    if faces.points is None:
        raise DiffInfError(NO_FACE)
    if one_face and faces.count > 1:
        raise DiffInfError(f"{SEVERAL_FACES} ({faces.count})")
    matrix = ffhq_square(faces.points, size)
    sha = hashlib.sha256(raw).hexdigest()
    beyond = beyond_border(matrix, *image.size, size)
    return Framed(framed(image, matrix, size), matrix, faces.count, beyond, sha)


def read_framed(path: Path, size: int, pixels: Pixels = PLAIN, one_face: bool = False) -> Framed:
    """Read a picture and frame its largest face; raises as :func:`frame_bytes`."""
    return frame_bytes(path, read_bytes(path), size, pixels, one_face)
