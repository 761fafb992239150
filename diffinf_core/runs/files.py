"""Files that appear whole or not at all: text, JSON, tables, arrays, weights, pictures, folders.

Every file is written beside its place, synced, and renamed, so a kill leaves old or new, never half.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import torch
from PIL import Image, PngImagePlugin

from diffinf_core.records import DiffInfError


def _read_umask() -> int:
    # There is no way to read it without setting it; at import no other thread writes files yet.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_UMASK = _read_umask()


_PART = ".part"


def _beside(path: Path) -> str:
    """How the unfinished name of a file or folder begins: it tells who is writing."""
    return f".{path.name}.{os.getpid()}."


def remove_orphans(root: Path) -> None:
    """Remove what a killed process left half-written under a folder; a living one's is not touched."""
    # os.walk, because another thread may rename what it just wrote while this looks around
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            if not (name.startswith(".") and name.endswith(_PART)):
                continue
            writer = name.rsplit(".", 3)[1]
            if writer.isdigit() and not _alive(int(writer)):
                path = Path(folder, name)
                if name in folders:
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def write_file(path: Path, write: Callable[[BinaryIO], object], mode: int = 0o666) -> None:
    """Write a file so that it appears whole or not at all, even after a power cut.

    ``mode`` is who may do what with it, less what the user's mask takes away.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_beside(path), suffix=_PART)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            # mkstemp's file is for its owner alone
            Path(name).chmod(mode & ~_UMASK)
            os.fsync(file.fileno())
        Path(name).replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiffInfError(
                f"The disk is full while writing {path}; free some space and start again, "
                "finished work is kept."
            ) from error
        raise
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # not possible on every system; the rename itself is still atomic
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str, mode: int = 0o666) -> None:
    """Write text atomically."""
    write_file(path, lambda file: file.write(text.encode()), mode)


def write_json(path: Path, value: object, mode: int = 0o666) -> None:
    """Write JSON atomically; NaN is refused."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n", mode)


def read_json(path: Path) -> Any:
    """Read JSON; a broken file is one clear sentence."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DiffInfError(f"{path} cannot be read ({error}); remove it and run again.") from error


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, atomically."""
    write_text(path, table.to_csv(index=False))


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a NumPy array (.npy), atomically."""
    write_file(path, lambda file: np.save(file, array, allow_pickle=False))


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
            f"{path} is not a readable weight file; remove it and run again."
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


def publish_folder(target: Path, build: Callable[[Path], None]) -> None:
    """Build a folder beside its place and rename it, so that it appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=target.parent, prefix=_beside(target), suffix=_PART))
    try:
        build(beside)
        beside.chmod(0o777 & ~_UMASK)
        try:
            beside.replace(target)
        except OSError:
            if not target.is_dir():
                raise
            shutil.rmtree(beside)  # somebody else published the same content first
        _sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
