"""What a complete stage consists of: the size and digest of each file, kept in its ``done.json``.

Sizes are compared whenever a run is opened, so that a file which is gone or cut never passes for a result;
digests where somebody asks for it (``diffinf doctor``).
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import file_digest, read_json

#: last of a stage's files, and the key of the inventory in it
MARK, FILES = "done.json", "files"


@dataclass(frozen=True)
class Damage:
    """A file that is not as it was written."""

    file: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.file} {self.reason}"


def inventory(folder: Path) -> dict[str, list[Any]]:
    """Relative path to [bytes, SHA-256] of each finished file below a folder, but for the mark."""
    return {
        path.relative_to(folder).as_posix(): [path.stat().st_size, file_digest(path)]
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MARK and not path.name.endswith(".part")
    }


def damage_of(folder: Path, digests: bool = False) -> Iterator[Damage]:
    """The files of a complete stage that are missing, of another size, or of another digest.

    A stage of an earlier version recorded none; of it nothing can be said.
    """
    try:
        mark = read_json(folder / MARK)
        files = mark.get(FILES, {})
        recorded = [(str(name), int(size), str(digest)) for name, (size, digest) in files.items()]
    except (DiffInfError, AttributeError, TypeError, ValueError):
        yield Damage(folder / MARK, "cannot be read")
        return
    for name, size, digest in recorded:
        file = folder / name
        try:
            there = file.stat().st_size
        except OSError:
            yield Damage(file, "is missing")
            continue
        if there != size:
            yield Damage(file, f"has {there:,} bytes where {size:,} were written")
        elif digests and file_digest(file) != digest:
            yield Damage(file, "is not what was written")


def complete_stages(root: Path) -> list[Path]:
    """The folders of a run's complete stages, whatever settings they are of."""
    with contextlib.suppress(OSError):
        return sorted(mark.parent for mark in (root / "stages").glob(f"*/{MARK}"))
    return []


def refuse_damaged(root: Path) -> None:
    """Raise :class:`DiffInfError` where a file of a complete stage is missing or of another size."""
    for folder in complete_stages(root):
        for damage in damage_of(folder):
            raise DiffInfError(
                f"{damage}; 'diffinf doctor {shlex.quote(str(root))} --repair' computes it again."
            )
