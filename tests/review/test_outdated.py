"""A decision is refused where somebody else wrote about the sample after it was shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffinf_core.records import Choice, DiffInfError, OutdatedError
from diffinf_core.review.journal import Journal
from diffinf_core.review.second import awaiting, for_reviewer
from tests.review.places import CLASSES


def seen(journal: Journal, who: str, sample: str = "s1") -> int:
    return journal.stamps([sample], who)[sample]


def test_a_decision_on_what_was_shown_before_is_not_taken(journal: Journal) -> None:
    shown = seen(journal, "bob")
    journal.decide("s1", "drop", "ann", seen=seen(journal, "ann"))
    with pytest.raises(OutdatedError, match="Somebody else decided on this pair since you looked"):
        journal.decide("s1", "keep", "bob", seen=shown)
    assert journal.decisions()["s1"].reviewer == "ann"
    journal.decide("s1", "keep", "bob", seen=seen(journal, "bob"))
    assert journal.decisions()["s1"].reviewer == "bob"


def test_undo_and_redo_of_others_count_and_ones_own_lines_do_not(journal: Journal) -> None:
    journal.decide("s1", "drop", "ann")
    shown = seen(journal, "bob")
    journal.undo("ann")
    with pytest.raises(OutdatedError):
        journal.decide("s1", "keep", "bob", seen=shown)
    shown = seen(journal, "bob")
    journal.redo("ann")
    with pytest.raises(OutdatedError):
        journal.decide("s1", "keep", "bob", seen=shown)
    shown = seen(journal, "bob")
    for action in ("keep", "reject", "keep"):
        journal.decide("s1", action, "bob", seen=shown)
    journal.undo("bob")
    journal.decide("s1", "drop", "bob", seen=shown)


def test_a_listed_batch_is_outdated_by_anybody_and_names_what_changed(journal: Journal) -> None:
    listed = journal.stamps(["s1", "s2", "s3"])
    journal.decide("s2", "drop", "bob")
    choices = [Choice(s, "keep") for s in listed]
    with pytest.raises(OutdatedError) as caught:
        journal.decide_many(choices, "bob", seen=listed)
    assert caught.value.samples == ("s2",) and set(journal.decisions()) == {"s2"}


def test_one_who_looked_is_told_from_a_program_and_a_batch(journal: Journal) -> None:
    journal.decide("s1", "keep", "ann", seen=seen(journal, "ann"))
    journal.decide("s2", "keep", "ann")
    batch = [Choice("s3", "keep"), Choice("s4", "keep")]
    journal.decide_many(batch, "ann", seen=journal.stamps(["s3", "s4"]))
    assert {s: d.looked for s, d in journal.decisions().items()} == {
        "s1": True, "s2": False, "s3": False, "s4": False,
    }  # fmt: skip


def test_each_choice_of_a_batch_may_have_its_own_role(journal: Journal) -> None:
    journal.decide("s1", "drop", "ann")
    journal.decide_many(
        [Choice("s1", "keep"), Choice("s2", "keep")], "bob", {"s1": "second", "s2": "decide"}
    )
    assert set(journal.disagreements()) == {"s1"}
    assert journal.decisions()["s2"].action == "keep"
    assert journal.undo("bob") == ["s1", "s2"] and not journal.disagreements()


def test_who_asked_for_a_second_look_may_give_the_second_opinion(journal: Journal) -> None:
    journal.decide("s1", "second_look", "dora")
    journal.decide("s1", "keep", "eve")
    assert for_reviewer(["s1"], "dora", 1, journal) == {"s1": "second"}
    journal.decide("s1", "drop", "dora", role="second")
    assert set(journal.disagreements()) == {"s1"}


def test_nobody_is_handed_what_they_may_not_decide(journal: Journal) -> None:
    journal.decide("s1", "drop", "dora")
    journal.decide("s1", "second_look", "dora")
    journal.decide("s1", "keep", "eve")
    for who in ("dora", "eve", "fay"):
        for sample, role in for_reviewer(["s1"], who, 1, journal).items():
            journal.decide(sample, "keep", who, role=role)


def test_not_being_sure_leaves_the_first_opinion_and_asks_somebody_else(journal: Journal) -> None:
    journal.decide("s1", "drop", "ann")
    journal.decide("s1", "second_look", "bob", role="second")
    assert journal.decisions()["s1"].action == "drop" and not journal.disagreements()
    assert for_reviewer(["s1"], "cem", 1, journal) == {"s1": "second"}
    assert for_reviewer(["s1"], "bob", 1, journal) == {}, "they were asked"
    assert awaiting(["s1"], 1, journal) == {"s1"}


def test_an_opinion_given_again_after_seeing_the_first_is_not_independent(journal: Journal) -> None:
    journal.decide("s1", "drop", "ann")
    journal.decide("s1", "reject", "bob", role="second")
    assert set(journal.verdicts()["s1"].independent) == {"ann", "bob"}
    journal.undo("bob")
    journal.decide("s1", "drop", "bob", role="second")
    assert journal.verdicts()["s1"].independent == {}
    journal.undo("bob")
    journal.decide("s1", "keep", "cem", role="second")
    assert set(journal.verdicts()["s1"].independent) == {"ann", "cem"}


def test_a_question_mark_in_the_path_is_part_of_the_path(tmp_path: Path) -> None:
    files = [tmp_path / f"a?{n}" / "journal.sqlite" for n in (1, 2)]
    first, second = (Journal(file, CLASSES) for file in files)
    first.decide("s1", "keep", "ann")
    assert files[0].is_file() and not second.decisions() and not files[1].exists()
    second.decide("s2", "keep", "ann")
    assert files[1].is_file() and list(first.decisions()) == ["s1"]
    first.close()
    second.close()


def test_a_decision_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    journal = Journal(file, CLASSES)
    journal.decide("s1", "keep", "ann")
    with journal.database.write("x") as connection:
        connection.exec_driver_sql("CREATE TRIGGER full BEFORE INSERT ON journal BEGIN "
                                   "SELECT RAISE(FAIL, 'database or disk is full'); END")  # fmt: skip
    with pytest.raises(DiffInfError, match=r"disk is full.*make room"):
        journal.decide("s2", "keep", "ann")
    assert set(journal.decisions()) == {"s1"}
    journal.close()
