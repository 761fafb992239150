"""The rows of a data set as a source lists them, before any picture is decoded."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from diffinf_core.data.text import shown


@dataclass(frozen=True)
class Row:
    """One labelled picture: ``file`` relative to the root, ``extra`` the other columns as text.

    ``split`` is train, val or test where the data set gives it, else empty.
    """

    file: str
    label: str
    extra: dict[str, str] = field(default_factory=dict)
    split: str = ""

    @property
    def id(self) -> str:
        """Twelve hex digits, the same wherever the folder lies, also on a disk that decomposes names."""
        name = self.file if self.file.isascii() else unicodedata.normalize("NFC", self.file)
        return hashlib.sha256(name.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Problem:
    """One problem of a data set; ``row`` is the line of the table, or None."""

    row: int | None
    file: str
    reason: str

    def __str__(self) -> str:
        return (f"row {self.row}: " if self.row else "") + f"{shown(self.file)}: {self.reason}"


def is_file(path: Path) -> bool:
    """Whether a file is there; False also for a name that the file system cannot hold."""
    try:
        return path.is_file()
    except OSError:
        return False


def inside(root: Path, name: str, outside: bool = False) -> Path | None:
    """The file, if it lies under root once links are followed; with ``outside`` links may lead out."""
    try:
        path = (root / name).resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    here = Path(os.path.abspath(root / name))  # noqa: PTH100 (resolving would follow links)
    if outside and here.is_relative_to(os.path.abspath(root)):  # noqa: PTH100
        return path
    return path if path.is_relative_to(root.resolve()) else None
