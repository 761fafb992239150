"""What this process has read of a journal: every reader of one place goes on where the last one stopped."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, select

from diffinf_core.review.database import LINES, Database
from diffinf_core.review.history import History

#: journals that are kept in memory; one of 70,000 lines takes some 70 MB
_KEPT = 2
_readings: OrderedDict[tuple[str, str], Reading] = OrderedDict()
_lock = threading.Lock()


class Reading:
    """The lines of one run up to the last one read, and what they come to."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._history = History()
        self._last: tuple[Any, ...] = ()
        #: the number of the line after which it was computed, and the :meth:`Journal.key`
        self.key: tuple[int, str] | None = None

    @contextmanager
    def up_to_date(self, connection: Connection, run: str) -> Iterator[History]:
        """The history with all lines that are written by now, for one thread at a time."""
        with self.lock:
            new = select(LINES).where(LINES.c.run == run, LINES.c.seq > self._history.seen)
            rows = connection.execute(new.order_by(LINES.c.seq)).all()
            self._history.take(rows)
            if rows:
                self._last = tuple(rows[-1])
            yield self._history

    def of(self, connection: Connection, run: str) -> bool:
        """Whether the last line read is in this database as it was read: no line is ever changed."""
        with self.lock:
            seen, last = self._history.seen, self._last
        here = select(LINES).where(LINES.c.run == run, LINES.c.seq == seen)
        return not seen or tuple(connection.execute(here).first() or ()) == last


def reading_of(database: Database, connection: Connection) -> Reading:
    """The reading that journals of the same place share; a new one where another file lies there now."""
    place = (database.name, database.run)
    with _lock:
        reading = _readings.get(place)
    if reading is None or not reading.of(connection, database.run):
        reading = Reading()
    with _lock:
        _readings[place] = reading
        _readings.move_to_end(place)
        while len(_readings) > _KEPT:
            _readings.popitem(last=False)
    return reading
