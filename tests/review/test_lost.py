"""A journal that is missing, replaced or damaged: nothing is acknowledged that it does not hold."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from diffinf_core.engine import open_run
from diffinf_core.engine.doctor import diagnose, mend
from diffinf_core.records import Choice, DiffInfError
from diffinf_core.review.journal import Journal, LostJournalError
from diffinf_core.review.opening import REVIEWED, read_decisions
from diffinf_core.review.salvage import fault_of, keep_whole
from diffinf_core.runs.run import Run
from tests.refined import made_up_run, plain, propose, sample_id, version_id, write_edit
from tests.review.places import CLASSES

ENDINGS = ("", "-wal", "-shm")


def remove(file: Path, endings: tuple[str, ...] = ENDINGS) -> None:
    """Remove a journal, or some of its files."""
    for ending in endings:
        file.with_name(file.name + ending).unlink(missing_ok=True)


def samples(file: Path) -> list[str]:
    """The samples that another process reads from the journal."""
    with sqlite3.connect(file) as connection:
        found = [row[0] for row in connection.execute("SELECT sample FROM journal ORDER BY seq")]
    connection.close()
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "review" / "journal.sqlite"


def test_to_read_makes_no_journal(file: Path) -> None:
    journal = Journal(file, CLASSES)
    assert journal.decisions() == {} and journal.stamps(["a"]) == {"a": 0} and journal.key()
    assert journal.verdicts() == {} and journal.disagreements() == {}
    journal.close()
    assert not file.exists() and not file.parent.exists()


@pytest.mark.parametrize("endings", [ENDINGS, ("",), ("-wal",), ("-wal", "-shm")])
def test_what_is_acknowledged_is_in_the_file_that_is_there(
    file: Path, tmp_path: Path, endings: tuple[str, ...]
) -> None:
    """Whatever is removed under an open journal: an acknowledged decision is in the journal on disk."""
    journal = Journal(file, CLASSES, mark=tmp_path / "mark")
    journal.decide("a", "keep", "ann")
    remove(file, endings)
    acknowledged = []
    for name in ("b", "c", "d"):
        try:
            journal.decide(name, "keep", "ann")
            acknowledged.append(name)
        except DiffInfError as error:
            assert "\n" not in str(error)
    journal.close()
    assert set(acknowledged) <= set(samples(file) if file.exists() else [])
    if "" in endings:
        assert not acknowledged, "the run was reviewed, and its journal is missing"


def test_a_journal_replaced_under_a_writer_gets_the_next_decision(
    file: Path, tmp_path: Path
) -> None:
    journal = Journal(file, CLASSES, mark=tmp_path / "mark")
    journal.decide("a", "keep", "ann")
    journal.close()
    copy = tmp_path / "copy.sqlite"
    shutil.copy(file, copy)
    journal.decide("b", "keep", "ann")
    assert list(journal.decisions()) == ["a", "b"]
    remove(file)
    shutil.copy(copy, file)
    with pytest.raises(LostJournalError, match="ends at line 1 and had 2"):
        journal.decide("c", "keep", "ann")
    assert samples(file) == ["a"], "a copy from before 'b' is not taken for the whole"
    (tmp_path / "mark").unlink()
    journal.decide("c", "keep", "ann")
    assert samples(file) == ["a", "c"] and list(journal.decisions()) == ["a", "c"]


@pytest.mark.parametrize("sql", ["DELETE FROM journal WHERE seq > 2", None])
def test_an_end_that_is_gone_is_noticed_by_the_next_process(
    file: Path, tmp_path: Path, sql: str | None
) -> None:
    mark = tmp_path / "mark"
    journal = Journal(file, CLASSES, mark=mark)
    journal.decide("a", "keep", "ann")
    journal.decide("b", "keep", "ann")
    journal.close()
    whole = shutil.copy(file, tmp_path / "whole.sqlite")
    again = Journal(file, CLASSES, mark=mark)
    again.decide("c", "keep", "ann")
    again.close()
    if sql:
        damage(file, sql)
    else:  # as where the log with the last line is removed
        remove(file)
        shutil.copy(whole, file)
    fresh = Journal(file, CLASSES, mark=mark)
    for act in (fresh.decisions, lambda: fresh.decide("d", "drop", "bob")):
        with pytest.raises(LostJournalError, match="ends at line 2 and had 3"):
            act()
    assert samples(file) == ["a", "b"]


def test_a_journal_overwritten_in_its_place_acknowledges_nothing(file: Path) -> None:
    journal = Journal(file, CLASSES)
    journal.decide("a", "keep", "ann")
    os.truncate(file, 0)
    with pytest.raises(DiffInfError):
        journal.decide("b", "keep", "ann")


def test_a_line_written_while_the_journal_vanishes_is_not_acknowledged(file: Path) -> None:
    journal = Journal(file, CLASSES)
    journal.decide("a", "keep", "ann")
    with pytest.raises(DiffInfError, match="removed, replaced or overwritten"):  # noqa: SIM117
        with journal.database.write("The decision"):
            remove(file)


def test_another_thread_that_opens_the_new_file_saves_no_line_of_the_old_one(
    file: Path, tmp_path: Path
) -> None:
    journal = Journal(file, CLASSES)
    journal.decide("a", "keep", "ann")
    journal.close()
    copy = shutil.copy(file, tmp_path / "copy.sqlite")
    reader = threading.Thread(target=journal.decisions)
    with pytest.raises(DiffInfError, match="removed, replaced or overwritten"):  # noqa: SIM117
        with journal.database.write("The decision"):
            remove(file)
            shutil.copy(copy, file)
            reader.start()
            reader.join()
    assert samples(file) == ["a"]


def test_a_journal_without_a_readable_line_is_left_as_it_is(file: Path, tmp_path: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"no journal at all" * 500)
    before = file.read_bytes()
    with pytest.raises(DiffInfError, match="No line of the journal"):
        keep_whole(file)
    assert file.read_bytes() == before


def test_a_vanished_journal_that_is_put_back_is_gone_on_with(file: Path, tmp_path: Path) -> None:
    journal = Journal(file, CLASSES, mark=tmp_path / "mark")
    journal.decide("a", "drop", "ann")
    journal.close()
    moved = file.rename(tmp_path / "moved.sqlite")
    for act in (journal.decisions, journal.key, lambda: journal.undo("ann")):
        with pytest.raises(LostJournalError, match="missing or empty"):
            act()
    assert not file.exists(), "nothing is made in its place"
    moved.rename(file)
    assert list(journal.decisions()) == ["a"] and journal.decide("b", "keep", "ann") == 2


def test_an_empty_journal_of_a_reviewed_run_is_no_new_one(file: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    first = Journal(file, CLASSES, mark=mark)
    first.decide("a", "drop", "ann")
    first.undo("ann")
    assert first.decisions() == {}, "undone is not lost"
    first.close()
    remove(file)
    Journal(file, CLASSES).decide("x", "keep", "ann")  # somebody who knows no mark
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM journal")
    connection.close()
    for act in (
        lambda j: j.decisions(),
        lambda j: j.decide("b", "keep", "ann"),
        lambda j: j.decide_many([Choice("b", "keep"), Choice("c", "keep")], "ann"),
    ):
        journal = Journal(file, CLASSES, mark=mark)
        with pytest.raises(LostJournalError):
            act(journal)
        journal.close()
    mark.unlink()
    assert Journal(file, CLASSES, mark=mark).decide("b", "keep", "ann") == 1 and mark.exists()


# ---------------------------------------------------------------- runs


@pytest.fixture
def reviewed(tmp_path: Path) -> Run:
    """A run with an accepted edit."""
    run = made_up_run(tmp_path / "run", ["happy", "sad", "neutral"])
    sample, version = sample_id(2), version_id(1)
    write_edit(run, sample, version, plain(1))
    propose(run, {sample: version})
    journal = open_run(run.root).review
    journal.decide(sample, "accept", "ann", version=version)
    journal.journal.close()
    assert (run.root / REVIEWED).exists()
    return run


@pytest.mark.parametrize("whole_folder", [False, True])
def test_a_run_that_lost_its_journal_is_not_exported_as_if_nobody_had_decided(
    reviewed: Run, tmp_path: Path, whole_folder: bool
) -> None:
    folder = reviewed.root / "review"
    shutil.rmtree(folder) if whole_folder else remove(folder / "journal.sqlite")
    target = tmp_path / "out"
    with pytest.raises(LostJournalError, match="--without-decisions"):
        open_run(reviewed.root).export(target).result()
    with pytest.raises(LostJournalError):
        open_run(reviewed.root).refined.preview()
    with pytest.raises(LostJournalError):
        read_decisions(Run.open(reviewed.root))
    assert not target.exists() and "journal" in open_run(reviewed.root).report()["review"]["lost"]
    assert [f.mendable for f in diagnose(reviewed.root).findings] == [False]
    export = open_run(reviewed.root, without_decisions=True).export(target).result()
    assert set(export.table["source"]) == {"original"}
    assert not (folder / "journal.sqlite").exists(), "to export makes no journal"


def test_with_its_journal_it_is_exported_as_decided(reviewed: Run, tmp_path: Path) -> None:
    export = open_run(reviewed.root).export(tmp_path / "out").result()
    assert export.table["source"].tolist().count("repaired") == 1


# ---------------------------------------------------------------- damaged lines


def damage(file: Path, sql: str) -> None:
    """Change a journal as a fault of the disk would, in a page that still reads."""
    with sqlite3.connect(file) as connection:
        connection.execute(sql)
    connection.close()


@pytest.mark.parametrize(
    "sql,words,left",
    [
        ("UPDATE journal SET action = 'drop' WHERE seq = 2", "line 2 on: it is damaged", 3),
        ("UPDATE journal SET comment = 'x' WHERE seq = 4", "line 4 on: it is damaged", 3),
        ("UPDATE journal SET checksum = 'ffffffffffffffff' WHERE seq = 3", "line 3 on", 3),
        ("UPDATE journal SET checksum = NULL WHERE seq = 3", "line 3 on: it is damaged", 3),
        ("DELETE FROM journal WHERE seq = 2", "line 3 on: a line before it is missing", 3),
    ],
)
def test_a_damaged_or_missing_line_is_named_and_the_others_are_kept(
    file: Path, sql: str, words: str, left: int
) -> None:
    journal = Journal(file, CLASSES)
    for name in "abcd":
        journal.decide(name, "keep", "ann")
    journal.close()
    assert fault_of(file) == ""
    damage(file, sql)
    again = Journal(file, CLASSES)
    with pytest.raises(DiffInfError, match=words):
        again.decisions()
    again.close()
    kept = keep_whole(file)
    assert kept.lines == left and kept.damaged + kept.missing == 1
    assert kept.aside.exists() and fault_of(file) == ""
    fresh = Journal(file, CLASSES)
    assert len(fresh.decisions()) == left
    fresh.decide("e", "keep", "ann")
    assert fault_of(file) == "" and len(fresh.decisions()) == left + 1


def test_a_damaged_undo_names_the_samples_whose_decisions_stand_again(file: Path) -> None:
    journal = Journal(file, CLASSES)
    journal.decide_many([Choice("b", "drop"), Choice("a", "drop")], "ann")
    journal.undo("ann")
    journal.decide("c", "keep", "ann")
    journal.close()
    damage(file, "UPDATE journal SET time = 'x' WHERE action = 'undo'")
    kept = keep_whole(file)
    assert kept.samples == ("a", "b") and "look again at the decisions on a, b;" in kept.sentence()
    assert list(Journal(file, CLASSES).decisions()) == ["b", "a", "c"]


def test_to_find_what_is_wrong_leaves_a_journal_of_an_earlier_version_as_it_is(file: Path) -> None:
    file.parent.mkdir(parents=True)
    with sqlite3.connect(file) as connection:
        connection.executescript(
            (Path(__file__).parent / "earlier.sql").read_text(encoding="utf-8")
        )
    connection.close()
    before = file.read_bytes()
    assert fault_of(file) == "" and file.read_bytes() == before


def test_a_reader_beside_the_first_decision_takes_nothing_for_lost(
    file: Path, tmp_path: Path
) -> None:
    """The first line is written after a reader looked at the mark, or between its two looks."""
    reader = Journal(file, CLASSES, mark=tmp_path / "mark")
    writer = Journal(file, CLASSES, mark=tmp_path / "mark")
    read = reader.database.read

    @contextmanager
    def late() -> Iterator[Connection]:
        with read() as connection:
            yield connection
            writer.decide("a", "keep", "ann")

    reader.database.read = late  # type: ignore[method-assign]
    assert reader.decisions() == {}
    reader.database.read = read  # type: ignore[method-assign]
    assert list(reader.decisions()) == ["a"]


def test_lines_cut_from_the_end_are_noticed_by_who_has_read_them(file: Path) -> None:
    journal = Journal(file, CLASSES)
    for name in "abc":
        journal.decide(name, "keep", "ann")
    assert len(journal.decisions()) == 3
    damage(file, "DELETE FROM journal WHERE seq > 1")
    assert journal.decide("d", "keep", "ann") == 2
    assert list(journal.decisions()) == ["a", "d"], "and not the lines that are gone"


def test_the_doctor_names_an_empty_journal_of_a_reviewed_run(reviewed: Run) -> None:
    file = reviewed.root / "review" / "journal.sqlite"
    assert diagnose(reviewed.root).findings == []
    remove(file)
    for empty in (False, True):
        if empty:
            file.touch()
        assert [f.mendable for f in diagnose(reviewed.root).findings] == [False]
        assert "missing or empty" in diagnose(reviewed.root).findings[0].text


def test_the_doctor_mends_the_journal_of_a_run(reviewed: Run) -> None:
    file = reviewed.root / "review" / "journal.sqlite"
    review = open_run(reviewed.root).review
    review.decide(sample_id(3), "drop", "bob")
    review.journal.close()
    damage(file, "UPDATE journal SET reviewer = 'eve' WHERE seq = 1")
    assert ["it is damaged" in f.text for f in diagnose(reviewed.root).findings] == [True]
    assert mend(reviewed.root).result().findings == []
    assert list(open_run(reviewed.root).review.decisions()) == [sample_id(3)]
