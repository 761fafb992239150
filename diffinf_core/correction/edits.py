"""Edits on disk: one folder for each version of each sample.

``edits/<sample>/<version>/`` appears whole: ``edit.png``, ``reconstruction.png`` (the plain decoding, no
guidance) and ``edit.json``.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from diffinf_core.data.overlay import map_array, read_picture
from diffinf_core.records import DiffInfError, Edit
from diffinf_core.runs.files import (
    create_array,
    digest,
    new_array,
    publish_folder,
    read_json,
    remedy,
    write_file,
    write_json,
    write_png,
)
from diffinf_core.runs.run import Run
from diffinf_core.runs.scratch import scratch_folder

_ID = re.compile(r"[0-9a-f]{12}")
_VERSION = re.compile(r"[0-9a-f]{16}")
_PNG_BEGIN, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_PICTURES = ("edit", "reconstruction")
#: version of the code that makes edits: raise it when the same settings give another picture or record
METHOD = 9
#: files of decoded edits that are kept: one per arm, and those of the set before
_KEPT = 4


def edit_folder(run: Run, sample: str, version: str) -> Path:
    """Where a version lies; :class:`DiffInfError` for names that are no ids."""
    if not _ID.fullmatch(sample) or not _VERSION.fullmatch(version):
        raise DiffInfError(f"There is no edit {version!r} of sample {sample!r}.")
    return run.edits / sample / version


def load_edit(run: Run, sample: str, version: str) -> Edit:
    """The record of a version."""
    return read_record(edit_folder(run, sample, version))


def read_record(folder: Path) -> Edit:
    """The record in the folder of a version; :class:`DiffInfError` where it is missing or damaged."""
    record = read_json(folder / "edit.json")
    try:
        return Edit(**record)
    except TypeError as error:
        raise DiffInfError(
            f"{folder / 'edit.json'} is damaged or of a newer version of DiffInf ({error})."
        ) from error


def check_version(folder: Path) -> str:
    """What is wrong with the folder of a version; empty where record and pictures can be read."""
    try:
        edit = read_record(folder)
        if (edit.sample, edit.version) != (folder.parent.name, folder.name):
            return f"edit.json is of sample {edit.sample}, version {edit.version}"
        shapes = {read_picture(folder / f"{what}.png").shape for what in _PICTURES}
    except DiffInfError as error:
        return str(error).rstrip(".")
    return "" if len(shapes) == 1 else "its pictures have different sizes"


def put_back_whole(damaged: Path, made: Path) -> None:
    """Give a version that was made again those files of the damaged one that are whole.

    Made on another processor, or beside other pictures, a picture may differ by a level from what somebody
    accepted.
    """
    files = []
    with suppress(DiffInfError):
        edit = read_record(damaged)
        if (edit.sample, edit.version) == (made.parent.name, made.name):
            files.append("edit.json")
    for what in _PICTURES:
        with suppress(DiffInfError):
            before, after = (read_picture(folder / f"{what}.png") for folder in (damaged, made))
            if before.shape == after.shape:
                files.append(f"{what}.png")
    for name in files:
        write_file(made / name, partial(_copy, damaged / name))


def _copy(source: Path, out: BinaryIO) -> None:
    out.write(source.read_bytes())


def read_edit(run: Run, sample: str, version: str, what: str = "edit") -> NDArray[np.uint8]:
    """The "edit" or the plain "reconstruction" of a version, uint8 (S, S, 3)."""
    return read_picture(edit_folder(run, sample, version) / f"{what}.png")


def whole_png(file: Path) -> bytes:
    """The bytes of a stored picture; :class:`DiffInfError` for one that is cut."""
    data = file.read_bytes()
    if not (data.startswith(_PNG_BEGIN) and data.endswith(_PNG_END)):
        raise DiffInfError(f"{file} is damaged; {remedy(file)}.")
    return data


def versions_of(run: Run, sample: str) -> list[str]:
    """All versions of a sample, oldest first."""
    folder = edit_folder(run, sample, "0" * 16).parent
    if not folder.is_dir():
        return []
    found = [
        p for p in folder.iterdir() if _VERSION.fullmatch(p.name) and (p / "edit.json").exists()
    ]
    return [p.name for p in sorted(found, key=lambda p: (p / "edit.json").stat().st_mtime_ns)]


@dataclass(frozen=True)
class NewEdit:
    """An edit that is not stored yet; both pictures are uint8 (S, S, 3)."""

    record: Edit
    image: NDArray[np.uint8]
    reconstruction: NDArray[np.uint8]


def publish_edit(
    run: Run, edit: Edit, image: NDArray[np.uint8], reconstruction: NDArray[np.uint8]
) -> None:
    """Write a version, whole or not at all; pictures are uint8 (S, S, 3)."""
    # Edited faces are synthetic; the file says so wherever it is taken.
    notes = {
        "Software": "DiffInf",
        "Synthetic": "edited by a diffusion autoencoder; not a photograph",
        "Sample": edit.sample,
        "Version": edit.version,
    }

    def build(folder: Path) -> None:
        write_png(folder / "edit.png", image, notes)
        write_png(folder / "reconstruction.png", reconstruction, notes)
        write_json(folder / "edit.json", edit.as_dict())

    publish_folder(edit_folder(run, edit.sample, edit.version), build)


def edited_pictures(run: Run, folders: Sequence[Path], side: int) -> NDArray[np.uint8]:
    """The pictures (E, side, side, 3) of some versions, decoded once and then mapped from the disk.

    Trainings read every edit in every epoch. A version never changes, so the file is named by a hash of the
    versions in it; the :data:`_KEPT` files that were used last stay. In a run that cannot be written, the
    map lies in a temporary file that goes with it.
    """
    shape = (len(folders), side, side, 3)
    if not folders:
        return np.zeros(shape, np.uint8)
    home = run.root / "edited"
    file = home / f"{digest([str(f.relative_to(f.parents[1])) for f in folders], side)}.npy"
    with suppress(DiffInfError):  # not there, or damaged
        array = map_array(file)
        with suppress(OSError):  # what cannot be written is not cleared away either
            os.utime(file)
        return array
    try:
        with new_array(file, shape, np.uint8) as out:
            _decode(folders, out)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        with scratch_folder() as temporary:
            out = create_array(Path(temporary) / file.name, shape, np.uint8)
            _decode(folders, out)
        return out
    array = map_array(file)
    for old in sorted(home.glob("*.npy"), key=_last_used)[:-_KEPT]:
        old.unlink(missing_ok=True)  # whoever has mapped it keeps it
    return array


def _last_used(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:  # another process removed it
        return 0


def _decode(folders: Sequence[Path], out: NDArray[np.uint8]) -> None:
    for i, folder in enumerate(folders):
        picture = read_picture(folder / "edit.png")
        if picture.shape != out.shape[1:]:
            raise DiffInfError(
                f"{folder / 'edit.png'} is {picture.shape[1]} x {picture.shape[0]} pixels and the run's "
                f"pictures {out.shape[1]} x {out.shape[1]}; remove the folder {folder} and repair again."
            )
        out[i] = picture
