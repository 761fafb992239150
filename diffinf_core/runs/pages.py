"""Pages of mapped arrays, which count as a process's memory until it gives them back."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def drop_pages(array: NDArray[Any]) -> None:
    """Give back the memory of an array that maps a file; values stay, also those just written.

    Reading on brings pages in again. Does nothing for an array in memory, for a private copy of a file, whose
    changes are nowhere else, and on systems that cannot.
    """
    if not isinstance(array, np.memmap) or array.mode == "c" or not hasattr(mmap, "MADV_DONTNEED"):
        return
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
