"""Where a review is kept: one SQLite file per run, or one PostgreSQL database for many runs.

Whoever writes holds a lock on the run from before reading until after the commit. So what is written
follows from what is there, and line numbers become visible in order: a reader that has seen a line has
seen all before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Dialect,
    Engine,
    Executable,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    inspect,
    make_url,
    text,
)
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.schema import CreateColumn, CreateTable

from diffinf_core.records import DiffInfError
from diffinf_core.review.clock import boot_clock, boot_seconds
from diffinf_core.review.sqlite import SqliteFile
from diffinf_core.review.tag_tables import TAGS, VIEWS
from diffinf_core.runs.extras import optional_imports

#: the environment variable that names a PostgreSQL database
STORE = "DIFFINF_STORE"
_FORM = "postgresql+psycopg://user:password@host/database"

_meta = MetaData()
#: one line per act; nothing in it is ever changed or removed
LINES = Table(
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
    # the columns from here on came later: a journal without them gets them when it is opened
    Column("run", String(32), nullable=False, server_default=""),
    Column("batch", String(32)),
    Column("role", String(12), nullable=False, server_default="decide"),
    Column("client", String(64)),
    # the last line about the sample that the person saw; NULL where nobody looked at it alone
    Column("seen", Integer),
    # whether the person saw more than the pictures; NULL where nobody looked, and in earlier lines
    Column("mode", String(8)),
    # of the line and of the one before it; NULL in lines of earlier versions
    Column("checksum", String(16)),
)
Index("journal_of_run", LINES.c.run, LINES.c.seq)
Index("journal_once", LINES.c.run, LINES.c.client, unique=True)
_FIRST = (
    "seq",
    "time",
    "reviewer",
    "action",
    "sample",
    "version",
    "new_label",
    "comment",
    "undoes",
)

#: who looks at what until when, in seconds of a clock; one of another boot, or in the far future, has ended
LEASES = Table(
    "lease",
    _meta,
    Column("run", String(32), primary_key=True),
    Column("sample", String(12), primary_key=True),
    Column("reviewer", String(80), nullable=False),
    Column("until", Float(53), nullable=False),
    Column("seconds", Float(53), nullable=False, server_default="0"),
    Column("clock", String(40), nullable=False, server_default=""),
)

#: all of them; those that a journal lacks are made when it is opened
_TABLES = (LINES, LEASES, TAGS, VIEWS)

# A server may be configured to acknowledge before a line is on disk; ours must not be.
_LOCK = text(
    "SELECT pg_advisory_xact_lock(:key), set_config('synchronous_commit', CASE"
    " current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
    " ELSE current_setting('synchronous_commit') END, true)"
)


def _parse(url: str) -> URL:
    """The URL of a PostgreSQL; what cannot be read is not repeated, as it may hold a password."""
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        found = None
    if found is None or found.drivername not in ("postgresql", "postgresql+psycopg"):
        raise DiffInfError(f"{STORE} cannot be read; write {_FORM}.")
    if url.count("@") > 1:
        raise DiffInfError(f"{STORE} has more than one @; write one in a password as %40.")
    if not found.database:
        raise DiffInfError(f"{STORE} names no database; write {_FORM}.")
    return found.set(drivername="postgresql+psycopg")


class Database:
    """The tables of one run's review, shared by threads and processes.

    ``where`` is a file for SQLite, None for a review that nobody has begun, or the URL of a PostgreSQL, where
    ``run`` keeps runs apart. A file is made by the first write; until then it reads as empty. With
    ``only_read`` it stays byte for byte as it is, also one of an earlier version without today's columns.
    """

    def __init__(self, where: Path | str | None, run: str = "", only_read: bool = False) -> None:
        self.run = run
        self._secrets: list[str] = []
        self._file: SqliteFile | None = None
        self._server: Engine | None = None
        if where is None or isinstance(where, Path):
            self.name = str(where or "of nobody's decisions")
            self._file = SqliteFile(where, self._prepare, only_read)
            if self._file.exists:
                self._engine()  # what is wrong with it is said now
            return
        url = _parse(where)
        self.name = f"{url.host or url.query.get('host', 'localhost')}/{url.database}"
        self._secrets = [str(s) for s in (url.password, url.query.get("password")) if s]
        with optional_imports():
            self._server = create_engine(
                url,
                pool_pre_ping=True,
                isolation_level="READ COMMITTED",
                connect_args={"connect_timeout": 10},
            )
        self._prepare(self._server)

    def _engine(self) -> Engine:
        if self._server is not None:
            return self._server
        assert self._file is not None
        return self._file.engine()

    @property
    def _shared(self) -> bool:
        return self._server is not None

    @property
    def remedy(self) -> str:
        """How to get lines back that are gone, as the beginning of a sentence."""
        if self._shared:
            return "Restore the table 'journal' from a backup of the database"
        return "Put a copy of it back, without files ending in -wal or -shm beside it"

    @property
    def exists(self) -> bool:
        """Whether the place is there; of a server only it can say."""
        return self._file is None or self._file.exists

    @property
    def read_only(self) -> bool:
        """Whether the database is a file to which nothing may be written."""
        return self._file is not None and self._file.read_only

    def close(self) -> None:
        """Let go of the file or the server."""
        if self._server is not None:
            self._server.dispose()
        elif self._file is not None:
            self._file.close()

    def _reason(self, error: SQLAlchemyError) -> str:
        """What the server says, without the password."""
        lines = str(getattr(error, "orig", None) or error).strip().splitlines()
        reason = lines[0].rstrip(".") if lines else "no reason given"
        for secret in self._secrets:
            reason = reason.replace(secret, "***")
        return reason

    def _fail(self, what: str, guess: str, error: SQLAlchemyError) -> NoReturn:
        """Raise one sentence: the reason, and of a file what to do about it."""
        if self._shared:
            # the cause may show how it was connected
            raise DiffInfError(f"{what}: {self._reason(error)}.") from None
        raise DiffInfError(f"{what} ({self._reason(error)}); {guess}.") from error

    def _missing(self, connection: Connection, dialect: Dialect) -> list[Executable]:
        """The statements that make the tables what they should be."""
        found = inspect(connection)
        out: list[Executable] = []
        for table in _TABLES:
            if not found.has_table(table.name):
                out.append(CreateTable(table))
                continue
            columns = {c["name"] for c in found.get_columns(table.name)}
            if table is LINES and not columns.issuperset(_FIRST):
                raise DiffInfError(
                    f"{self.name} has a table 'journal' that is not DiffInf's; use another database."
                )
            for column in table.columns:
                if column.name not in columns:
                    sql = CreateColumn(column).compile(dialect=dialect)
                    out.append(text(f"ALTER TABLE {table.name} ADD COLUMN {sql}"))
        return out

    def _prepare(self, engine: Engine) -> None:
        try:
            # To look into a journal that nobody may write, nothing is written where nothing is missing.
            with engine.connect() as connection:
                if not self._missing(connection, engine.dialect):
                    return
            with self._locked(engine, "diffinf tables") as connection:
                for statement in self._missing(connection, engine.dialect):
                    connection.execute(statement)
                for index in (index for table in _TABLES for index in table.indexes):
                    index.create(connection, checkfirst=True)
        except SQLAlchemyError as error:
            engine.dispose()
            what = f"The journal {self.name} cannot be opened"
            self._fail(what, "where it is damaged or not a journal, put a copy in its place", error)

    @contextmanager
    def _locked(self, engine: Engine, lock: str) -> Iterator[Connection]:
        with (
            engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
        ):
            if self._shared:
                hashed = hashlib.sha256(lock.encode()).digest()
                key = int.from_bytes(hashed[:8], "big", signed=True)
                connection.execute(_LOCK, {"key": key})
            yield connection

    @contextmanager
    def write(self, what: str) -> Iterator[Connection]:
        """A transaction that nobody else writes beside; what is read in it is up to date.

        An error undoes it; ``what`` names the thing that was then not taken. It counts as written where the
        file in the journal's place holds it, and not one that was removed or replaced meanwhile.
        """
        if self.read_only:
            raise DiffInfError(
                f"{what} could not be written to {self.name} and was not taken: the journal may only be read "
                "here. Give write access to it and to its folder, and decide again."
            )
        file = self._file
        known: tuple[int, ...] = ()
        try:
            if file is None:
                engine = self._engine()
            else:
                engine, known = file.to_write()
            with self._locked(engine, f"diffinf run {self.run}") as connection:
                yield connection
        except SQLAlchemyError as error:
            what = f"{what} could not be written to {self.name} and was not taken"
            self._fail(
                what, "nothing else is lost: make room or give access, and decide again", error
            )
        if file is not None and not file.holds(known):
            raise DiffInfError(
                f"The journal {self.name} was removed, replaced or overwritten while DiffInf had it open. "
                f"{what} was not taken: put a copy of the journal in its place, without files ending in -wal "
                "or -shm beside it, and decide again."
            )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with."""
        try:
            with self._engine().connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            what = f"The journal {self.name} cannot be read"
            self._fail(what, "where it is damaged, put a copy in its place", error)

    def now(self, connection: Connection) -> float:
        """Seconds by one clock for all who share the database; a file's is one that nobody sets."""
        if not self._shared:
            return boot_seconds()
        found = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())"))
        return float(found.scalar_one())

    @property
    def clock(self) -> str:
        """Names the clock of :meth:`now`: of a file that of this boot, of a server "" for its own."""
        return "" if self._shared else boot_clock()
