"""Where a review is kept: one SQLite file per run, or one PostgreSQL database for many runs.

Whoever writes holds a lock on the run from before reading until after the commit. So what is written
follows from what is there, and line numbers become visible in order: a reader that has seen a line has
seen all before it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import (
    URL,
    Column,
    Connection,
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
    event,
    inspect,
    make_url,
    text,
)
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.schema import CreateColumn, CreateTable

from diffinf_core.records import DiffInfError
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

#: who looks at what until when, in seconds since 1970
LEASES = Table(
    "lease",
    _meta,
    Column("run", String(32), primary_key=True),
    Column("sample", String(12), primary_key=True),
    Column("reviewer", String(80), nullable=False),
    Column("until", Float(53), nullable=False),
)

# A server may be configured to acknowledge before a line is on disk; ours must not be.
_LOCK = text(
    "SELECT pg_advisory_xact_lock(:key), set_config('synchronous_commit', CASE"
    " current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
    " ELSE current_setting('synchronous_commit') END, true)"
)


def _tune(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where _begin says so
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _sqlite(file: Path) -> Engine:
    file.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(URL.create("sqlite", database=str(file)))
    event.listen(engine, "connect", _tune)
    event.listen(engine, "begin", _begin)
    return engine


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

    ``where`` is a file for SQLite or the URL of a PostgreSQL, where ``run`` keeps runs apart.
    """

    def __init__(self, where: Path | str, run: str = "") -> None:
        self.run = run
        self._secrets: list[str] = []
        if isinstance(where, Path):
            self.name = str(where)
            self._engine = _sqlite(where)
        else:
            url = _parse(where)
            self.name = f"{url.host or url.query.get('host', 'localhost')}/{url.database}"
            self._secrets = [str(s) for s in (url.password, url.query.get("password")) if s]
            with optional_imports():
                self._engine = create_engine(
                    url,
                    pool_pre_ping=True,
                    isolation_level="READ COMMITTED",
                    connect_args={"connect_timeout": 10},
                )
        self._shared = not isinstance(where, Path)
        try:
            self._prepare()
        except SQLAlchemyError as error:
            self._engine.dispose()
            what = f"The journal {self.name} cannot be opened"
            self._fail(what, "where it is damaged or not a journal, put a copy in its place", error)

    def close(self) -> None:
        """Let go of the file or the server."""
        self._engine.dispose()

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

    def _missing(self, connection: Connection) -> list[Executable]:
        """The statements that make the tables what they should be."""
        found = inspect(connection)
        out: list[Executable] = []
        for table in (LINES, LEASES):
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
                    sql = CreateColumn(column).compile(dialect=self._engine.dialect)
                    out.append(text(f"ALTER TABLE {table.name} ADD COLUMN {sql}"))
        return out

    def _prepare(self) -> None:
        # To look into a journal that nobody may write, nothing is written where nothing is missing.
        with self._engine.connect() as connection:
            if not self._missing(connection):
                return
        with self._locked("diffinf tables") as connection:
            for statement in self._missing(connection):
                connection.execute(statement)
            for index in LINES.indexes:
                index.create(connection, checkfirst=True)

    @contextmanager
    def _locked(self, lock: str) -> Iterator[Connection]:
        with (
            self._engine.connect().execution_options(writes=True) as connection,
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

        An error undoes it; ``what`` names the thing that was then not taken.
        """
        try:
            with self._locked(f"diffinf run {self.run}") as connection:
                yield connection
        except SQLAlchemyError as error:
            what = f"{what} could not be written to {self.name} and was not taken"
            self._fail(
                what, "nothing else is lost: make room or give access, and decide again", error
            )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to read with."""
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            what = f"The journal {self.name} cannot be read"
            self._fail(what, "where it is damaged, put a copy in its place", error)

    def now(self, connection: Connection) -> float:
        """Seconds since 1970 by one clock for all who share the database."""
        if not self._shared:
            return time.time()
        found = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())"))
        return float(found.scalar_one())
