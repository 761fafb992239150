"""A damaged journal: what is wrong with it, and the lines of it that are whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Table, insert

from diffinf_core.records import DiffInfError
from diffinf_core.review.checksum import is_whole, verify, with_checksums
from diffinf_core.review.database import LINES, Database
from diffinf_core.review.reading import read_lines
from diffinf_core.review.tag_tables import TAGS, VIEWS
from diffinf_core.runs.files import sync_folder


def fault_of(file: Path) -> str:
    """What is wrong with a journal, as a sentence; empty where every line is as it was written."""
    if not file.exists():
        return ""
    try:
        database = Database(file, only_read=True)
        try:
            with database.read() as connection:
                verify(read_lines(connection, database, 0), None, database.name)
        finally:
            database.close()
    except DiffInfError as error:
        return str(error)
    return ""


def has_lines(file: Path) -> bool:
    """Whether there is a journal with a line in it that can be read."""
    return file.exists() and bool(_readable(file))


def _readable(file: Path, table: Table = LINES) -> list[dict[str, Any]]:
    """Every row of a table that SQLite can read, from both ends up to the damage, in order."""
    found: dict[int, dict[str, Any]] = {}
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(file)) as connection:
            connection.row_factory = sqlite3.Row
            for row in connection.execute(f"SELECT * FROM {table.name} ORDER BY seq {order}"):
                found[row["seq"]] = dict(row)
    return [found[seq] for seq in sorted(found)]


@dataclass(frozen=True)
class Kept:
    """What :func:`keep_whole` did.

    ``missing`` lines cannot be read any more. ``samples`` are what the ``damaged`` lines were about, as far
    as these can be read: a decision on them may be gone, or one that was taken back may stand again.
    """

    lines: int
    damaged: int
    missing: int
    samples: tuple[str, ...]
    aside: Path

    def sentence(self) -> str:
        """All of it in a line, with at most twenty samples."""
        out = f"journal: {self.lines} lines kept, {self.damaged} damaged, {self.missing} missing"
        if self.samples:
            more = len(self.samples) - 20
            names = ", ".join(self.samples[:20]) + (f" and {more} more" if more > 0 else "")
            out += f"; look again at the decisions on {names}"
        return f"{out}; the damaged file is {self.aside}"


def _about(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> set[str]:
    """The samples of a line: its own, or those of the lines that it takes back."""
    if row.get("sample"):
        return {str(row["sample"])}
    batch = row.get("batch")
    meant = (
        r for r in rows if r["seq"] == row.get("undoes") or (batch and r.get("batch") == batch)
    )
    return {str(r["sample"]) for r in meant if r.get("sample")}


def _split(
    rows: Sequence[dict[str, Any]],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The whole lines and the damaged ones; one that lost its checksum is damaged."""
    whole: list[dict[str, Any]] = []
    damaged: list[dict[str, Any]] = []
    begun = False
    for row in rows:
        begun = begun or row["checksum"] is not None
        good = is_whole(row) and (row["checksum"] is not None or not begun)
        (whole if good else damaged).append(row)
    return whole, damaged


def keep_whole(file: Path) -> Kept:
    """Put a journal of the whole lines in the place of a damaged one, which is set aside.

    Tags and saved views go with it as far as they can be read.

    No process may have the journal open. Raises :class:`DiffInfError` where no line is whole.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    aside = file.with_name(f"damaged-{stamp}-{file.name}")
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            file.with_name(file.name + ending).rename(aside.with_name(aside.name + ending))
    rows = [{"checksum": None, "role": "decide", **row} for row in _readable(aside)]
    whole, damaged = _split(rows)
    if not whole:
        for ending in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                aside.with_name(aside.name + ending).rename(file.with_name(file.name + ending))
        raise DiffInfError(
            f"No line of the journal {file} can be read; it stays as it is. Put a copy of it back."
        )
    names = {column.name for column in LINES.columns}
    kept = [{k: v for k, v in row.items() if k in names} for row in with_checksums(whole, None)]
    database = Database(file)
    with database.write("The journal") as connection:
        if kept:
            connection.execute(insert(LINES), kept)
        for table in (TAGS, VIEWS):
            if others := _readable(aside, table):
                connection.execute(insert(table), others)
    database.close()
    sync_folder(file.parent)
    samples = tuple(sorted(set().union(*(_about(row, rows) for row in damaged))))
    missing = rows[-1]["seq"] - len(rows)
    return Kept(len(kept), len(damaged), missing, samples, aside)
