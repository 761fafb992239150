"""Where a journal under test lies: a file, or a private PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from diffinf_core.review.journal import Journal

CLASSES = ("happy", "sad")


@lru_cache(maxsize=4)
def _engine(url: str) -> sa.Engine:
    return sa.create_engine(url)


@dataclass(frozen=True)
class Place:
    """Where a journal lies, as a process can be told."""

    where: Path | str
    run: str

    def journal(self) -> Journal:
        """The journal there, opened anew."""
        return Journal(self.where, CLASSES, self.run)

    @property
    def arguments(self) -> list[str]:
        """For a process: "sqlite" or "postgresql", where, and the run."""
        kind = "sqlite" if isinstance(self.where, Path) else "postgresql"
        return [kind, str(self.where), self.run]

    def rows(self) -> list[tuple[Any, ...]]:
        """The journal as it is in the database, read without the class under test."""
        if isinstance(self.where, Path) and not self.where.exists():
            return []  # to look would make the file
        url = f"sqlite:///{self.where}" if isinstance(self.where, Path) else self.where
        columns = (
            "seq, time, reviewer, action, sample, version, new_label, comment, undoes, role, batch"
        )
        with _engine(url).connect() as connection:
            found = connection.execute(
                sa.text(f"SELECT {columns} FROM journal WHERE run = :run ORDER BY seq"),
                {"run": self.run},
            ).fetchall()
        return [tuple(row) for row in found]
