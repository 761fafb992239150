"""Read an untrusted table of labels: bounded in size, text only, one sentence per refusal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from diffinf_core.records import DiffInfError

#: limits far beyond any real data set, so that a hostile one cannot exhaust the memory
MAX_TABLE_BYTES = 256_000_000
MAX_COLUMNS, MAX_CELLS = 500, 50_000_000
MAX_LABEL, MAX_FILE_NAME, MAX_CELL = 200, 1000, 10_000
_CHUNK = 1 << 20
#: control characters, surrogates, line and paragraph separators
_INVISIBLE = {"Cc", "Cs", "Zl", "Zp"}
#: bidirectional marks, which reorder the text shown
_BIDIRECTIONAL = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def bad_text(text: str, longest: int) -> str:
    """Why a name, label or cell is refused; empty if it is fine. HTML is fine: pages escape it."""
    if len(text) > longest:
        return f"is longer than {longest} characters"
    for character in text:
        if character in _BIDIRECTIONAL or unicodedata.category(character) in _INVISIBLE:
            return f"has the control character U+{ord(character):04X}"
    return ""


def shown(name: str) -> str:
    """A name for a message: shortened, without invisible characters."""
    kept = name if len(name) <= 80 else name[:80] + "..."
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in kept)


def _check_bytes(path: Path) -> None:
    size = path.stat().st_size
    if size > MAX_TABLE_BYTES:
        raise DiffInfError(
            f"{path} has {size:,} bytes; a table of labels may have {MAX_TABLE_BYTES:,} at most."
        )
    lines, columns = 1, 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            at = chunk.find(b"\0")
            if at >= 0:
                row = lines + chunk.count(b"\n", 0, at)
                raise DiffInfError(f"{path} has a NUL byte in row {row}; save it as UTF-8 text.")
            if not columns:
                columns = chunk.partition(b"\n")[0].count(b",") + 1
            lines += chunk.count(b"\n")
    if columns > MAX_COLUMNS:
        raise DiffInfError(f"{path} has {columns} columns; {MAX_COLUMNS} are allowed.")
    # A blank line is a byte in the file and a cell for every column in memory.
    if columns * lines > MAX_CELLS:
        raise DiffInfError(
            f"{path} has {lines:,} rows; with {columns} columns {MAX_CELLS // columns:,} are allowed."
        )


def read_table(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """The table as text, a row per line of the file.

    ``needed`` are required columns. :class:`DiffInfError` for a table that cannot be used.
    """
    try:
        _check_bytes(path)
        # Blank lines are kept here, so that rows keep their numbers, and dropped by the caller.
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, skip_blank_lines=False, index_col=False
        )
    except DiffInfError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0].rpartition("C error: ")[2].rstrip(".")
        raise DiffInfError(f"{path} cannot be read as CSV: {reason}.") from error
    for column in table.columns:
        reason = bad_text(column, MAX_LABEL)
        if reason:
            raise DiffInfError(f"The column {shown(column)!r} of {path} {reason}.")
    for column in needed:
        if column not in table.columns:
            columns = ", ".join(map(shown, table.columns[:20]))
            raise DiffInfError(f"{path} has no column {column!r}; its columns are {columns}.")
    return table
