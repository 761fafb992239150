"""Pictures and a table that names their labels."""

from __future__ import annotations

from pathlib import Path

from diffinf_core.config import DataConfig
from diffinf_core.data.folder import Listing, inside
from diffinf_core.data.sources.base import Source
from diffinf_core.data.table import table_path
from diffinf_core.data.table_rows import rows_of_table
from diffinf_core.records import DiffInfError


class Table(Source):
    """A folder with a table of labels, ``data.labels``: a row per picture, any further columns."""

    name = "table"
    about = "a table that names a file and its label in each row"

    @classmethod
    def recognises(cls, config: DataConfig) -> bool:
        """A folder that holds the table."""
        return config.path is not None and table_path(config.path, config.labels).exists()

    def read(self) -> Listing:
        """See :meth:`Source.read`."""
        contents, table = self.walk(), table_path(self.root, self.config.labels)
        if not table.exists():
            raise DiffInfError(f"{self.root} holds no table {self.config.labels}.")
        if inside(self.root, str(table.relative_to(self.root))) is None:
            raise DiffInfError(f"{table} lies outside the data folder; put the table itself there.")
        present = set(contents.pictures)
        read = rows_of_table(self.root, table, self.config, present, self.config.outside_links)
        return self.listing(
            read.rows,
            read.problems,
            read.unlabelled,
            f"the table {table.name}",
            contents,
            read.remarks,
        )

    def tables(self) -> list[Path]:
        """The table."""
        return [table_path(self.root, self.config.labels)]
