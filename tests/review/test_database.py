"""Where a review is kept: earlier journals, damaged ones, a shared PostgreSQL and its password."""

from __future__ import annotations

import os
import sqlite3
import traceback
import uuid
from pathlib import Path

import pytest
import sqlalchemy as sa

from diffinf_core.engine import open_run
from diffinf_core.records import DiffInfError
from diffinf_core.review.database import LINES, STORE, Database
from diffinf_core.review.journal import Journal
from diffinf_core.review.opening import open_journal, read_decisions, run_key, take_over
from diffinf_core.runs.run import Run
from tests.review.places import CLASSES, Place
from tests.review.postgres import PASSWORD

EARLIER = Path(__file__).with_name("earlier.sql")


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A journal of an earlier version."""
    file = tmp_path / "journal.sqlite"
    connection = sqlite3.connect(file)
    connection.executescript(EARLIER.read_text())
    connection.close()
    return file


def lines(file: Path) -> list[tuple[object, ...]]:
    """The columns that every version has."""
    connection = sqlite3.connect(file)
    found = connection.execute("SELECT * FROM journal ORDER BY rowid").fetchall()
    connection.close()
    return [row[:9] for row in found]


def told(journal: Journal) -> dict[str, tuple[str, str]]:
    """Sample to action and reviewer."""
    return {s: (d.action, d.reviewer) for s, d in journal.decisions().items()}


STOOD = {
    "aaaaaaaaaaa1": ("accept", "ann"),
    "aaaaaaaaaaa2": ("relabel", "bob"),
    "aaaaaaaaaaa3": ("drop", "ann"),
    "aaaaaaaaaaa4": ("second_look", "cem"),
}


def test_a_journal_of_an_earlier_version_keeps_every_decision(earlier: Path) -> None:
    before = lines(earlier)
    journal = Journal(earlier, CLASSES)
    assert told(journal) == STOOD and list(journal.decisions()) == sorted(STOOD)
    first = journal.decisions()["aaaaaaaaaaa1"]
    assert (first.version, first.comment, first.role) == ("0123456789abcdef", "fits", "decide")
    assert lines(earlier) == before
    assert journal.redo("bob") == ["aaaaaaaaaaa1"], "undone there, brought back here"
    assert journal.undo("ann") == ["aaaaaaaaaaa3"]
    journal.decide("aaaaaaaaaaa2", "keep", "ann", role="second", client="c")
    journal.close()
    again = Journal(earlier, CLASSES)
    assert set(again.disagreements()) == {"aaaaaaaaaaa2"}
    assert lines(earlier)[: len(before)] == before
    again.close()


def test_lines_from_before_the_mode_was_kept_are_whole(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    journal = Journal(file, CLASSES)
    journal.decide("aaaaaaaaaaa1", "keep", "ann", seen=0)
    journal.close()
    connection = sqlite3.connect(file)
    connection.execute("ALTER TABLE journal DROP COLUMN mode")
    connection.commit()
    connection.close()
    again = Journal(file, CLASSES)
    again.decide("aaaaaaaaaaa2", "drop", "bob", seen=0, mode="blind")
    assert [d.mode for d in again.decisions().values()] == ["", "blind"]
    again.close()
    connection = sqlite3.connect(file)
    connection.execute("UPDATE journal SET mode = 'open' WHERE seq = 2")
    connection.commit()
    connection.close()
    with pytest.raises(DiffInfError, match="line 2 on: it is damaged"):
        Journal(file, CLASSES).decisions()


def test_a_database_of_an_earlier_version_gets_the_columns(postgres: str) -> None:
    name = f"earlier_{uuid.uuid4().hex}"
    admin = sa.create_engine(postgres, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    admin.dispose()
    url = postgres.replace("/postgres?", f"/{name}?")
    old = sa.create_engine(url)
    with old.begin() as connection:
        sql = EARLIER.read_text().replace("seq INTEGER NOT NULL", "seq SERIAL")
        connection.exec_driver_sql(sql)
        connection.exec_driver_sql("SELECT setval('journal_seq_seq', 9)")
    old.dispose()
    journal = Journal(url, CLASSES)
    assert told(journal) == STOOD
    assert journal.decide("aaaaaaaaaaa5", "keep", "ann", client="c") == 10
    journal.close()


def test_a_table_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "diary.sqlite"
    connection = sqlite3.connect(file)
    connection.executescript("CREATE TABLE journal (day TEXT); INSERT INTO journal VALUES ('x');")
    connection.close()
    with pytest.raises(DiffInfError, match="not DiffInf's"):
        Journal(file, CLASSES)
    assert lines(file) == [("x",)]


def test_a_file_that_is_no_journal_is_named_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    file.write_bytes(b"my diary, not a database" * 100)
    before = file.read_bytes()
    with pytest.raises(DiffInfError, match=r"journal\.sqlite cannot be opened"):
        Journal(file, CLASSES)
    assert file.read_bytes() == before


def test_a_journal_damaged_in_the_middle_is_named(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    first = Journal(file, CLASSES)
    first.decide("s1", "keep", "ann")
    first.close()
    whole = bytearray(file.read_bytes())
    whole[4096:] = b"\xff" * (len(whole) - 4096)
    file.write_bytes(bytes(whole))
    with pytest.raises(DiffInfError):
        Journal(file, CLASSES).decisions()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_decision_that_cannot_be_written_is_not_taken(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    journal = Journal(file, CLASSES)
    journal.decide("s1", "keep", "ann")
    journal.close()
    file.chmod(0o400)
    with pytest.raises(DiffInfError, match="not taken"):
        journal.decide("s2", "keep", "ann")


def test_a_line_that_the_database_refuses_is_not_taken(journal: Journal, place: Place) -> None:
    with (
        pytest.raises(DiffInfError, match="not taken"),
        journal.database.write("The line") as connection,
    ):
        connection.execute(sa.text("INSERT INTO journal (time) VALUES (NULL)"))
    assert place.rows() == [] and journal.decide("s1", "keep", "ann") > 0


def test_sqlite_is_synced_at_every_commit(tmp_path: Path) -> None:
    database = Database(tmp_path / "journal.sqlite")
    with database.write("Nothing") as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    database.close()


def test_postgresql_is_synced_at_every_commit_whatever_it_was_told(postgres: str) -> None:
    for told_, expected in (("off", "on"), ("local", "local"), ("on", "on")):
        database = Database(postgres + f"&options=-csynchronous_commit%3D{told_}", "r")
        with database.write("Nothing") as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == expected
        database.close()


# ---------------------------------------------------------------- shared


def test_one_database_serves_many_runs(postgres: str) -> None:
    a, b = (Journal(postgres, CLASSES, uuid.uuid4().hex) for _ in range(2))
    a.decide("s1", "keep", "ann", client="same")
    b.decide("s1", "drop", "ann", client="same")
    b.decide("s2", "drop", "ann")
    assert told(a) == {"s1": ("keep", "ann")} and len(told(b)) == 2
    assert a.undo("ann") == ["s1"] and a.undo("ann") == [] and len(told(b)) == 2
    a.close()
    b.close()


def failure(url: str) -> str:
    """Everything that is printed where a database cannot be used."""
    with pytest.raises(DiffInfError) as caught:
        Journal(url, CLASSES, "r")
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    return "".join(traceback.format_exception(caught.value))


def test_a_wrong_password_is_said_and_never_shown(postgres: str) -> None:
    said = failure(postgres.replace("not%3Aa%2Fsecret", "another%3Asecret"))
    assert "password authentication failed" in said and "another" not in said


@pytest.mark.parametrize(
    "url,part",
    [
        ("postgresql+psycopg://ann:hushhush@127.0.0.1:1/reviews", "127.0.0.1/reviews"),
        ("postgresql://ann:hushhush@no.such.host.invalid/reviews", "no.such.host.invalid/reviews"),
        ("postgresql+psycopg://ann:hush@hush@host/reviews", "%40"),
        ("postgresql+psycopg://ann:hushhush@host", "names no database"),
        ("mysql://ann:hushhush@host/reviews", "cannot be read"),
        ("postgresql+psycopg://ann:hushhush@host:hushhush/reviews", "cannot be read"),
        ("hushhush", "cannot be read"),
        ("postgresql+psycopg://ann@127.0.0.1:1/reviews?password=hushhush", "127.0.0.1/reviews"),
        # the server's own words, with the password in them
        ("postgresql+psycopg://ann:hushhush@hushhush.invalid/reviews", "***"),
    ],
)
def test_no_error_shows_the_password(url: str, part: str) -> None:
    said = failure(url)
    assert part in said
    shown = said.replace("hushhush.invalid/reviews", "")
    assert "hush" not in shown, said


def test_an_error_while_running_shows_no_password(postgres: str) -> None:
    journal = Journal(postgres, CLASSES, uuid.uuid4().hex)
    with pytest.raises(DiffInfError) as caught, journal.database.read() as connection:
        connection.execute(sa.text(f'SELECT nothing AS "{PASSWORD}"'))
    journal.close()
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


# ---------------------------------------------------------------- runs


def test_a_run_has_one_key_wherever_it_lies(run_copy: Path) -> None:
    key = run_key(Run.open(run_copy))
    assert len(key) == 32 and run_key(Run.open(run_copy)) == key
    moved = run_copy.rename(run_copy.with_name("moved"))
    assert run_key(Run.open(moved)) == key


def test_a_run_is_reviewed_in_the_database_that_is_named(
    run_copy: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(STORE, raising=False)
    engine = open_run(run_copy)
    first, second, third = list(engine.queue["id"])[:3]
    engine.review.decide(first, "keep", "ann", seen=0)
    engine.review.decide(third, "keep", "bob")
    engine.review.decide(third, "drop", "ann", seen=engine.review.stamps([third], "ann")[third])
    engine.review.undo("ann")
    engine.review.undo("bob")
    engine.review.decide_many(engine.review.bulk_preview([first, second], "drop").choices, "ann")
    engine.review.undo("ann")
    monkeypatch.setenv(STORE, postgres)
    shared = open_run(run_copy)
    assert shared.review.decisions() == engine.review.decisions(), (
        "what was decided before goes along"
    )
    with shared.review.journal.database.read() as connection:
        ours = LINES.c.run == shared.review.journal.database.run
        lines = connection.execute(sa.select(LINES).where(ours).order_by(LINES.c.seq)).all()
    numbers = {line.seq: line for line in lines}
    assert [line.seen for line in lines][:3] == [0, None, lines[1].seq], (
        "lines seen, by their new numbers"
    )
    assert numbers[lines[2].seen].sample == lines[2].sample == third
    assert shared.review.redo("ann") == [first, second]
    shared.review.decide(third, "second_look", "bob")
    assert (
        read_decisions(Run.open(run_copy)) == shared.review.decisions()
        and len(shared.review.decisions()) == 3
    )
    assert len(engine.review.decisions()) == 1, "the file stays as it was"
    file = run_copy / "review" / "journal.sqlite"
    assert take_over(file, shared.review.journal.database) == 0, "only once"


def test_a_run_without_data_has_no_journal(tmp_path: Path, tiny_config: object) -> None:
    run = Run.prepare(tmp_path / "run", tiny_config)  # type: ignore[arg-type]
    with pytest.raises(DiffInfError, match="no data yet"):
        open_journal(run)
