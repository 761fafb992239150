"""Tags and saved views: what is written stands, whoever writes beside it, and earlier journals take them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest

from diffinf_core.records import DiffInfError
from diffinf_core.review.journal import Journal, LostJournalError
from diffinf_core.review.salvage import keep_whole
from diffinf_core.review.tags import MAX_TAG, Tags


def _tags(file: Path) -> Tags:
    return Tags(Journal(file, ["a", "b"]))


def _many(file: str, tag: str, first: int) -> None:
    own = _tags(Path(file))
    for i in range(first, first + 20):
        own.put([f"{i:012x}"], tag, "somebody")


def test_tags_stand_until_they_are_taken_off(tmp_path: Path) -> None:
    tags = _tags(tmp_path / "journal.sqlite")
    assert tags.standing().samples == {}
    assert tags.put(["x", "y", "x"], "  odd   one ", "ann") == 2
    assert tags.put(["x", "z"], "odd one", "bob") == 1
    assert tags.put(["y"], "other", "bob") == 1
    assert tags.standing().samples == {"odd one": frozenset("xyz"), "other": frozenset("y")}
    assert tags.standing().of(["y", "x", "w"]) == [["odd one", "other"], ["odd one"], []]
    assert tags.put(["y", "w"], "odd one", "ann", present=False) == 1
    assert tags.put(["y"], "other", "ann", present=False) == 1
    assert tags.standing().samples == {"odd one": frozenset("xz")}
    assert _tags(tmp_path / "journal.sqlite").standing().samples == tags.standing().samples


def test_names_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    tags = _tags(tmp_path / "journal.sqlite")
    for name, why in ((" ", "a name"), ("x" * (MAX_TAG + 1), "at most"), ("a\x00b", "cannot be")):
        with pytest.raises(DiffInfError, match=why):
            tags.put(["x"], name, "ann")
    assert not (tmp_path / "journal.sqlite").exists(), "nothing was written"


def test_processes_lose_nothing_of_each_other(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    context = get_context("spawn")
    workers = [
        context.Process(target=_many, args=(str(file), f"tag {i % 2}", 20 * (i // 2)))
        for i in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    found = _tags(file).standing().samples
    assert {tag: len(own) for tag, own in found.items()} == {"tag 0": 40, "tag 1": 40}


def test_another_journal_in_the_place_is_read_anew(tmp_path: Path) -> None:
    file, other = tmp_path / "journal.sqlite", tmp_path / "other.sqlite"
    tags = _tags(file)
    tags.put(["x", "y"], "old", "ann")
    _tags(other).put(["p", "q", "r"], "new", "bob")
    tags._journal.close()
    for ending in ("", "-wal", "-shm"):
        old, new = (Path(f"{f}{ending}") for f in (file, other))
        old.unlink(missing_ok=True)
        if new.exists():
            new.rename(old)
    assert tags.standing().samples == {"new": frozenset("pqr")}


def test_tags_alone_are_no_review(tmp_path: Path) -> None:
    mark = tmp_path / "reviewed.json"
    journal = Journal(tmp_path / "journal.sqlite", ["a"], mark=mark)
    Tags(journal).put(["x"], "odd", "ann")
    assert not mark.exists() and journal.decisions() == {}
    assert journal.undo("ann") == [] and journal.decisions() == {}
    journal.decide("x", "drop", "ann")
    journal.close()
    for file in tmp_path.glob("journal.sqlite*"):
        file.unlink()
    again = Journal(tmp_path / "journal.sqlite", ["a"], mark=mark)
    with pytest.raises(LostJournalError):
        Tags(again).put(["x"], "odd", "ann")


def test_views_belong_to_who_saved_them(tmp_path: Path) -> None:
    tags = _tags(tmp_path / "journal.sqlite")
    assert tags.views() == {}
    assert tags.save_view(" my  view ", {"view": {"label": "a"}}, "ann") == "my view"
    with pytest.raises(DiffInfError, match="ann saved a view under the name 'my view'"):
        tags.save_view("my view", {}, "bob")
    with pytest.raises(DiffInfError, match="ann saved"):
        tags.remove_view("my view", "bob")
    tags.save_view("my view", {"view": {"label": "b"}}, "ann")
    tags.save_view("another", {}, "bob")
    assert list(tags.views()) == ["another", "my view"]
    assert tags.views()["my view"].definition == {"view": {"label": "b"}}
    tags.remove_view("my view", "ann")
    assert list(tags.views()) == ["another"]
    with pytest.raises(DiffInfError, match="There is no view"):
        tags.remove_view("my view", "ann")
    with pytest.raises(DiffInfError, match="at most"):
        tags.save_view("large", {"x": "y" * 30_000}, "ann")


def test_tags_survive_the_mending_of_a_journal(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    journal = Journal(file, ["a", "b"])
    for sample in ("x", "y"):
        journal.decide(sample, "drop", "ann")
    Tags(journal).put(["x", "y"], "odd", "ann")
    Tags(journal).save_view("mine", {"view": {}}, "ann")
    journal.close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE journal SET reviewer = 'eve' WHERE sample = 'x'")
        connection.commit()
    assert keep_whole(file).damaged == 1
    mended = _tags(file)
    assert mended.standing().samples == {"odd": frozenset("xy")}
    assert list(mended.views()) == ["mine"]
