"""Decode pictures once into a memory-mapped file at working size; a killed decoding resumes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from diffinf_core.data.folder import decode
from diffinf_core.data.overlay import map_array
from diffinf_core.data.walk import walk
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import create_array, digest, read_json, write_json
from diffinf_core.runs.workers import in_order

_SAVE_EVERY = 256


def fingerprint(root: Path, files: Sequence[str], size: int) -> str:
    """Changes with the list of pictures, with any of them, and with the working size."""
    stats = [(name, (root / name).stat()) for name in files]
    return digest(size, [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])


def decode_all(
    root: Path,
    files: Sequence[str],
    folder: Path,
    size: int,
    mark: str = "decoded.json",
    remedy: str = "remove it from the table or repair it",
) -> Iterator[Progress]:
    """Write ``folder/images.npy``, uint8 (N, size, size, 3), in the order of ``files``.

    ``folder/<mark>`` records the progress. Raises :class:`DiffInfError` that names a picture which
    cannot be read.
    """
    total, shape = len(files), (len(files), size, size, 3)
    file, stamp = folder / "images.npy", folder / mark
    folder.mkdir(parents=True, exist_ok=True)
    # Other files, another size or an overwritten picture start over.
    names = fingerprint(root, files, size)
    begin = 0
    if file.exists() and stamp.exists():
        reached = read_json(stamp)
        with suppress(DiffInfError):  # a damaged file starts over
            if reached["files"] == names and map_array(file).shape == shape:
                begin = int(reached["rows"])
    if not begin:
        stamp.unlink(missing_ok=True)
    images = np.load(file, mmap_mode="r+") if begin else create_array(file, shape, np.uint8)

    def read(name: str) -> np.ndarray:
        try:
            return decode(root / name, size)
        except DiffInfError as error:
            raise DiffInfError(f"{root / name}: {error}; {remedy}.") from error

    # Threads are enough: Pillow and zlib let others run while they decode.
    readers = os.cpu_count() or 1
    pictures = in_order(read, files[begin:], readers, 4 * readers, "decode")
    for i, picture in enumerate(pictures, start=begin):
        images[i] = picture
        if (i + 1) % _SAVE_EVERY == 0 or i + 1 == total:
            if isinstance(images, np.memmap):
                images.flush()
            write_json(stamp, {"rows": i + 1, "files": names})
            yield Progress("data", i + 1, total, "reading pictures")


def pack_pictures(root: Path, folder: Path, size: int) -> Iterator[Progress]:
    """Every picture below ``root``, without labels; ``pictures.json`` is the mark.

    Hidden and system files are left out, and so is the folder that the training writes to.
    """
    if not root.is_dir():
        raise DiffInfError(f"The folder {root} does not exist.")
    own = folder.parent.resolve()
    files = [n for n in walk(root).pictures if not (root / n).resolve().is_relative_to(own)]
    if not files:
        raise DiffInfError(f"The folder {root} holds no pictures.")
    yield from decode_all(root, files, folder, size, "pictures.json", "remove it or repair it")
