"""Journals of one place share what was read, and never take another file for the one they knew."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from diffinf_core.review import reading
from diffinf_core.review.history import History
from diffinf_core.review.journal import Journal

CLASSES = ("happy", "sad")


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of every line that is read from now on."""
    out: list[int] = []
    real = History.take

    def take(self: History, rows: list) -> None:
        out.extend(row.seq for row in rows)
        real(self, rows)

    monkeypatch.setattr(History, "take", take)
    return out


def decided(file: Path, *samples: str) -> Journal:
    """A journal with one more decision on each sample."""
    journal = Journal(file, CLASSES)
    for sample in samples:
        journal.decide(sample, "drop", "ann")
    return journal


def remove(file: Path) -> None:
    """Remove a journal with what SQLite keeps beside it."""
    for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
        file.with_name(name).unlink(missing_ok=True)


def test_a_journal_opened_again_reads_only_new_lines(tmp_path: Path, taken: list[int]) -> None:
    file = tmp_path / "journal.sqlite"
    decided(file, "a", "b").decisions()
    assert taken == [1, 2]
    later = decided(file, "c")
    assert list(later.decisions()) == ["a", "b", "c"] and taken == [1, 2, 3]
    assert Journal(file, CLASSES).key() == later.key() and taken == [1, 2, 3]


def test_another_file_in_the_place_is_read_from_its_start(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    first = decided(file, "a", "b")
    key = first.key()
    first.close()
    remove(file)
    empty = Journal(file, CLASSES)
    assert empty.decisions() == {}
    empty.close()
    remove(file)
    other = decided(file, "a", "c")  # as many lines
    assert list(other.decisions()) == ["a", "c"] and other.key() != key


def test_a_copy_put_back_is_read_from_its_start(tmp_path: Path) -> None:
    file, copy = tmp_path / "journal.sqlite", tmp_path / "copy.sqlite"
    decided(copy, "a").close()
    shutil.copy(copy, file)
    longer = decided(file, "b")
    assert list(longer.decisions()) == ["a", "b"]
    longer.close()
    remove(file)
    shutil.copy(copy, file)
    assert list(Journal(file, CLASSES).decisions()) == ["a"]


def test_the_key_follows_every_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", CLASSES)
    empty = journal.key()
    journal.decide("a", "drop", "ann")
    dropped = journal.key()
    journal.decide("b", "keep", "ann")
    assert journal.key() == dropped != empty, "what is kept changes nothing in the data"
    journal.undo("ann")
    journal.undo("ann")
    assert journal.key() == empty
    journal.redo("ann")
    assert journal.key() == dropped


def test_the_key_does_not_depend_on_the_order_of_the_decisions(tmp_path: Path) -> None:
    one, other = decided(tmp_path / "1", "a", "b", "c"), decided(tmp_path / "2", "c", "a", "b")
    assert one.key() == other.key()


def test_few_journals_are_kept(tmp_path: Path, taken: list[int]) -> None:
    for name in ("1", "2", "3"):
        decided(tmp_path / name, "a").decisions()
    assert len(reading._readings) == 2
    Journal(tmp_path / "1", CLASSES).decisions()
    assert taken == [1, 1, 1, 1], "the first one was let go"
