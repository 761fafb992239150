"""A damaged journal: what is wrong with it, and the lines of it that are whole."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from diffinf_core.records import DiffInfError
from diffinf_core.review.checksum import is_whole, verify, with_checksums
from diffinf_core.review.database import LINES, Database
from diffinf_core.review.reading import read_lines
from diffinf_core.runs.files import sync_folder


def fault_of(file: Path) -> str:
    """What is wrong with a journal, as a sentence; empty where every line is as it was written."""
    if not file.exists():
        return ""
    try:
        database = Database(file)
        try:
            with database.read() as connection:
                verify(read_lines(connection, database, 0), None, database.name)
        finally:
            database.close()
    except DiffInfError as error:
        return str(error)
    return ""


def _readable(file: Path) -> list[dict[str, Any]]:
    """Every line that SQLite can read, from both ends up to the damage, in order."""
    found: dict[int, dict[str, Any]] = {}
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(file)) as connection:
            connection.row_factory = sqlite3.Row
            for row in connection.execute(f"SELECT * FROM journal ORDER BY seq {order}"):
                found[row["seq"]] = {"checksum": None, "role": "decide", **dict(row)}
    return [found[seq] for seq in sorted(found)]


def keep_whole(file: Path) -> tuple[int, int, Path]:
    """Put a journal of the whole lines in the place of a damaged one, which is set aside.

    Returns how many lines were kept, how many readable ones were damaged, and where the old file lies. No
    process may have the journal open.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    aside = file.with_name(f"damaged-{stamp}-{file.name}")
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            file.with_name(file.name + ending).rename(aside.with_name(aside.name + ending))
    rows = _readable(aside)
    whole = [row for row in rows if is_whole(row)]
    names = {column.name for column in LINES.columns}
    kept = [{k: v for k, v in row.items() if k in names} for row in with_checksums(whole, None)]
    database = Database(file)
    with database.write("The journal") as connection:
        if kept:
            connection.execute(insert(LINES), kept)
    database.close()
    sync_folder(file.parent)
    return len(kept), len(rows) - len(whole), aside
