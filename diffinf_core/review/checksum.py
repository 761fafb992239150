"""A checksum in every line of the journal: of the line alone, and of the line with the checksum before it.

So a line that was damaged on the disk is noticed, and one that is missing among others. It is no seal against
people who can write to the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import digest

_COLUMNS = (
    "time", "reviewer", "action", "sample", "version", "new_label", "comment", "undoes", "batch", "role",
    "client", "seen",
)  # fmt: skip
#: came later: a line without it has the checksum that it had before the column was there
_LATER = ("mode",)
_HALF = 8


def line_checksum(before: str | None, row: Mapping[str, Any]) -> str:
    """The checksum of a line that follows one with the checksum ``before``: twice eight hex digits."""
    later = {name: row[name] for name in _LATER if row.get(name) is not None}
    own = digest([*(row.get(name) for name in _COLUMNS), *([later] if later else [])])[:_HALF]
    return own + digest(before or "", own)[:_HALF]


def with_checksums(rows: Iterable[dict[str, Any]], before: str | None) -> list[dict[str, Any]]:
    """Lines in their order, each with its checksum."""
    out: list[dict[str, Any]] = []
    for row in rows:
        before = line_checksum(before, row)
        out.append({**row, "checksum": before})
    return out


def is_whole(row: Mapping[str, Any]) -> bool:
    """Whether a line is as it was written; True where it is of an earlier version, without a checksum."""
    kept = row["checksum"]
    return kept is None or kept[:_HALF] == line_checksum(None, row)[:_HALF]


def verify(rows: Iterable[Any], before: str | None, name: str) -> None:
    """Raise :class:`DiffInfError` for the first line that is damaged, or before which one is missing.

    ``rows`` are in their order, ``before`` is the checksum of the line before them. Only the lines of earlier
    versions have none, and these come first.
    """
    for row in rows:
        expected = None if before is row.checksum is None else line_checksum(before, row._mapping)
        if row.checksum != expected:
            whole = row.checksum is not None and is_whole(row._mapping)
            what = "a line before it is missing" if whole else "it is damaged"
            raise DiffInfError(
                f"The journal {name} is not as it was written from line {row.seq} on: {what}. Put a copy in "
                "its place, or let 'diffinf doctor RUN --repair' keep the lines that are whole."
            )
        before = row.checksum
