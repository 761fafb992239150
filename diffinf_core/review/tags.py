"""Free tags on samples, and saved views: kept with the decisions, written by any number of servers.

A tag is a fact about one sample, and what is written about one takes nothing from another, so servers
cannot overwrite each other's. A row is on disk before the call returns.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from diffinf_core.records import DiffInfError
from diffinf_core.review.journal import Journal, reviewer_name
from diffinf_core.review.tag_tables import TAGS, VIEWS

MAX_TAG, MAX_NAME, MAX_DEFINITION = 60, 80, 20_000


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _name(text: str, most: int, what: str) -> str:
    """A name on one line, as it is kept; :class:`DiffInfError` for one that cannot be."""
    name = " ".join(text.split())
    if not name:
        raise DiffInfError(f"Give the {what} a name.")
    if len(name) > most:
        raise DiffInfError(f"The name of a {what} has at most {most} characters, not {len(name)}.")
    if not name.isprintable():
        raise DiffInfError(f"The name of a {what} has characters that cannot be shown: {name!r}.")
    return name


@dataclass(frozen=True)
class Tagged:
    """The tags that stand: ``samples`` by tag, both in the order of their names; ``seq`` is the last row."""

    seq: int = 0
    samples: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def of(self, samples: Iterable[str]) -> list[list[str]]:
        """The tags of each sample."""
        return [[tag for tag, own in self.samples.items() if s in own] for s in samples]


@dataclass(frozen=True)
class SavedView:
    """A view that somebody saved under a name; ``definition`` is what the page made of it."""

    name: str
    reviewer: str
    time: str
    definition: Mapping[str, Any]


class Tags:
    """The tags and views of one run; threads may share it."""

    def __init__(self, journal: Journal) -> None:
        self._journal, self._run = journal, journal.database.run
        self._lock = threading.Lock()
        self._tagged, self._last = Tagged(), ()

    # ------------------------------------------------------------ tags

    def standing(self) -> Tagged:
        """The tags that stand now."""
        with self._journal.database.read() as connection:
            return self._up_to_date(connection)

    def _up_to_date(self, connection: Connection) -> Tagged:
        """Rows never change; where the last one read is not there any more, all are read again."""
        with self._lock:
            rows = self._rows(connection, self._tagged.seq)
            if self._last:
                if rows and tuple(rows[0]) == self._last:
                    rows = rows[1:]
                else:
                    self._tagged, self._last = Tagged(), ()
                    rows = self._rows(connection, 0)
            if rows:
                self._tagged, self._last = _after(self._tagged, rows), tuple(rows[-1])
            return self._tagged

    def _rows(self, connection: Connection, start: int) -> Sequence[Any]:
        chosen = select(TAGS).where(TAGS.c.run == self._run, TAGS.c.seq >= start)
        return connection.execute(chosen.order_by(TAGS.c.seq)).all()

    def put(self, samples: Iterable[str], tag: str, reviewer: str, present: bool = True) -> int:
        """Tag samples, or with ``present`` False take the tag off them; how many it changes."""
        name, who = _name(tag, MAX_TAG, "tag"), reviewer_name(reviewer)
        with self._journal.written("The tag") as connection:
            having = self._up_to_date(connection).samples.get(name, frozenset())
            changed = [s for s in dict.fromkeys(samples) if (s in having) != present]
            row = {"run": self._run, "time": _now(), "reviewer": who, "tag": name}
            if changed:
                rows = [{**row, "sample": s, "present": int(present)} for s in changed]
                connection.execute(insert(TAGS), rows)
        return len(changed)

    # ------------------------------------------------------------ views

    def views(self) -> dict[str, SavedView]:
        """The saved views by name, in the order of their names."""
        with self._journal.database.read() as connection:
            return self._views(connection)

    def _views(self, connection: Connection) -> dict[str, SavedView]:
        chosen = select(VIEWS).where(VIEWS.c.run == self._run).order_by(VIEWS.c.seq)
        last = {row.name: row for row in connection.execute(chosen)}
        return {
            name: SavedView(name, row.reviewer, row.time, json.loads(row.definition))
            for name, row in sorted(last.items())
            if row.definition is not None
        }

    def save_view(self, name: str, definition: Mapping[str, Any], reviewer: str) -> str:
        """Save a view, in the place of an own one of that name; the name as it is kept.

        Raises :class:`DiffInfError` where the name belongs to a view of somebody else.
        """
        text = json.dumps(definition, ensure_ascii=False, sort_keys=True)
        if len(text) > MAX_DEFINITION:
            raise DiffInfError(
                f"A view takes at most {MAX_DEFINITION:,} characters; filter by a tag."
            )
        return self._write_view(_name(name, MAX_NAME, "view"), text, reviewer)

    def remove_view(self, name: str, reviewer: str) -> None:
        """Remove an own view; :class:`DiffInfError` where there is none of that name."""
        self._write_view(_name(name, MAX_NAME, "view"), None, reviewer)

    def _write_view(self, name: str, definition: str | None, reviewer: str) -> str:
        who = reviewer_name(reviewer)
        with self._journal.written("The view") as connection:
            known = self._views(connection).get(name)
            if known is not None and known.reviewer != who:
                raise DiffInfError(
                    f"{known.reviewer} saved a view under the name {name!r}; choose another name."
                )
            if known is None and definition is None:
                raise DiffInfError(f"There is no view {name!r}.")
            row = {"run": self._run, "time": _now(), "reviewer": who, "name": name}
            connection.execute(insert(VIEWS), [{**row, "definition": definition}])
        return name


def _after(before: Tagged, rows: Sequence[Any]) -> Tagged:
    """What stands after more rows."""
    changed: dict[str, set[str]] = {}
    for row in rows:
        own = changed.setdefault(row.tag, set(before.samples.get(row.tag, ())))
        own.add(row.sample) if row.present else own.discard(row.sample)
    merged = {**before.samples, **{tag: frozenset(own) for tag, own in changed.items()}}
    standing = {tag: own for tag, own in sorted(merged.items()) if own}
    return Tagged(rows[-1].seq, standing)
