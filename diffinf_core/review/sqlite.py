"""A journal as an SQLite file: reading never makes it, and no other file is ever taken for it.

SQLite goes on writing to a file that was removed or replaced under it, and reports success. So the file in
its place is compared with the one that is open, before and after every write. A journal that may only be read
is read from a private copy, because SQLite itself wants to write beside it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

from diffinf_core.runs.scratch import scratch_folder

#: bytes of the smallest first page of an SQLite file
_FIRST_PAGE = 512
#: seconds to wait for others who write, and between two attempts where SQLite does not wait itself
_PATIENCE, _PAUSE = 10, 0.01
#: attempts at a copy to which nobody writes meanwhile
_ATTEMPTS = 5


def _tune(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where _begin says so
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={1000 * _PATIENCE}")
    _log_ahead(cursor)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _log_ahead(cursor: Any) -> None:
    """Have a file write ahead; SQLite itself does not wait for another process that does the same now."""
    end = time.monotonic() + _PATIENCE
    while cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(_PAUSE)


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _engine(file: Path) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(file)))
    event.listen(engine, "connect", _tune)
    event.listen(engine, "begin", _begin)
    return engine


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def _identity(file: Path) -> tuple[int, ...]:
    """Which file lies here, with its write-ahead log; changes where one of them is removed or replaced."""
    out: list[int] = []
    for path in (file, _log_of(file)):
        try:
            found = path.stat()
            out += [found.st_dev, found.st_ino]
        except OSError:
            out += [0, 0]
    return tuple(out)


def _version(file: Path) -> tuple[int, ...]:
    """Changes with what is written to the file or its log."""
    out: list[int] = []
    for path in (file, _log_of(file)):
        try:
            found = path.stat()
            out += [found.st_ino, found.st_size, found.st_mtime_ns]
        except OSError:
            out += [0, 0, 0]
    return tuple(out)


def _is_whole(file: Path) -> bool:
    """Whether a file has the first page that every journal has; one that was emptied in its place has not.

    It is not opened: closing it would give up every lock that SQLite holds on it in this process.
    """
    try:
        return file.stat().st_size >= _FIRST_PAGE
    except OSError:
        return False


def _writable(file: Path) -> bool:
    return all(os.access(path, os.W_OK) for path in (file, file.parent))


class SqliteFile:
    """The file of one journal, opened when it is asked for; without ``path`` it is always empty.

    ``prepare(engine)`` makes the tables what they should be, each time that a file is opened. With
    ``only_read`` that happens to a copy, as it does where the file may not be written.
    """

    def __init__(
        self, path: Path | None, prepare: Callable[[Engine], None], only_read: bool = False
    ) -> None:
        self.path, self._prepare, self._only_read = path, prepare, only_read
        self._lock = threading.RLock()
        self._opened: Engine | None = None
        self._known: tuple[int, ...] = ()
        self._copies: tempfile.TemporaryDirectory[str] | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a file."""
        return self.path is not None and self.path.exists()

    @property
    def read_only(self) -> bool:
        """Whether the file is there and nothing may be written to it."""
        if self.path is None or self._only_read:
            return True
        return self.exists and not _writable(self.path)

    def unchanged(self) -> bool:
        """Whether the file that is open is still the one in its place."""
        assert self.path is not None
        stamp = _version if self._copies is not None else _identity
        return self._known == stamp(self.path)

    def to_write(self) -> tuple[Engine, tuple[int, ...]]:
        """An engine on the file, made where there is none, and what :meth:`holds` compares afterwards."""
        with self._lock:
            return self.engine(create=True), self._known

    def holds(self, known: tuple[int, ...]) -> bool:
        """Whether the file that a write began on is still the one in its place.

        The write keeps ``known`` for itself: another thread may open the file of another day meanwhile.
        """
        assert self.path is not None
        return known == _identity(self.path) and _is_whole(self.path)

    def engine(self, create: bool = False) -> Engine:
        """An engine on the file that is there now; on nothing where it is missing and not to be made."""
        with self._lock:
            if self._opened is not None and self.exists and self.unchanged():
                return self._opened
            self.close()
            if not self.exists and not create:
                return self._nothing()
            assert self.path is not None
            if self.read_only:
                engine = _engine(self._copied())
                self._prepare(engine)
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                engine = _engine(self.path)
                self._prepare(engine)
                # a connection that stays open keeps SQLite from removing the log, which is a file of its own
                engine.connect().close()
                self._known = _identity(self.path)
            self._opened = engine
            return engine

    def _nothing(self) -> Engine:
        engine = create_engine("sqlite://", poolclass=StaticPool)
        self._prepare(engine)
        return engine

    def _copied(self) -> Path:
        """A private copy of the file and its log, as they are at one moment."""
        assert self.path is not None
        if self._copies is None:
            self._copies = scratch_folder()
            atexit.register(self._copies.cleanup)
        copy = Path(self._copies.name) / self.path.name
        for _ in range(_ATTEMPTS):
            self._known = _version(self.path)
            shutil.copyfile(self.path, copy)
            _log_of(copy).unlink(missing_ok=True)
            if _log_of(self.path).exists():
                shutil.copyfile(_log_of(self.path), _log_of(copy))
            if self._known == _version(self.path):
                break
        return copy

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._opened is not None:
                self._opened.dispose()
            self._opened, self._known = None, ()
            if self._copies is not None:
                self._copies.cleanup()
                self._copies = None
