"""Text tables: which characters the bytes are, which separator, and rows that fit the header.

The parsing itself is :mod:`csv` in its strict mode; pandas and Arrow pad short rows or cut long ones.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from diffinf_core.data.text import shown
from diffinf_core.records import DiffInfError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_SEPARATORS = ",;\t|"
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
#: rows that are read to choose the separator
_PROBE = 100
#: columns that tell the separator of a table, in lower case
_TELLING = {"file", "file_name", "filename", "path", "image", "label", "class", "split"}

_Record = tuple[int, list[str]]
Separated = tuple[list[str], list[list[str]], list[int], list[tuple[int, str]], list[str]]


def decoded(raw: bytes, path: Path, encoding: str | None = None) -> str:
    """The text of a file: in ``encoding``, else as its byte-order mark says, else UTF-8 or bare UTF-16.

    Raises :class:`DiffInfError` that names the line of the first byte that does not fit.
    """
    name = encoding or next((name for mark, name in _MARKS if raw.startswith(mark)), "")
    if not name:
        head = raw[:1000]
        # Latin text in UTF-16 has a NUL in every other byte
        even, odd = head[::2].count(0), head[1::2].count(0)
        if len(head) > 3 and max(even, odd) > 0.3 * len(head) and not min(even, odd):
            name = "utf-16-le" if odd else "utf-16-be"
    try:
        text = raw.decode(name or "utf-8")
    except LookupError as error:
        raise DiffInfError(f"data.encoding: there is no encoding {encoding!r}.") from error
    except UnicodeError as error:
        line, byte = "", ""
        if isinstance(error, UnicodeDecodeError):
            row = raw.count(b"\n", 0, error.start) + 1
            line = f" in row {row}"
            byte = f" (byte 0x{raw[error.start]:02X})"
        raise DiffInfError(
            f"{path} cannot be read as {(name or 'UTF-8').upper()}{line}{byte}; save it as UTF-8, or name "
            "its encoding, e.g. data.encoding=cp1252."
        ) from error
    at = text.find("\0")
    if at >= 0:
        row = text.count("\n", 0, at) + 1
        raise DiffInfError(f"{path} has a NUL byte in row {row}; save it as UTF-8 text.")
    return text.removeprefix("\ufeff")


def read_separated(
    text: str, path: Path, tabs: bool, max_columns: int, max_cells: int
) -> Separated:
    """Columns, rows, their lines, bad rows and remarks of a text with separators.

    ``tabs``: the file's suffix says that they are tabs. Rows of empty fields alone are left out.
    """
    named = text[:5].lower().startswith("sep=") and text[5:6] in "\r\n"
    separator = text[4] if named else _separator(text, path, tabs)
    remarks = []
    if separator != ("\t" if tabs else ","):
        remarks.append(
            f"The fields of {path.name} are separated by {_NAMES.get(separator, repr(separator))}."
        )
    records = _records(text, path, separator, named)
    first = next(records, None)
    if first is None:
        raise DiffInfError(f"{path} is empty.")
    columns = [name.strip() for name in first[1]]
    if len(columns) > max_columns:
        raise DiffInfError(f"{path} has {len(columns)} columns; {max_columns} are allowed.")
    # a blank line is a byte in the file and a cell for every column in memory
    lines_in_all = text.count("\n") + 1
    if len(columns) * lines_in_all > max_cells:
        raise DiffInfError(
            f"{path} has {lines_in_all:,} rows; with {len(columns)} columns "
            f"{max_cells // len(columns):,} are allowed."
        )
    rows, lines = [], []
    for line, cells in records:
        if any(cell.strip() for cell in cells):
            rows.append(cells)
            lines.append(line)
    width = _without_trailing(columns, rows, remarks)
    columns = columns[:width]
    _check_names(columns, path)
    bad = [
        (
            line,
            f"has {len(cells)} field{'' if len(cells) == 1 else 's'} where the header has {width}",
        )
        for line, cells in zip(lines, rows, strict=True)
        if len(cells) != width
    ]
    good = [i for i, cells in enumerate(rows) if len(cells) == width]
    return columns, [rows[i] for i in good], [lines[i] for i in good], bad, remarks


def _without_trailing(columns: list[str], rows: list[list[str]], remarks: list[str]) -> int:
    """How many columns there are, once empty fields at the end of every row are cut off its rows."""
    width = len(columns)
    while width > 1 and not columns[width - 1]:
        width -= 1
    lengths = {len(cells) for cells in rows}
    if len(lengths) == 1 and (longest := lengths.pop()) > width:
        if not any(cell.strip() for cells in rows for cell in cells[width:]):
            for cells in rows:
                del cells[width:]
            remarks.append(
                f"Every row ends in {'a separator' if longest == width + 1 else 'separators'} with nothing "
                "behind; that is no column."
            )
            return width
        return len(columns)
    return width if width == len(columns) or not lengths else len(columns)


def _check_names(columns: list[str], path: Path) -> None:
    for number, name in enumerate(columns, start=1):
        if not name:
            raise DiffInfError(f"Column {number} of {path} has no name.")
    name, times = Counter(columns).most_common(1)[0]
    if times > 1:
        raise DiffInfError(f"{path} has the column {shown(name)!r} twice.")


def _separator(text: str, path: Path, tabs: bool) -> str:
    """The separator under which most of the first rows fit the header; known columns settle it."""
    order = "\t,;|" if tabs else _SEPARATORS

    def fit(separator: str) -> tuple[int, float, int]:
        try:
            head, *rest = islice(_records(text, path, separator, False), _PROBE)
        except (DiffInfError, ValueError):
            return 0, 0.0, 0
        cells = [cell.strip().lower() for cell in head[1]]
        known = sum(cell in _TELLING for cell in cells)
        filled = [row for _, row in rest if any(row)]
        fitting = sum(len(row) == len(cells) for row in filled) / max(1, len(filled))
        return known, fitting, len(cells)

    fits = {separator: fit(separator) for separator in order}
    several = [s for s in order if fits[s][2] > 1] or [order[0]]
    return max(several, key=lambda s: fits[s])


def _records(text: str, path: Path, separator: str, named: bool) -> Iterator[_Record]:
    """(line, fields) of each row; blank lines included, a ``sep=`` line left out."""
    stream = io.StringIO(text, newline="")
    if named:
        stream.readline()
    header = text.split("\n", 2)[1 if named else 0]
    # "file, label": a quote after the space opens a quoted field, too
    spaced = header.count(separator) == header.count(separator + " ") > 0
    reader = csv.reader(stream, delimiter=separator, strict=True, skipinitialspace=spaced)
    before = 0
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DiffInfError(
                f"{path} cannot be read as CSV: row {before + 1 + named}: {shown(str(error)).rstrip('.')}."
            ) from error
        yield before + 1 + named, fields
        before = reader.line_num
