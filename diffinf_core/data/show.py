"""Pictures as a page shows them: their bytes, and the map of where an edit changed one."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_RAMP = np.array([[18, 20, 32], [128, 40, 110], [240, 110, 50], [255, 240, 120]], float)
#: the change, of 255 levels, that gets the brightest colour
_FULL = 64.0


def encoded(image: NDArray[np.uint8], form: str = "PNG", **options: Any) -> bytes:
    """uint8 (S, S, 3) as the bytes of a file; a PNG is written quickly rather than small."""
    buffer = io.BytesIO()
    if form == "PNG":
        options.setdefault("compress_level", 1)
    Image.fromarray(image).save(buffer, form, **options)
    return buffer.getvalue()


def heat(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Dark for no change, bright yellow for 64 levels or more; all three uint8 (S, S, 3)."""
    change = np.abs(after.astype(np.int16) - before.astype(np.int16)).max(2) / _FULL
    at = np.clip(change, 0, 1)[..., None] * (len(_RAMP) - 1)
    low = np.clip(at.astype(int), 0, len(_RAMP) - 2)[..., 0]
    share = at - low[..., None]
    return (_RAMP[low] * (1 - share) + _RAMP[low + 1] * share).astype(np.uint8)
