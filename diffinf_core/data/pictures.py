"""Decode pictures once into a memory-mapped file at working size; a killed decoding resumes."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffinf_core.data.decode import PLAIN, Pixels, decode_with_digest, highest_level
from diffinf_core.data.faces import load_detector
from diffinf_core.data.framing import ALIGNMENT, ROW, read_framed
from diffinf_core.data.overlay import map_array
from diffinf_core.data.walk import walk
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import create_array, digest, new_array, read_json, write_json
from diffinf_core.runs.pages import drop_pages
from diffinf_core.runs.workers import in_order

_SAVE_EVERY = 256
#: pixels, digest, and how they were framed
_Picture = tuple[NDArray[np.uint8], str, NDArray[np.float64] | None]


#: size in bytes and modification time in nanoseconds
Stat = tuple[int, int]


@dataclass(frozen=True)
class Known:
    """Pictures that were decoded before: the row of each file in ``images`` and the digest of its bytes."""

    images: NDArray[np.uint8]
    rows: Mapping[str, tuple[int, str]]
    #: how each was framed (M, 8), where it was
    alignment: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Decoded:
    """The SHA-256 of each file's bytes (N, 32), uint8, and the reason for each row that is no picture.

    ``faces`` (N,) counts the faces of each picture where they are framed, ``beyond`` (N,) is the fraction of
    each that is made up.
    """

    digests: NDArray[np.uint8]
    bad: Mapping[int, str]
    faces: NDArray[np.int64] | None = None
    beyond: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Framing:
    """That each picture's largest face is framed; ``one_face`` refuses pictures with several."""

    one_face: bool = False


def stats_of(root: Path, files: Sequence[str]) -> list[Stat]:
    """The size and time of each file; :class:`DiffInfError` for one that is gone."""
    out = []
    for name in files:
        try:
            seen = (root / name).stat()
        except OSError as error:
            raise DiffInfError(f"{root / name}: {error.strerror or error}.") from error
        out.append((seen.st_size, seen.st_mtime_ns))
    return out


def bits_used(
    root: Path, files: Sequence[str], pixels: Pixels, stage: str = "data"
) -> Generator[Progress, None, int | None]:
    """The highest value of files with more than eight bits per value; None where there are none."""
    readers, highest = os.cpu_count() or 1, -1
    levels = in_order(
        lambda name: highest_level(root / name, pixels), files, readers, 16 * readers, "bits"
    )
    for i, level in enumerate(levels, start=1):
        highest = max(highest, -1 if level is None else level)
        if i % _SAVE_EVERY == 0 or i == len(files):
            yield Progress(stage, i, len(files), "reading bit depths")
    return None if highest < 0 else highest


def decode_all(
    root: Path,
    files: Sequence[str],
    folder: Path,
    size: int,
    mark: str = "decoded.json",
    remedy: str = "remove it from the table or repair it, or go on without such files by --skip-bad",
    pixels: Pixels = PLAIN,
    skip_bad: bool = False,
    known: Known | None = None,
    framing: Framing | None = None,
) -> Generator[Progress, None, Decoded]:
    """Write ``folder/images.npy``, uint8 (N, size, size, 3), in the order of ``files``.

    With ``framing`` also ``folder/alignment.npy``, see :mod:`diffinf_core.data.framing`.

    ``folder/<mark>`` records the progress. Files that are ``known`` are copied from there. Raises
    :class:`DiffInfError` that names a picture which cannot be read; with ``skip_bad`` it is among the bad
    ones of the result, and its row holds zeros.
    """
    total, shape = len(files), (len(files), size, size, 3)
    file, digest_file, stamp = folder / "images.npy", folder / "digests.npy", folder / mark
    folder.mkdir(parents=True, exist_ok=True)
    # Other files, another size or an overwritten picture start over.
    framed = [] if framing is None else [["framed", framing.one_face]]
    names = digest(size, pixels.depth, skip_bad, list(files), stats_of(root, files), *framed)
    begin, bad = 0, dict[int, str]()
    if file.exists() and stamp.exists() and digest_file.exists():
        reached = read_json(stamp)
        with suppress(DiffInfError):  # a damaged file starts over
            same = map_array(file).shape == shape and map_array(digest_file).shape == (total, 32)
            if reached["files"] == names and same:
                begin = int(reached["rows"])
                bad = {int(row): reason for row, reason in reached["bad"].items()}
    if not begin:
        stamp.unlink(missing_ok=True)
        images = create_array(file, shape, np.uint8)
        digests = create_array(digest_file, (total, 32), np.uint8)
        alignment = create_array(folder / ALIGNMENT, (total, ROW), float) if framing else None
    else:
        images = np.load(file, mmap_mode="r+")
        digests = np.load(digest_file, mmap_mode="r+")
        alignment = np.load(folder / ALIGNMENT, mmap_mode="r+") if framing else None
    if framing is not None:
        load_detector()

    def read(name: str) -> _Picture | str:
        if known is not None and name in known.rows:
            row, sha = known.rows[name]
            how = None if known.alignment is None else np.array(known.alignment[row])
            return np.array(known.images[row]), sha, how
        try:
            if framing is None:
                return *decode_with_digest(root / name, size, pixels), None
            face = read_framed(root / name, size, pixels, framing.one_face)
            return face.picture, face.sha256, face.row
        except DiffInfError as error:
            if skip_bad:
                return str(error)
            raise DiffInfError(f"{root / name}: {error}; {remedy}.") from error

    # Threads are enough: Pillow and zlib let others run while they decode.
    readers = os.cpu_count() or 1
    pictures = in_order(read, files[begin:], readers, 4 * readers, "decode")
    for i, outcome in enumerate(pictures, start=begin):
        if isinstance(outcome, str):
            bad[i] = outcome
        else:
            images[i] = outcome[0]
            digests[i] = np.frombuffer(bytes.fromhex(outcome[1]), np.uint8)
            if alignment is not None and outcome[2] is not None:
                alignment[i] = outcome[2]
        if (i + 1) % _SAVE_EVERY == 0 or i + 1 == total:
            for array in (images, digests, alignment):
                if isinstance(array, np.memmap):
                    array.flush()
                    drop_pages(array)
            write_json(stamp, {"rows": i + 1, "files": names, "bad": bad})
            yield Progress("data", i + 1, total, "reading pictures")
    if alignment is None:
        return Decoded(digests, bad)
    return Decoded(digests, bad, np.array(alignment[:, 6], np.int64), np.array(alignment[:, 7]))


def keep_rows(folder: Path, rows: Sequence[int]) -> None:
    """Leave only some rows of ``folder/images.npy`` and ``folder/alignment.npy``, in their order."""
    for name in ("images.npy", ALIGNMENT):
        if not (folder / name).exists():
            continue
        array = map_array(folder / name)
        with new_array(folder / name, (len(rows), *array.shape[1:]), array.dtype) as out:
            for i, row in enumerate(rows):
                out[i] = array[row]
                if i % _SAVE_EVERY == 0:
                    drop_pages(array)
                    drop_pages(out)


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
