"""One pass over the pictures of a data set: each is read and decoded once, as a run does it.

Pixels are forgotten at once. What is kept of a picture is its digest and size, and a thumbnail in a file.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffinf_core.config import DataConfig
from diffinf_core.data.alike import grey_thumbnails
from diffinf_core.data.copies import scratch_thumbnails
from diffinf_core.data.decode import Pixels, decode_bytes, depth_of, read_bytes
from diffinf_core.data.faces import load_detector
from diffinf_core.data.framing import frame_bytes
from diffinf_core.data.kinds import readable
from diffinf_core.data.pictures import bits_used
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.workers import in_order

_EVENT_EVERY = 64


@dataclass
class Measured:
    """What a pass over N files found, by their place in ``files``.

    ``digests`` (N, 32) are SHA-256, zeros for files in ``bad``, which holds why each cannot be read.
    ``sides`` (N, 2) are width and height as stored, ``grey`` (N, 32, 32) thumbnails of what a run would see.
    ``faces`` (N,) counts faces and ``beyond`` (N,) is the fraction of each framing that is made up, zeros
    unless faces are framed. ``kinds`` counts formats and modes; ``highest`` is the highest value of files of
    more than 8 bits.
    """

    files: Sequence[str]
    pixels: Pixels
    highest: int | None
    digests: NDArray[np.uint8]
    sides: NDArray[np.int32]
    grey: NDArray[np.uint8]
    faces: NDArray[np.int16]
    beyond: NDArray[np.float32]
    kinds: Counter[str] = field(default_factory=Counter)
    bad: dict[int, str] = field(default_factory=dict)

    @property
    def bad_files(self) -> dict[str, str]:
        """The reason for each file that cannot be read."""
        return {self.files[i]: reason for i, reason in sorted(self.bad.items())}


@dataclass(frozen=True)
class _Picture:
    sha256: bytes
    kind: str
    sides: tuple[int, int]
    grey: NDArray[np.uint8]
    faces: int = 0
    beyond: float = 0.0


def _read(path: Path, data: DataConfig, pixels: Pixels) -> _Picture | str:
    faces, beyond, size = 0, 0.0, data.image_size
    try:
        raw = read_bytes(path)
        if data.align:
            framed = frame_bytes(path, raw, size, pixels, data.one_face)
            square, faces, beyond = framed.picture, framed.faces, framed.beyond
        else:
            square = decode_bytes(path, raw, size, pixels)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(raw), formats=readable()) as image:
                kind, sides = f"{image.format} {image.mode}", image.size
    except DiffInfError as error:
        return str(error)
    grey = grey_thumbnails(square[None])[0]
    return _Picture(hashlib.sha256(raw).digest(), kind, sides, grey, faces, beyond)


def measure(
    root: Path, files: Sequence[str], data: DataConfig
) -> Generator[Progress, None, Measured]:
    """Read every file below ``root``; memory grows by some dozen bytes a file."""
    pixels, highest = Pixels(data.bit_depth or 16, data.max_megapixels), None
    if data.bit_depth is None:
        highest = yield from bits_used(root, files, pixels, "check")
        pixels = Pixels(depth_of(65535 if highest is None else highest), data.max_megapixels)
    n = len(files)
    out = Measured(
        files,
        pixels,
        highest,
        np.zeros((n, 32), np.uint8),
        np.zeros((n, 2), np.int32),
        scratch_thumbnails(n),
        np.zeros(n, np.int16),
        np.zeros(n, np.float32),
    )
    if data.align:
        load_detector()
    readers = os.cpu_count() or 1
    pictures = in_order(
        lambda name: _read(root / name, data, pixels),
        files,
        readers,
        8 * readers,
        "check",
    )
    for i, picture in enumerate(pictures):
        if isinstance(picture, str):
            out.bad[i] = picture
        else:
            out.digests[i] = np.frombuffer(picture.sha256, np.uint8)
            out.sides[i], out.grey[i] = picture.sides, picture.grey
            out.faces[i], out.beyond[i] = picture.faces, picture.beyond
            out.kinds[picture.kind] += 1
        if (i + 1) % _EVENT_EVERY == 0 or i + 1 == n:
            yield Progress("check", i + 1, n, "reading pictures")
    return out
