"""The append-only journal of decisions.

Nothing is ever changed or removed: an undo is one more line that names the line it takes back. The
state of the review is what the journal says when read from the start. Each line is on disk before
the call returns (SQLite in WAL mode with full synchronisation), so a kill loses no decision that
was acknowledged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    select,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.schema import CreateTable

from diffinf_core.records import ACTIONS, Decision, DiffInfError
from diffinf_core.store import digest

_meta = MetaData()
_lines = Table(
    "journal",
    _meta,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("time", String(40), nullable=False),
    Column("reviewer", String(80), nullable=False),
    Column("action", String(20), nullable=False),
    Column("sample", String(12)),
    Column("version", String(16)),
    Column("new_label", Text),
    Column("comment", Text, nullable=False),
    Column("undoes", Integer),
)
_UNDO, _REDO = "undo", "redo"
MAX_COMMENT = 2000


def _tune(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _name(reviewer: str) -> str:
    return reviewer[:80] or "anonymous"


class Journal:
    """Decisions of one run, shared by threads and processes."""

    def __init__(self, file: Path, classes: Sequence[str]) -> None:
        self.file, self.classes = file, tuple(classes)
        file.parent.mkdir(parents=True, exist_ok=True)
        self._engine = create_engine(f"sqlite:///{file}")
        event.listen(self._engine, "connect", _tune)
        try:
            with self._engine.begin() as connection:
                connection.execute(CreateTable(_lines, if_not_exists=True))
        except SQLAlchemyError as error:
            raise DiffInfError(
                f"The journal {file} cannot be opened; it is damaged or not a journal."
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def _append(self, **values: Any) -> int:
        values |= {"time": datetime.now(UTC).isoformat(timespec="milliseconds")}
        try:
            with self._engine.begin() as connection:
                key = connection.execute(insert(_lines).values(**values)).inserted_primary_key
        except SQLAlchemyError as error:
            raise DiffInfError(
                f"The decision could not be written to {self.file}; it was not taken."
            ) from error
        assert key is not None
        return int(key[0])

    def decide(
        self,
        sample: str,
        action: str,
        reviewer: str,
        version: str | None = None,
        new_label: str | None = None,
        comment: str = "",
    ) -> int:
        """Write a decision; returns its line number. A later one replaces an earlier one."""
        if action not in ACTIONS:
            raise DiffInfError(f"Unknown decision {action!r}; choose one of {', '.join(ACTIONS)}.")
        if action == "accept" and not version:
            raise DiffInfError("Accepting needs the version of the edit.")
        if action == "relabel" and new_label not in self.classes:
            raise DiffInfError(
                f"{new_label!r} is not a class; choose one of {', '.join(self.classes)}."
            )
        return self._append(
            reviewer=_name(reviewer),
            action=action,
            sample=sample,
            version=version if action == "accept" else None,
            new_label=new_label if action == "relabel" else None,
            comment=comment[:MAX_COMMENT],
        )

    def _rows(self) -> list[Any]:
        try:
            with self._engine.connect() as connection:
                return list(connection.execute(select(_lines).order_by(_lines.c.seq)))
        except SQLAlchemyError as error:
            raise DiffInfError(
                f"The journal {self.file} cannot be read; it is damaged. Put a copy in its place."
            ) from error

    @staticmethod
    def _undone(rows: Iterable[Any]) -> set[int]:
        undone: set[int] = set()
        for row in rows:
            if row.action == _UNDO:
                undone.add(row.undoes)
            elif row.action == _REDO:
                undone.discard(row.undoes)
        return undone

    def undo(self, reviewer: str) -> str | None:
        """Take back this reviewer's last standing decision; returns its sample, None if there is none."""
        reviewer = _name(reviewer)
        rows = self._rows()
        undone = self._undone(rows)
        for row in reversed(rows):
            if row.action in ACTIONS and row.reviewer == reviewer and row.seq not in undone:
                self._append(reviewer=reviewer, action=_UNDO, undoes=row.seq, comment="")
                return str(row.sample)
        return None

    def redo(self, reviewer: str) -> str | None:
        """Bring back what :meth:`undo` took last, unless a new decision was made since."""
        reviewer = _name(reviewer)
        rows = self._rows()
        undone = self._undone(rows)
        by_seq = {row.seq: row for row in rows}
        for row in reversed(rows):
            if row.reviewer != reviewer:
                continue
            if row.action in ACTIONS and row.seq not in undone:
                return None
            if row.action == _UNDO and row.undoes in undone:
                self._append(reviewer=reviewer, action=_REDO, undoes=row.undoes, comment="")
                return str(by_seq[row.undoes].sample)
        return None

    def decisions(self) -> dict[str, Decision]:
        """The standing decision of each decided sample."""
        rows = self._rows()
        undone = self._undone(rows)
        out: dict[str, Decision] = {}
        for row in rows:
            if row.action not in ACTIONS or row.seq in undone:
                continue
            out.pop(row.sample, None)  # the order of the dict is the order of the decisions
            out[row.sample] = Decision(
                sample=row.sample,
                action=row.action,
                reviewer=row.reviewer,
                time=row.time,
                version=row.version,
                new_label=row.new_label,
                comment=row.comment,
            )
        return out

    def key(self) -> str:
        """A hash of what the standing decisions do to the data set, whoever made them.

        Decisions that leave a sample as it is (reject, keep, second look) do not count.
        """
        standing = {
            s: [d.action, d.version, d.new_label]
            for s, d in sorted(self.decisions().items())
            if d.action in ("accept", "relabel", "drop")
        }
        return digest(standing)
