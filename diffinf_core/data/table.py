"""Read an untrusted table of labels: CSV, TSV, JSON lines or Parquet; bounded in size, every cell as text.

Nothing is guessed silently and nothing is padded or cut: a row whose fields do not fit the header is
returned as bad, with its line.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from diffinf_core.data.table_text import decoded, read_separated
from diffinf_core.data.text import MAX_LABEL, bad_text, shown
from diffinf_core.records import DiffInfError

#: limits far beyond any real data set, so that a hostile one cannot exhaust the memory
MAX_TABLE_BYTES = 256_000_000
MAX_COLUMNS, MAX_CELLS = 500, 50_000_000
#: other suffixes under which the default table, labels.csv, is looked for
_SUFFIXES = (".tsv", ".parquet", ".jsonl")


@dataclass(frozen=True)
class Table:
    """A table as text; the index of ``rows`` holds line numbers (of Parquet, rows from 1).

    ``bad`` are rows left out of it, with their line and the reason; ``remarks`` say what was made of
    the file's form, a sentence each.
    """

    rows: pd.DataFrame
    bad: list[tuple[int, str]] = field(default_factory=list)
    remarks: tuple[str, ...] = ()


def table_path(root: Path, labels: str, default: str = "labels.csv") -> Path:
    """Where the table of labels lies, there or not: the default one also as TSV, Parquet or JSON lines.

    Raises :class:`DiffInfError` where several could be meant.
    """
    given = root / labels
    if labels != default or given.exists():
        return given
    there = [file for suffix in _SUFFIXES if (file := given.with_suffix(suffix)).exists()]
    if len(there) > 1:
        names = " and ".join(file.name for file in there)
        raise DiffInfError(f"{root} holds {names}; say which with data.labels.")
    return there[0] if there else given


def read_table(path: Path, encoding: str | None = None) -> Table:
    """The table, its form found out from its content and suffix.

    ``encoding`` is that of a text file; None takes UTF-8, or what a byte-order mark says.
    :class:`DiffInfError` for a table that cannot be used, in one sentence that names the line.
    """
    try:
        size = path.stat().st_size
        if size > MAX_TABLE_BYTES:
            raise DiffInfError(
                f"{path} has {size:,} bytes; a table of labels may have {MAX_TABLE_BYTES:,} at most."
            )
        with open(path, "rb") as file:
            parquet = file.read(4) == b"PAR1"
        if parquet or path.suffix.lower() in (".parquet", ".pq"):
            table = _parquet(path)
        elif path.suffix.lower() in (".jsonl", ".ndjson"):
            table = _json_lines(path, decoded(path.read_bytes(), path, encoding))
        else:
            text = decoded(path.read_bytes(), path, encoding)
            tabs = path.suffix.lower() in (".tsv", ".tab")
            columns, rows, lines, bad, remarks = read_separated(
                text, path, tabs, MAX_COLUMNS, MAX_CELLS
            )
            table = Table(_frame(columns, rows, lines), bad, tuple(remarks))
    except OSError as error:
        raise DiffInfError(f"{path} cannot be read: {error.strerror or error}.") from error
    for column in table.rows.columns:
        reason = bad_text(column, MAX_LABEL)
        if reason:
            raise DiffInfError(f"The column {shown(column)!r} of {path} {reason}.")
    return table


def column_of(table: pd.DataFrame, names: Sequence[str], path: Path, option: str) -> str:
    """The column called by one of ``names``, the first that is there, in any case where that is unique.

    Raises :class:`DiffInfError` that lists the columns and names the ``option`` that chooses one.
    """
    columns = [str(c) for c in table.columns]
    for name in names:
        if name in columns:
            return name
    folded = [c for name in names for c in columns if c.strip().casefold() == name.casefold()]
    if len(set(folded)) == 1:
        return folded[0]
    close = difflib.get_close_matches(names[0], columns, 1, 0.75)
    hint = (
        f"; did you mean {shown(close[0])!r}? {option} chooses" if close else f"; {option} chooses"
    )
    listed = ", ".join(map(shown, columns[:20])) + (", ..." if len(columns) > 20 else "")
    raise DiffInfError(
        f"{path} has no column {names[0]!r}; its columns are {listed}{hint} another one."
    )


def _frame(columns: list[str], rows: list[list[str]], lines: list[int]) -> pd.DataFrame:
    return pd.DataFrame(rows, index=lines, columns=columns, dtype=str)


def _parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        about = file.metadata
        unpacked = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        if len(file.schema_arrow) > MAX_COLUMNS:
            raise DiffInfError(
                f"{path} has {len(file.schema_arrow)} columns; {MAX_COLUMNS} are allowed."
            )
        if about.num_rows * len(file.schema_arrow) > MAX_CELLS or unpacked > 4 * MAX_TABLE_BYTES:
            raise DiffInfError(
                f"{path} has {about.num_rows:,} rows in {unpacked:,} bytes; that is too large for a table "
                "of labels."
            )
        whole = file.read()
    except (pa.ArrowException, OSError) as error:
        raise DiffInfError(f"{path} cannot be read as Parquet: {_first_line(error)}.") from error
    columns = {}
    for name in whole.column_names:
        if name in columns:
            raise DiffInfError(f"{path} has the column {shown(name)!r} twice.")
        try:
            cells = pc.fill_null(pc.cast(whole[name], pa.string()), "")
        except pa.ArrowException as error:
            raise DiffInfError(
                f"The column {shown(name)!r} of {path} holds {whole[name].type} values, which are no text; "
                "leave it out."
            ) from error
        columns[name] = cells.to_pandas()
    rows = pd.DataFrame(columns, dtype=str)
    rows.index = pd.RangeIndex(1, len(rows) + 1)
    return Table(rows)


def _json_lines(path: Path, text: str) -> Table:
    columns: dict[str, None] = {}
    records, lines = [], []
    bad: list[tuple[int, str]] = []
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            # numbers as they stand: 1.0 is another class than 1
            record = json.loads(content, object_pairs_hook=_once, parse_float=str, parse_int=str)
            if not isinstance(record, dict):
                raise ValueError("it is no object")
            cells = {key: _as_text(key, value) for key, value in record.items()}
        except (ValueError, RecursionError) as error:
            bad.append((line, f"cannot be read as JSON: {_first_line(error)}"))
            continue
        columns |= dict.fromkeys(cells)
        records.append(cells)
        lines.append(line)
        if len(columns) > MAX_COLUMNS:
            raise DiffInfError(f"{path} has more than {MAX_COLUMNS} columns.")
        if len(columns) * len(records) > MAX_CELLS:
            raise DiffInfError(
                f"{path} has more than {line:,} rows; with {len(columns)} columns "
                f"{MAX_CELLS // len(columns):,} are allowed."
            )
    if not records:
        line, why = bad[0] if bad else (0, "")
        raise DiffInfError(f"{path}: row {line} {why}." if bad else f"{path} is empty.")
    names = list(columns)
    return Table(_frame(names, [[r.get(c, "") for c in names] for r in records], lines), bad)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        raise ValueError("a name stands in it twice")
    return out


def _as_text(key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        raise ValueError(f"{shown(key)!r} holds several values")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return shown(lines[0]).rstrip(".") if lines else type(error).__name__
