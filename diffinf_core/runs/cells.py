"""CSV cells that a spreadsheet would run as a formula: written so that it does not, read back as they were.

A text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return gets an apostrophe before it,
unless it is a number; so does one with apostrophes before such a text: reading takes off exactly one.
See https://owasp.org/www-community/attacks/CSV_Injection.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def _written(cell: object) -> object:
    if isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def _read(cell: object) -> object:
    if isinstance(cell, str) and cell.startswith("'") and _FORMULA.match(cell):
        return cell[1:]
    return cell


def _each(table: pd.DataFrame, change: Callable[[object], object]) -> pd.DataFrame:
    out = table.copy(deep=False)
    for name in table.columns:
        if table[name].dtype.kind in "OTU" or pd.api.types.is_string_dtype(table[name]):
            cells = table[name]
            changed = cells.map(change)
            if not changed.equals(cells):
                out[name] = changed
    out.columns = pd.Index([change(name) for name in table.columns])
    return out


def safe(table: pd.DataFrame) -> pd.DataFrame:
    """The table as it is written: no cell and no column name is a formula."""
    return _each(table, _written)


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """A table as it was before :func:`safe`."""
    return _each(table, _read)
