"""Who gets which sample: a stable share for second opinions, and nobody twice."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffinf_core.records import DiffInfError
from diffinf_core.review.journal import Journal
from diffinf_core.review.second import due_second, for_reviewer

IDS = [f"{i:012x}" for i in range(4000)]


def test_the_share_is_stable_nested_and_close_to_what_was_asked() -> None:
    assert due_second(IDS, 0) == set() and due_second(IDS, 1) == set(IDS)
    tenth, half = due_second(IDS, 0.1), due_second(IDS, 0.5)
    assert tenth < half and due_second(reversed(IDS), 0.1) == tenth
    assert due_second(IDS[:7], 0.5) == half & set(IDS[:7]), "whatever others there are"
    assert abs(len(tenth) - 400) < 80 and abs(len(half) - 2000) < 130


def test_the_share_does_not_change_between_versions() -> None:
    """A changed hash would ask for second opinions on other samples in the middle of a review."""
    found = due_second(IDS[:20], 0.25)
    assert sorted(found) == [
        "000000000003",
        "000000000004",
        "000000000008",
        "00000000000c",
    ]


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_is_within_0_and_1(share: float) -> None:
    with pytest.raises(DiffInfError, match="within 0 and 1"):
        due_second(IDS, share)


def test_each_may_judge_what_is_left_and_what_one_other_decided(journal: Journal) -> None:
    journal.decide("s1", "keep", "ann")
    journal.decide("s2", "second_look", "ann")
    journal.decide("s3", "drop", "bob")
    order = ["s4", "s3", "s2", "s1"]
    assert for_reviewer(order, "ann", 0, journal) == {"s4": "decide", "s2": "decide"}
    assert list(for_reviewer(order, "ann", 1, journal).items()) == [
        ("s4", "decide"),
        ("s3", "second"),
        ("s2", "decide"),
    ]
    assert for_reviewer(order, "cem", 1, journal) == {
        "s4": "decide",
        "s3": "second",
        "s2": "decide",
        "s1": "second",
    }


def test_two_opinions_are_enough_and_a_disagreement_is_handed_to_nobody(journal: Journal) -> None:
    journal.decide("s1", "keep", "ann")
    journal.decide("s1", "keep", "bob", role="second")
    journal.decide("s2", "keep", "ann")
    journal.decide("s2", "drop", "bob", role="second")
    journal.decide("s3", "keep", "ann", role="adjudicate")
    for who in ("ann", "bob", "cem"):
        assert for_reviewer(["s1", "s2", "s3"], who, 1, journal) == {}
    journal.undo("bob")
    assert for_reviewer(["s2"], "cem", 1, journal) == {"s2": "second"}


def test_names_are_taken_as_the_journal_writes_them(journal: Journal) -> None:
    journal.decide("s1", "keep", "half \ud800")
    assert for_reviewer(["s1"], "half ?", 1, journal) == {}


@settings(max_examples=30)
@given(st.floats(0, 1), st.sets(st.sampled_from(IDS), max_size=30))
def test_only_what_was_given_is_due(share: float, samples: set[str]) -> None:
    assert due_second(samples, share) == due_second(IDS, share) & samples
