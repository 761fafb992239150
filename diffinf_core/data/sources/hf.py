"""A Hugging Face imagefolder: ``metadata.csv`` (or .jsonl, .parquet) that names each picture's columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from diffinf_core.config import DataConfig
from diffinf_core.data.folder import Listing
from diffinf_core.data.rows import Problem, Row
from diffinf_core.data.sources.base import Source
from diffinf_core.data.sources.folders import ClassFolders
from diffinf_core.data.split import split_named
from diffinf_core.data.table_rows import rows_of_table
from diffinf_core.records import DiffInfError

#: what the datasets library calls the table
TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def _tables(root: Path) -> Iterator[tuple[str, Path]]:
    """(prefix, table) of the root, or of each split folder; the prefix ends in a slash where there is one."""
    for folder in [root, *sorted(p for p in root.iterdir() if p.is_dir() and split_named(p.name))]:
        for name in TABLES:
            if (folder / name).is_file():
                yield ("" if folder == root else f"{folder.name}/"), folder / name


def label_tables(root: Path) -> list[Path]:
    """The ``metadata`` tables of a folder, none where there is no folder."""
    return [table for _, table in _tables(root)] if root.is_dir() else []


class ImageFolder(Source):
    """What ``datasets.load_dataset("imagefolder")`` opens: ``metadata`` tables, or folders of classes alone.

    ``file_name`` is relative to the table; a table in ``train/`` is about that split.
    """

    name = "hf"
    about = "Hugging Face imagefolder: metadata.csv, .jsonl or .parquet with file_name, or class folders"

    @classmethod
    def recognises(cls, config: DataConfig) -> bool:
        """A folder that holds a ``metadata`` table, or whose split folders do."""
        return config.path is not None and config.path.is_dir() and any(_tables(config.path))

    def read(self) -> Listing:
        """See :meth:`Source.read`."""
        if not self.root.is_dir() or not (tables := list(_tables(self.root))):
            return ClassFolders(self.config).read()
        contents = self.walk()
        rows: list[Row] = []
        problems: list[Problem] = []
        unlabelled, remarks = 0, list[str]()
        for prefix, table in tables:
            if not table.resolve().is_relative_to(self.root.resolve()):
                raise DiffInfError(
                    f"{table} lies outside the data folder; put the table itself there."
                )
            inner = {n[len(prefix) :] for n in contents.pictures if n.startswith(prefix)}
            read = rows_of_table(table.parent, table, self.config, inner, self.config.outside_links)
            part = split_named(prefix.rstrip("/")) or ""
            rows += [self._placed(row, prefix, part) for row in read.rows]
            problems += [replace(p, file=prefix + p.file) for p in read.problems]
            unlabelled += read.unlabelled
            remarks += read.remarks
        names = ", ".join(prefix + table.name for prefix, table in tables)
        return self.listing(
            rows,
            problems,
            unlabelled,
            f"a Hugging Face imagefolder with {names}",
            contents,
            tuple(remarks),
        )

    @staticmethod
    def _placed(row: Row, prefix: str, part: str) -> Row:
        """A row by its name in the data folder, in the split that its folder or its table names."""
        if not part:
            first, _, rest = row.file.partition("/")
            part = (split_named(first) or "") if rest else ""
        return replace(row, file=prefix + row.file, split=row.split or part)

    def tables(self) -> list[Path]:
        """The ``metadata`` tables."""
        return label_tables(self.root)
