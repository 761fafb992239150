"""Read a table of labels that nobody vouches for: bounded in size, text only, one sentence per refusal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from diffinf_core.records import DiffInfError

#: limits far beyond any real data set, so that a hostile one cannot take the memory
MAX_TABLE_BYTES = 256_000_000
MAX_COLUMNS, MAX_CELLS = 500, 50_000_000
MAX_LABEL, MAX_FILE_NAME, MAX_CELL = 200, 1000, 10_000
_CHUNK = 1 << 20
#: controls, halves of characters, line and paragraph breaks
_UNSEEN = {"Cc", "Cs", "Zl", "Zp"}
#: marks that turn the order of what is shown
_TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def bad_text(text: str, longest: int) -> str:
    """Why a name, label or cell cannot be taken; empty if it can. HTML is fine: pages escape it."""
    if len(text) > longest:
        return f"is longer than {longest} characters"
    for character in text:
        if character in _TURNING or unicodedata.category(character) in _UNSEEN:
            return f"has the control character U+{ord(character):04X}"
    return ""


def shown(name: str) -> str:
    """A name for a message: cut, and nothing invisible in it."""
    kept = name if len(name) <= 80 else name[:80] + "..."
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in kept)


def _check_bytes(path: Path) -> None:
    size = path.stat().st_size
    if size > MAX_TABLE_BYTES:
        raise DiffInfError(
            f"{path} has {size:,} bytes, and a table of labels at most {MAX_TABLE_BYTES:,}."
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
        raise DiffInfError(f"{path} has {columns} columns, and may have {MAX_COLUMNS} at most.")
    # A blank line is a byte in the file and a cell for every column in memory.
    if columns * lines > MAX_CELLS:
        raise DiffInfError(f"{path} has {lines:,} rows, which is too large for a table of labels.")


def read_table(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """The table as text, a row per line of the file; :class:`DiffInfError` for one that cannot be used.

    ``needed`` are columns that it must have.
    """
    try:
        _check_bytes(path)
        # Blank lines are kept so that rows keep their numbers, and dropped further on.
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
