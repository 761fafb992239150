"""What this process has read of a journal: every reader of one place goes on where the last one stopped."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, select

from diffinf_core.review.checksum import verify
from diffinf_core.review.database import LINES, Database
from diffinf_core.review.history import History

#: journals that are kept in memory; one of 70,000 lines takes some 70 MB
_KEPT = 2
_readings: OrderedDict[tuple[str, str], Reading] = OrderedDict()
_lock = threading.Lock()
_CHECKSUM = list(LINES.c.keys()).index("checksum")


class Reading:
    """The lines of one run up to the last one read, and what they come to."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._history = History()
        self._last: Any = None
        #: the number of the line after which it was computed, and the :meth:`Journal.key`
        self.key: tuple[int, str] | None = None

    @contextmanager
    def up_to_date(self, connection: Connection, database: Database) -> Iterator[History]:
        """The history with all lines that are written by now, for one thread at a time.

        Lines never change. So where the last one that was read is not there any more as it was, another
        journal lies in this place, and all is read again.
        """
        with self.lock:
            rows = read_lines(connection, database, self._history.seen)
            if self._last is not None:
                if rows and tuple(rows[0]) == self._last:
                    rows = rows[1:]
                else:
                    self._forget()
                    rows = read_lines(connection, database, 0)
            verify(rows, self._last and self._last[_CHECKSUM], database.name)
            self._history.take(rows)
            if rows:
                self._last = tuple(rows[-1])
            yield self._history


def read_lines(connection: Connection, database: Database, start: int) -> Sequence[Any]:
    """The lines of a run from a number on, in order."""
    chosen = select(LINES).where(LINES.c.run == database.run, LINES.c.seq >= start)
    return connection.execute(chosen.order_by(LINES.c.seq)).all()


def reading_of(database: Database) -> Reading:
    """The reading that journals of the same place share."""
    place = (database.name, database.run)
    with _lock:
        reading = _readings.setdefault(place, Reading())
        _readings.move_to_end(place)
        while len(_readings) > _KEPT:
            _readings.popitem(last=False)
    return reading
