"""Beside a journal: which line it had last, so that one whose end is gone never passes for the whole.

The mark follows the journal by a moment and is not brought to the disk before a decision is acknowledged, so
it may be behind the journal, but never ahead of it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_json, write_json


class Mark:
    """The mark of a run's journal; without ``file`` there is none. ``journal`` names where its lines lie."""

    def __init__(self, file: Path | None, journal: str) -> None:
        self.file, self._journal = file, journal
        self._stamp: tuple[int, ...] = ()
        self._last = -1
        self._kept = -1

    @property
    def exists(self) -> bool:
        """Whether the run was ever reviewed."""
        return self.file is not None and self.file.exists()

    def last(self) -> int:
        """The number of the last line that the journal is known to have had.

        It is 0 where there was one and its number is not known, and -1 where there never was one. Ask
        before the journal is read: lines that others write meanwhile come after both.
        """
        if self.file is None:
            return -1
        try:
            found = self.file.stat()
        except OSError:
            return -1
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        if stamp != self._stamp:
            self._stamp, self._last = stamp, self._read()
        return self._last

    def _read(self) -> int:
        assert self.file is not None
        try:
            value: Any = read_json(self.file)
        except DiffInfError:
            return 0
        if not isinstance(value, dict) or value.get("journal") != self._journal:
            return 0
        last = value.get("last")
        return last if isinstance(last, int) else 0

    def keep(self, last: int) -> None:
        """Remember that the journal has a line of this number; a run that may only be read stays as it is."""
        if self.file is None or last <= self._kept or last <= self.last():
            return
        with suppress(OSError, DiffInfError):
            write_json(self.file, {"journal": self._journal, "last": last}, sync=False)
            self._kept = last


def forget_last(file: Path) -> None:
    """Let a journal of fewer lines pass from now on: for one that was mended."""
    if file.exists():
        value = read_json(file)
        journal = value.get("journal") if isinstance(value, dict) else None
        write_json(file, {"journal": journal})
