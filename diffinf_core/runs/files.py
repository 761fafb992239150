"""Files that appear whole or not at all: text, JSON, tables, arrays, weights, pictures, folders.

Every file is written beside its place, synced, and renamed, so a kill leaves old or new, never half.
"""

from __future__ import annotations

import csv
import errno
import glob
import hashlib
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import torch
from PIL import Image, PngImagePlugin

from diffinf_core.records import DiffInfError
from diffinf_core.runs.cells import safe
from diffinf_core.runs.writer import left_behind, unfinished


def _read_umask() -> int:
    # There is no way to read it without setting it; at import no other thread writes files yet.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_UMASK = _read_umask()
_PART = ".part"
#: bytes that a text file may have, far beyond those of any run: a table of a million versions has 40 MB
MAX_TEXT = 500_000_000
#: in a folder that is not finished: others' folders may have any name, but not this file
_MARK = ".diffinf-unfinished"


def remove_orphans(root: Path) -> None:
    """Remove what a killed process left half-written under a folder; see :func:`writer.left_behind`."""
    # os.walk, because another thread may rename what it just wrote while this looks around
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            if left_behind(path):
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _full(path: Path, error: OSError) -> DiffInfError | None:
    """The sentence for a disk that is full, None for any other failure."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return DiffInfError(
        f"The disk is full while writing {path}; free some space and start again, finished work is kept."
    )


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Turn a full disk in the block into the sentence for it; ``path`` where the error names no file."""
    try:
        yield
    except OSError as error:
        if sentence := _full(Path(error.filename or path), error):
            raise sentence from error
        raise


def write_file(
    path: Path, write: Callable[[BinaryIO], object], mode: int = 0o666, sync: bool = True
) -> None:
    """Write a file so that it appears whole or not at all, even after a power cut.

    ``mode`` is who may do what with it, less what the user's mask takes away. Without ``sync`` a power cut
    may leave the file of before, or an empty one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=unfinished(path), suffix=_PART)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            # mkstemp's file is for its owner alone
            Path(name).chmod(mode & ~_UMASK)
            if sync:
                os.fsync(file.fileno())
        Path(name).replace(path)
        if sync:
            sync_folder(path.parent)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        if sentence := _full(path, error):
            raise sentence from error
        raise
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder's files to the disk."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # not possible on every system; the rename itself is still atomic
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str, mode: int = 0o666, sync: bool = True) -> None:
    """Write text atomically; see :func:`write_file`."""
    write_file(path, lambda file: file.write(text.encode()), mode, sync)


def write_json(path: Path, value: object, mode: int = 0o666, sync: bool = True) -> None:
    """Write JSON atomically; NaN is refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n", mode, sync)


def remedy(path: Path) -> str:
    """What to do about a damaged file, as the end of a sentence."""
    for folder in path.absolute().parents:
        if (folder / "config.yaml").exists():
            return f"'diffinf doctor {shlex.quote(str(folder))} --repair' makes it again"
    return "remove it and run again"


def read_text(path: Path, most: int = MAX_TEXT) -> str:
    """Read text of at most ``most`` bytes; a file that is none, or longer, is one clear sentence."""
    try:
        with open(path, "rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise ValueError(f"it has more than {most:,} bytes")
        return data.decode()
    except (OSError, ValueError) as error:
        raise DiffInfError(f"{path} cannot be read ({error}); {remedy(path)}.") from error


def read_json(path: Path, most: int = MAX_TEXT) -> Any:
    """Read JSON of at most ``most`` bytes; a broken file is one clear sentence."""
    text = read_text(path, most)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DiffInfError(f"{path} cannot be read ({error}); {remedy(path)}.") from error


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, atomically, without cells that a spreadsheet would run."""
    write_text(path, _csv(table))


def write_tables(path: Path, columns: Sequence[str], parts: Iterable[pd.DataFrame]) -> None:
    """Write tables of the same columns below each other, as :func:`write_table`, with one in memory."""

    def write(file: BinaryIO) -> None:
        file.write(_csv(pd.DataFrame(columns=list(columns))).encode())
        for part in parts:
            file.write(_csv(part[list(columns)], header=False).encode())

    write_file(path, write)


def _csv(table: pd.DataFrame, header: bool = True) -> str:
    text = safe(table).to_csv(index=False, header=header)
    if "\r" in text:  # which ends a row unless its cell is quoted, and csv does not see to that
        text = safe(table).to_csv(index=False, header=header, quoting=csv.QUOTE_NONNUMERIC)
    return text


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a NumPy array (.npy), atomically."""
    write_file(path, lambda file: np.save(file, array, allow_pickle=False))


def read_array(path: Path) -> np.ndarray:
    """Read what :func:`write_array` wrote; a missing or damaged file is one clear sentence."""
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DiffInfError(f"{path} is missing or damaged ({error}); {remedy(path)}.") from error


def write_tensors(path: Path, state: Mapping[str, Any]) -> None:
    """Write a dict of tensors (``torch.save``), atomically."""

    def save(file: BinaryIO) -> None:
        try:
            torch.save(dict(state), file)
        except RuntimeError as error:
            # torch reports a failed write as a wrong position; what went wrong is behind it.
            cause: BaseException | None = error
            while cause is not None:
                if isinstance(cause, OSError):
                    raise cause from error
                cause = cause.__context__
            raise

    write_file(path, save)


def read_tensors(path: Path) -> dict[str, Any]:
    """Read what :func:`write_tensors` wrote; pickled code is never executed."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DiffInfError(
            f"{path} is missing or no readable weight file; {remedy(path)}."
        ) from error


def write_png(path: Path, image: np.ndarray, notes: Mapping[str, str] | None = None) -> None:
    """Write uint8 (S, S, 3) as a lossless PNG with text notes, atomically."""
    info = PngImagePlugin.PngInfo()
    for key, value in (notes or {}).items():
        info.add_text(key, value)
    write_file(path, lambda file: Image.fromarray(image).save(file, "PNG", pnginfo=info))


def digest(*parts: object) -> str:
    """A 16-character hash of JSON-able parts and bytes."""
    h = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        h.update(len(data).to_bytes(8, "little"))
        h.update(data)
    return h.hexdigest()[:16]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex; a file that has not changed since is not read again."""
    found = path.stat()
    return _file_digest(path, found.st_size, found.st_mtime_ns, found.st_ino)


@lru_cache(maxsize=64)
def _file_digest(path: Path, *_: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """A fresh folder beside ``target`` that takes its place whole when the block ends, or goes away.

    What killed processes left beside ``target`` goes first: folders that hold our mark, and whose name is
    that of a process that is gone. FileExistsError where something other than an empty folder has appeared
    at ``target`` meanwhile.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in target.parent.glob(f".{glob.escape(target.name)}.*{_PART}"):
        if left_behind(path, of=target.name) and (path / _MARK).is_file():
            _remove(path)
    beside = Path(tempfile.mkdtemp(dir=target.parent, prefix=unfinished(target), suffix=_PART))
    try:
        (beside / _MARK).touch()
        yield beside
        (beside / _MARK).unlink()
        sync_folder(beside)
        beside.chmod(0o777 & ~_UMASK)
        try:
            beside.replace(target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise FileExistsError(f"{target} is there already.") from error
            raise
        sync_folder(target.parent)
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        if isinstance(error, OSError) and (sentence := _full(target, error)):
            raise sentence from error
        raise


def publish_folder(target: Path, build: Callable[[Path], None]) -> None:
    """Build a folder beside its place and rename it, so that it appears whole or not at all.

    Where another process has published the same content first, that one stays.
    """
    try:
        with staged_folder(target) as beside:
            build(beside)
    except FileExistsError:
        if not target.is_dir():
            raise


def reserve(path: Path, size: int) -> None:
    """Give a file ``size`` bytes on the disk; :class:`DiffInfError` where they are not to be had.

    Writing to a memory map of a sparse file kills the process once the disk is full.
    """
    with open(path, "r+b") as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if sentence := _full(path, error):
                raise sentence from error
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise
            # a file system that cannot reserve; its own way of failing is all there is


@contextmanager
def new_array(path: Path, shape: tuple[int, ...], dtype: np.dtype | type) -> Iterator[np.ndarray]:
    """A memory-mapped .npy to fill; it appears at ``path`` whole when the block ends, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=unfinished(path), suffix=_PART)
    os.close(handle)
    beside = Path(name)
    try:
        array = create_array(beside, shape, dtype)
        yield array
        if isinstance(array, np.memmap):
            array.flush()
        with open(beside, "r+b") as file:
            os.fsync(file.fileno())
        beside.chmod(0o666 & ~_UMASK)
        beside.replace(path)
        sync_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def create_array(path: Path, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """A new .npy of zeros, mapped for writing, whose space is reserved on the disk."""
    if 0 in shape:  # nothing to map
        with open(path, "wb") as file:
            np.save(file, np.zeros(shape, dtype))
        return np.load(path)
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    reserve(path, path.stat().st_size)
    return array
