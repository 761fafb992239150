"""The pictures of a run: one memory map of all, and above it the few that rounds replaced.

A round changes some per cent of the pictures. It keeps those alone, in an overlay of its own; all others
are read from the first round's file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import new_array, remedy, write_array

#: in the folder of a data stage: every picture; those that rounds replaced; and which rows these are
PICTURES, REPLACED, ROWS = "images.npy", "replaced.npy", "replaced_rows.npy"


@dataclass(frozen=True)
class Pictures:
    """``base`` (N, S, S, 3) uint8; ``replaced`` (M, S, S, 3) stands at the ascending ``rows`` (M,).

    Sent to another process, it maps the same files there.
    """

    base: NDArray[np.uint8]
    rows: NDArray[np.int64]
    replaced: NDArray[np.uint8]

    def __getstate__(self) -> dict[str, Any]:
        return {
            "base": by_file(self.base), "rows": self.rows, "replaced": by_file(self.replaced)
        }  # fmt: skip

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, from_file(value))

    def __len__(self) -> int:
        return len(self.base)

    @property
    def side(self) -> int:
        """Pixels along a side."""
        return self.base.shape[1]

    def read(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """A copy of the pictures (B, S, S, 3) at some rows."""
        wanted = np.asarray(rows, np.int64)
        out = np.array(self.base[wanted])
        if len(self.rows):
            at = np.minimum(np.searchsorted(self.rows, wanted), len(self.rows) - 1)
            hit = self.rows[at] == wanted
            out[hit] = self.replaced[at[hit]]
        return out


def in_memory(images: NDArray[np.uint8]) -> Pictures:
    """Pictures (N, S, S, 3) that lie in memory."""
    return Pictures(images, np.zeros(0, np.int64), np.zeros((0, *images.shape[1:]), np.uint8))


class SentPictures:
    """A few pictures of a run whose folder lies on another machine, in the place of :class:`Pictures`."""

    def __init__(self, side: int) -> None:
        self.side = side
        self._pictures: dict[int, NDArray[np.uint8]] = {}

    def hold(self, rows: NDArray[np.int64], images: NDArray[np.uint8]) -> None:
        """Hold these pictures (B, S, S, 3) at rows (B,) and no others."""
        self._pictures = dict(zip(rows.tolist(), images, strict=True))

    def read(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """A copy of the pictures (B, S, S, 3) at some rows; an error for one that was not sent."""
        try:
            return np.stack([self._pictures[int(row)] for row in rows])
        except KeyError as error:
            raise DiffInfError(
                f"Picture {error} of the run was not sent to this worker."
            ) from error


def by_file(array: np.ndarray) -> np.ndarray | Path:
    """The file of a whole memory map, and any other array as it is: a map is pickled with all it maps."""
    if isinstance(array, np.memmap) and isinstance(array.base, mmap) and array.filename:
        file = Path(array.filename)
        if file.exists():  # a file that was removed lives on in its maps alone
            return file
    return array


def from_file(value: np.ndarray | Path) -> np.ndarray:
    """What :func:`by_file` made something of."""
    return map_array(value) if isinstance(value, Path) else value


def map_array(path: Path) -> NDArray[Any]:
    """Map an array from the disk; :class:`DiffInfError` for a missing or damaged file."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        # a cut file is mapped all the same, and reading past its end would kill the process
        if path.stat().st_size < array.nbytes:
            raise ValueError("it is cut")
        return array
    except (OSError, ValueError) as error:
        raise DiffInfError(f"{path} is missing or damaged ({error}); {remedy(path)}.") from error


def open_pictures(folder: Path, first: Path) -> Pictures:
    """The pictures of a data stage in ``folder``; a round's lie above those of the ``first`` round's."""
    if (folder / PICTURES).exists() or not (folder / ROWS).exists():
        return in_memory(map_array(folder / PICTURES))
    base = map_array(first / PICTURES)
    try:
        rows, replaced = np.load(folder / ROWS), map_array(folder / REPLACED)
        if replaced.shape != (len(rows), *base.shape[1:]) or (rows >= len(base)).any():
            raise ValueError(f"{REPLACED} and {ROWS} do not fit each other")
    except (DiffInfError, OSError, ValueError) as error:
        # the source folder does not hold what a round replaced: the data stage alone cannot come back
        raise DiffInfError(
            f"The pictures that the round {folder.parent.parent} replaced are missing or damaged ({error}); "
            "remove that round's folder and make the round again."
        ) from error
    return Pictures(base, rows, replaced)


def read_picture(file: Path) -> NDArray[np.uint8]:
    """A stored edit, uint8 (S, S, 3); :class:`DiffInfError` for a missing or damaged file."""
    try:
        with Image.open(file) as image:
            return np.array(image.convert("RGB"), np.uint8)
    except (OSError, ValueError, SyntaxError) as error:
        raise DiffInfError(f"{file} is missing or damaged; {remedy(file)}.") from error


def write_overlay(
    folder: Path, below: Pictures, edits: Mapping[int, Path], earlier: Iterable[int]
) -> None:
    """Write the overlay of the next round: the ``edits`` (PNG) by row, and the rows of ``earlier`` edits.

    The latter are read from ``below``, the round's own pictures; where those are a full copy, as rounds of
    earlier versions kept one, nothing but ``earlier`` says which of them differ from the first round's.
    """
    rows = np.array(sorted({*earlier, *below.rows.tolist(), *edits}), np.int64)
    with new_array(folder / REPLACED, (len(rows), *below.base.shape[1:]), np.uint8) as out:
        for i, row in enumerate(rows.tolist()):
            out[i] = read_picture(edits[row]) if row in edits else below.read([row])[0]
    write_array(folder / ROWS, rows)
