"""Rows of a data set out of its table of labels: columns chosen, names matched to files, splits read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from diffinf_core.config import DataConfig
from diffinf_core.data.names import FileNames
from diffinf_core.data.rows import Problem, Row, inside, is_file
from diffinf_core.data.split import split_named
from diffinf_core.data.table import Table, column_of, read_table
from diffinf_core.data.text import MAX_CELL, MAX_FILE_NAME, MAX_LABEL, alike, bad_text, shown
from diffinf_core.records import DiffInfError

#: columns that are taken for the file's name where data.file_column does not say which
FILE_COLUMNS = ("file", "file_name", "filename", "path")


@dataclass(frozen=True)
class TableRows:
    """What a table gives: rows, problems, pictures without a row, and remarks, a sentence each."""

    rows: list[Row]
    problems: list[Problem]
    unlabelled: int
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Columns:
    """The columns that have a meaning."""

    file: str
    label: str
    group: str | None
    split: str | None


def rows_of_table(
    root: Path, path: Path, config: DataConfig, present: set[str], outside: bool = False
) -> TableRows:
    """The rows of a table; ``present`` are the folder's pictures, ``outside`` as in :func:`inside`.

    A bad row is a problem. Raises :class:`DiffInfError` for a table that cannot be used at all.
    """
    table = read_table(path, config.encoding)
    columns, remarks = _columns(table, path, config)
    names, rows, seen = FileNames(root, present), [], dict[str, int]()
    problems = [Problem(line, path.name, reason) for line, reason in table.bad]
    others = [c for c in table.rows.columns if c not in (columns.file, columns.label)]
    # one column after the other: a dict of every row at once would be the largest thing in memory
    cells = {c: table.rows[c].tolist() for c in table.rows.columns}
    for at, line in enumerate(table.rows.index.tolist()):
        record = {c: cells[c][at] for c in cells}
        name, label = record[columns.file].strip(), record[columns.label].strip()
        reason, file = _reason(name, label, record, columns, config), ""
        if not reason:
            file, reason = _file_of(name, names, root, outside)
        if not reason:
            row = Row(file, label, {c: record[c] for c in others}, _split(record, columns))
            first = seen.setdefault(row.id, line)
            if first != line:
                reason = f"named twice, first in row {first}"
        if reason:
            problems.append(Problem(line, name or "(empty)", reason))
        else:
            rows.append(row)
    remarks += [
        f"{n:,} names of {path.name} differ from their files' by {what} and were matched."
        for what, n in names.matched.items()
    ]
    remarks += [
        f"Classes {' and '.join(repr(shown(name)) for name in group)} differ by case or space alone; make "
        "them one if they are."
        for group in alike(row.label for row in rows)
    ]
    problems.sort(key=lambda problem: problem.row or 0)
    # Pictures in other folders, such as masks, are not meant to be labelled.
    files = {row.file for row in rows}
    homes = {file.rpartition("/")[0] for file in files}
    unlabelled = sum(name.rpartition("/")[0] in homes for name in present - files)
    return TableRows(rows, problems, unlabelled, tuple(remarks))


def _columns(table: Table, path: Path, config: DataConfig) -> tuple[_Columns, list[str]]:
    remarks, there = list(table.remarks), table.rows
    wanted = (config.file_column,) if config.file_column else FILE_COLUMNS
    file = column_of(there, wanted, path, "data.file_column")
    also = [c for c in FILE_COLUMNS if c in there.columns and c != file]
    if also and not config.file_column:
        remarks.append(
            f"The column {file!r} is taken for the file; data.file_column={also[0]} takes the other."
        )
    label = column_of(there, (config.label_column,), path, "data.label_column")
    if label == file:
        raise DiffInfError(f"{path}: the column {file!r} cannot be both the file and the label.")
    group = config.group_column
    if group is not None:
        group = column_of(there, (group,), path, "data.group_column")
    split = config.split_column
    if split is not None:
        split = column_of(there, (split,), path, "data.split_column")
        if split in (file, label):
            raise DiffInfError(f"data.split_column: {split!r} is the file or the label.")
    else:
        for column in there.columns:
            if column in (file, label) or not len(there):
                continue
            values = set(there[column].head(1000).str.strip())
            if len(values) > 1 and all(split_named(value) for value in values):
                remarks.append(
                    f"The column {shown(column)!r} names splits ({', '.join(sorted(values))}) and is not "
                    f"used; data.split_column={shown(column)} honours it."
                )
    return _Columns(file, label, group, split), remarks


def _file_of(name: str, names: FileNames, root: Path, outside: bool) -> tuple[str, str]:
    """The file that a name means, relative to the folder, and else the reason for which there is none."""
    own = names.own(name)
    if own is None or inside(root, own, outside) is None:
        other = names.find(name) if own is None else None
        return (other, "") if other else ("", "lies outside the data folder")
    if own in names.present or is_file(root / own):
        return own, ""
    other = names.find(name)
    return (other, "") if other else ("", names.why_not(name))


def _reason(
    name: str, label: str, record: Mapping[str, str], columns: _Columns, config: DataConfig
) -> str:
    """What is wrong with the cells of a row, apart from its file; empty if nothing is."""
    if not name:
        return "the file name is empty"
    if wrong := bad_text(name, MAX_FILE_NAME):
        return f"the file name {wrong}"
    if not label:
        return "the label is empty"
    if wrong := bad_text(label, MAX_LABEL):
        return f"the label {wrong}"
    if config.classes and label not in config.classes:
        return f"label {label!r} is not one of {', '.join(config.classes)}"
    if columns.group and not record[columns.group].strip():
        return f"the column {columns.group!r} is empty"
    if columns.split and not _split(record, columns):
        return f"the split {shown(record[columns.split])!r} is none of train, val and test"
    for column, cell in record.items():
        if len(cell) > MAX_CELL:
            return f"the cell in column {column!r} is longer than {MAX_CELL} characters"
    return ""


def _split(record: Mapping[str, str], columns: _Columns) -> str:
    return (split_named(record[columns.split]) or "") if columns.split else ""
