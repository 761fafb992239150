"""The journal: append-only, undone and redone like an editor's history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from diffinf_core.records import ACTIONS, Choice, DiffInfError
from diffinf_core.review.journal import MAX_COMMENT, MAX_REVIEWER, Journal
from tests.review.places import Place


def standing(journal: Journal) -> dict[str, str]:
    """Sample to action."""
    return {sample: d.action for sample, d in journal.decisions().items()}


# ---------------------------------------------------------------- decisions


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_of_the_closed_set_is_kept_with_what_it_needs(
    journal: Journal, action: str
) -> None:
    journal.decide("s1", action, "ann", version="v1", new_label="sad", comment="why")
    decision = journal.decisions()["s1"]
    assert (decision.sample, decision.action, decision.reviewer) == ("s1", action, "ann")
    assert decision.comment == "why"
    assert decision.version == ("v1" if action == "accept" else None)
    assert decision.new_label == ("sad" if action == "relabel" else None)
    assert datetime.fromisoformat(decision.time).tzinfo is not None


@pytest.mark.parametrize(
    "action,more,part",
    [
        ("keep", {"mode": "half"}, "'half'"),
        ("delete", {}, "'delete'"),
        ("undo", {}, "'undo'"),
        ("redo", {}, "'redo'"),
        ("", {}, "''"),
        ("ACCEPT", {"version": "v"}, "'ACCEPT'"),
        ("accept", {}, "version"),
        ("accept", {"version": ""}, "version"),
        ("relabel", {}, "None is not a class"),
        ("relabel", {"new_label": "angry"}, "'angry' is not a class; choose one of happy, sad"),
    ],
)
def test_anything_else_is_refused_in_one_sentence_and_writes_nothing(
    journal: Journal, place: Place, action: str, more: dict[str, str], part: str
) -> None:
    with pytest.raises(DiffInfError) as caught:
        journal.decide("s1", action, "ann", **more)
    assert part in str(caught.value) and str(caught.value).endswith(".")
    assert journal.decisions() == {} and place.rows() == []


def test_the_latest_decision_on_a_sample_stands_whoever_made_it(journal: Journal) -> None:
    journal.decide("s1", "keep", "ann")
    journal.decide("s2", "drop", "ann")
    journal.decide("s1", "reject", "bob")
    assert standing(journal) == {"s2": "drop", "s1": "reject"}
    assert list(journal.decisions()) == ["s2", "s1"], "in the order they were made"
    journal.undo("bob")
    assert standing(journal) == {"s1": "keep", "s2": "drop"}


def test_line_numbers_rise_and_nothing_is_ever_rewritten(journal: Journal, place: Place) -> None:
    numbers = [journal.decide("s1", "keep", "ann"), journal.decide("s1", "drop", "ann")]
    before = place.rows()
    journal.undo("ann")
    journal.redo("ann")
    numbers.append(journal.decide("s1", "keep", "ann"))
    assert numbers == sorted(set(numbers))
    after = place.rows()
    assert after[: len(before)] == before and len(after) == len(before) + 3


def test_undo_and_redo_touch_only_ones_own_decisions(journal: Journal, place: Place) -> None:
    journal.decide("s1", "keep", "ann")
    journal.decide("s2", "drop", "bob")
    assert journal.undo("ann") == ["s1"] and journal.undo("ann") == []
    assert standing(journal) == {"s2": "drop"}
    assert journal.redo("bob") == [] and journal.redo("ann") == ["s1"]
    assert journal.undo("nobody") == [] and len(place.rows()) == 4


def test_a_new_decision_ends_what_could_be_redone(journal: Journal) -> None:
    journal.decide("s1", "keep", "ann")
    journal.undo("ann")
    journal.decide("s2", "drop", "ann")
    assert journal.redo("ann") == []
    assert standing(journal) == {"s2": "drop"}


def test_a_comment_is_kept_as_text_and_never_cut(journal: Journal) -> None:
    comment = ("=1+1'; DROP TABLE journal; -- \u2603" + "x" * MAX_COMMENT)[:MAX_COMMENT]
    journal.decide("s1", "keep", "ann", comment=comment)
    assert journal.decisions()["s1"].comment == comment
    for decide in (
        lambda: journal.decide("s1", "drop", "ann", comment=comment + "x"),
        lambda: journal.decide_many([Choice("s2", "drop", comment=comment + "x")], "ann"),
    ):
        with pytest.raises(DiffInfError, match="2,001 characters; 2,000 are allowed"):
            decide()
    assert [d.action for d in journal.decisions().values()] == ["keep"]


def test_the_key_depends_on_what_stands_and_not_on_the_way_there(
    new_place: Callable[[], Place],
) -> None:
    a, b = new_place().journal(), new_place().journal()
    assert a.key() == b.key()
    a.decide("s1", "drop", "ann")
    a.decide("s2", "relabel", "ann", new_label="sad")
    one = a.key()
    b.decide("s2", "drop", "bob", comment="hm")
    b.decide("s2", "relabel", "bob", new_label="sad")
    assert b.key() != one
    b.decide("s1", "drop", "bob")
    assert b.key() == one
    for nothing in ("keep", "reject", "second_look"):
        b.decide("s3", nothing, "bob")
        assert b.key() == one, "the data set is still the same"
    b.decide("s2", "relabel", "bob", new_label="happy")
    assert b.key() != one
    b.undo("bob")
    assert b.key() == one


@pytest.mark.parametrize("reviewer", ["", "n" * MAX_REVIEWER])
def test_a_reviewer_without_a_name_or_with_a_long_one_can_undo(
    journal: Journal, reviewer: str
) -> None:
    journal.decide("s1", "keep", reviewer)
    assert journal.undo(reviewer) == ["s1"]


def test_a_name_that_would_be_cut_is_refused(journal: Journal) -> None:
    """Cut, two people could become one."""
    with pytest.raises(DiffInfError, match="81 characters; 80 are allowed"):
        journal.decide("s1", "keep", "n" * 81)
    assert journal.decisions() == {}


@pytest.mark.parametrize("text", ["null \0 byte", "half a pair \ud800"])
def test_text_that_a_database_refuses_is_cleaned(journal: Journal, text: str) -> None:
    journal.decide("s1", "keep", text, comment=text)
    found = journal.decisions()["s1"]
    assert found.comment == found.reviewer == text.replace("\0", "").replace("\ud800", "?")
    assert journal.undo(text) == ["s1"]


# ---------------------------------------------------------------- batches


def several(*samples: str, action: str = "keep") -> list[Choice]:
    return [Choice(sample, action, "v1", "sad", "together") for sample in samples]


def test_a_batch_is_taken_back_and_brought_back_as_one(journal: Journal, place: Place) -> None:
    journal.decide("s2", "drop", "ann")
    numbers = journal.decide_many(several("s1", "s2", "s3", action="relabel"), "ann")
    assert len(numbers) == 3 and numbers == sorted(set(numbers))
    assert standing(journal) == {"s1": "relabel", "s2": "relabel", "s3": "relabel"}
    journal.decide("s4", "keep", "ann")
    assert journal.undo("ann") == ["s4"]
    assert journal.undo("ann") == ["s1", "s2", "s3"]
    assert standing(journal) == {"s2": "drop"}
    other = place.journal()
    assert other.redo("ann") == ["s1", "s2", "s3"], "in another session, too"
    other.close()
    assert standing(journal)["s2"] == "relabel"
    assert journal.redo("ann") == ["s4"] and journal.redo("ann") == []
    assert len({row[-1] for row in place.rows() if row[4] in ("s1", "s3")}) == 1


def test_a_batch_is_written_whole_or_not_at_all(journal: Journal, place: Place) -> None:
    wrong = [*several("s1"), Choice("s2", "accept")]
    for bad, part in ((wrong, "version"), (several("s1", "s1"), "'s1' is twice")):
        with pytest.raises(DiffInfError, match=part):
            journal.decide_many(bad, "ann")
    assert place.rows() == []
    assert journal.decide_many([], "ann") == [] and place.rows() == []


def test_the_database_refusing_one_line_of_a_batch_refuses_all(
    journal: Journal, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Journal._row

    def broken(self: Journal, choice: Choice, reviewer: str, role: str) -> dict[str, Any]:
        made = row(self, choice, reviewer, role)
        return made | {"comment": None} if choice.sample == "s2" else made

    monkeypatch.setattr(Journal, "_row", broken)
    with pytest.raises(DiffInfError, match="not taken"):
        journal.decide_many(several("s1", "s2"), "ann")
    assert place.rows() == [] and journal.decisions() == {}


def test_a_token_that_comes_twice_is_written_once(journal: Journal, place: Place) -> None:
    first = journal.decide("s1", "keep", "ann", client="click-1")
    assert journal.decide("s1", "keep", "ann", client="click-1") == first
    batch = journal.decide_many(several("s2", "s3"), "ann", client="click-2")
    assert journal.decide_many(several("s2", "s3"), "ann", client="click-2") == batch
    journal.undo("ann")
    assert journal.decide_many(several("s2", "s3"), "ann", client="click-2") == batch
    assert len(place.rows()) == 4, "three decisions and an undo"
    assert journal.decide("s1", "keep", "ann", client="click-3") > batch[-1]


# ---------------------------------------------------------------- several reviewers


def test_opinions_that_differ_leave_the_sample_undecided(journal: Journal) -> None:
    journal.decide("s1", "accept", "ann", "v1")
    journal.decide("s1", "keep", "bob", role="second")
    assert standing(journal) == {"s1": "second_look"}
    (first, second), *rest = journal.disagreements().values()
    assert not rest and (first.reviewer, second.reviewer) == ("ann", "bob")
    assert {n: d.action for n, d in journal.opinions()["s1"].items()} == {
        "ann": "accept",
        "bob": "keep",
    }
    empty = journal.key()
    journal.decide("s1", "accept", "cem", "v1", role="adjudicate")
    assert standing(journal) == {"s1": "accept"} and journal.disagreements() == {}
    assert journal.key() != empty and set(journal.opinions()["s1"]) == {"ann", "bob"}
    assert journal.undo("cem") == ["s1"] and set(journal.disagreements()) == {"s1"}


@pytest.mark.parametrize(
    "second",
    [("accept", "v2", None), ("relabel", None, "happy"), ("reject", None, None)],
)
def test_another_version_or_class_is_another_opinion(journal: Journal, second: Any) -> None:
    first = ("relabel", None, "sad") if second[0] == "relabel" else ("accept", "v1", None)
    journal.decide("s1", first[0], "ann", *first[1:])
    journal.decide("s1", second[0], "bob", *second[1:], role="second")
    assert set(journal.disagreements()) == {"s1"}
    journal.decide("s1", first[0], "bob", *first[1:])  # bob changes the second opinion
    assert journal.disagreements() == {} and standing(journal) == {"s1": first[0]}


def test_a_second_opinion_comes_from_somebody_else(journal: Journal, place: Place) -> None:
    journal.decide("s1", "keep", "ann")
    before = place.rows()
    with pytest.raises(DiffInfError, match="ann decided on sample s1"):
        journal.decide_many(several("s2", "s1"), "ann", role="second")
    with pytest.raises(DiffInfError, match="'third'"):
        journal.decide("s1", "keep", "bob", role="third")
    assert place.rows() == before
    journal.decide("s1", "drop", "bob", role="second")
    journal.decide("s1", "keep", "bob")
    journal.decide("s1", "drop", "bob", role="second")
    assert [d.action for d in journal.disagreements()["s1"]] == ["keep", "drop"]


def test_what_others_write_is_seen_without_opening_again(journal: Journal, place: Place) -> None:
    other = place.journal()
    assert journal.decisions() == other.decisions() == {}
    journal.decide("s1", "keep", "ann")
    assert standing(other) == {"s1": "keep"}
    other.decide("s2", "drop", "bob")
    assert journal.undo("bob") == ["s2"] and standing(other) == {"s1": "keep"}
    other.close()


def test_decisions_are_the_callers_own(journal: Journal) -> None:
    journal.decide("s1", "keep", "ann")
    journal.decisions().clear()
    journal.disagreements().clear()
    assert standing(journal) == {"s1": "keep"}


# ---------------------------------------------------------------- blind mode


def test_the_mode_of_a_decision_is_kept(journal: Journal) -> None:
    journal.decide("s1", "keep", "ann", seen=0, mode="blind")
    journal.decide("s2", "keep", "ann", seen=0, mode="open")
    journal.decide("s3", "keep", "ann")
    assert [d.mode for d in journal.decisions().values()] == ["blind", "open", ""]


def test_who_ever_decided_is_known_undone_or_not(journal: Journal) -> None:
    journal.decide("s1", "second_look", "ann")
    assert not journal.has_decided("s1", "ann")
    journal.decide("s1", "drop", "ann")
    journal.undo("ann")
    assert journal.has_decided("s1", "ann") and not journal.has_decided("s1", "bob")


def test_the_last_decisions_come_newest_first_and_once_a_sample(journal: Journal) -> None:
    for sample, action in (("s1", "keep"), ("s2", "drop"), ("s1", "reject"), ("s3", "keep")):
        journal.decide(sample, action, "ann")
    journal.decide("s4", "keep", "bob")
    journal.decide_many([Choice("s5", "keep"), Choice("s6", "keep")], "ann")

    def latest(n: int = 9) -> list[tuple[str, str]]:
        return [(d.sample, d.action) for d in journal.latest("ann", n)]

    whole = [("s6", "keep"), ("s5", "keep"), ("s3", "keep"), ("s1", "reject"), ("s2", "drop")]
    assert latest() == whole and latest(2) == whole[:2]
    journal.undo("ann")
    assert latest() == whole[2:]
