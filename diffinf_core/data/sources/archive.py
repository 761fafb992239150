"""A zip or tar file, unpacked safely: no path leads out, no link, no device, no bomb."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from diffinf_core.config import DataConfig
from diffinf_core.data.sources.base import PackedSource
from diffinf_core.data.sources.unpacked import write_mark
from diffinf_core.data.text import shown
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import staged_folder

#: members that an archive may have
MOST_MEMBERS = 10_000_000
#: of the free disk, what unpacking may take
_MOST_OF_DISK = 0.95
_CHUNK = 1 << 20

#: name, uncompressed bytes, and how to open it
Member = tuple[str, int, IO[bytes] | None]


def _safe_name(name: str) -> PurePosixPath:
    """The member's relative path; :class:`DiffInfError` for one that leads out of the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    drive = len(path.parts) > 0 and path.parts[0].endswith(":")
    if path.is_absolute() or drive or ".." in path.parts or "\0" in name or not path.parts:
        raise DiffInfError(
            f"holds {shown(name)!r}, which leads out of the folder; nothing was unpacked"
        )
    return path


def _zip_members(file: zipfile.ZipFile) -> Iterator[Member]:
    for info in file.infolist():
        if info.is_dir():
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DiffInfError(f"holds a link, {shown(info.filename)!r}; pack the files themselves")
        if info.flag_bits & 1:
            raise DiffInfError("is encrypted; unpack it yourself and name the folder")
        yield info.filename, info.file_size, file.open(info)


def _tar_members(file: tarfile.TarFile) -> Iterator[Member]:
    for info in file:
        if info.isdir():
            continue
        if info.issym() or info.islnk():
            raise DiffInfError(f"holds a link, {shown(info.name)!r}; pack the files themselves")
        if not info.isfile():
            raise DiffInfError(f"holds {shown(info.name)!r}, which is no file")
        yield info.name, info.size, file.extractfile(info)


@contextmanager
def _members(path: Path) -> Iterator[tuple[int, Iterator[Member]]]:
    """How many members there are (0: not known before the end), and each in turn."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                yield len(file.infolist()), _zip_members(file)
        else:
            with tarfile.open(path, "r|*") as packed:
                yield 0, _tar_members(packed)
    except DiffInfError as error:
        raise DiffInfError(f"{path} {error}.") from error
    # RuntimeError: zipfile's word for a password, and for a compression that it does not know
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError, RuntimeError) as error:
        raise DiffInfError(f"{path} cannot be unpacked: {error}.") from error


class Archive(PackedSource):
    """A zip, tar, tar.gz, tar.bz2 or tar.xz that holds a data set of any kind."""

    name = "archive"
    about = "a zip or tar file that holds any of the other kinds"

    @classmethod
    def recognises(cls, config: DataConfig) -> bool:
        """A file that is a zip or a tar by its content."""
        path = config.path
        try:
            return (
                path is not None
                and path.is_file()
                and (zipfile.is_zipfile(path) or tarfile.is_tarfile(path))
            )
        except OSError:
            return False

    def unpack(self, target: Path) -> Iterator[Progress]:
        """Write every file below ``target``, which appears whole or not at all.

        Raises :class:`DiffInfError` that names the first member which leads out of the folder, is a link, is
        there twice or does not fit on the disk.
        """
        if not self.recognises(self.config):
            raise DiffInfError(f"{self.root} is no zip or tar file.")
        with _members(self.root) as (total, members), staged_folder(target) as beside:
            room = int(shutil.disk_usage(beside).free * _MOST_OF_DISK)
            seen: set[str] = set()
            for done, (name, size, file) in enumerate(members, start=1):
                path = _safe_name(name)
                if str(path).casefold() in seen:
                    raise DiffInfError(f"holds {shown(name)!r} twice; nothing was unpacked")
                seen.add(str(path).casefold())
                if size > room or done > MOST_MEMBERS:
                    raise DiffInfError(
                        f"does not fit: {shown(name)!r} and before it need more than is free"
                    )
                room -= _write(file, beside / path, size)
                if done % 256 == 0:
                    yield Progress("data", done, max(total, done), "unpacking")
            write_mark(beside, "auto", {})
        yield Progress("data", len(seen), len(seen), f"unpacked {len(seen):,} files")


def _write(file: IO[bytes] | None, path: Path, size: int) -> int:
    """Copy a member of ``size`` bytes at most, which is what the archive says of it."""
    assert file is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with file, open(path, "wb") as out:
        while chunk := file.read(_CHUNK):
            written += len(chunk)
            if written > size:
                raise DiffInfError(f"holds {shown(path.name)!r}, which is larger than it says")
            out.write(chunk)
    return written
