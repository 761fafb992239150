"""A bulk decision is looked at first: what it takes, what it leaves, whose decisions it replaces."""

from __future__ import annotations

import pandas as pd
import pytest

from diffinf_core.records import Choice, Decision, DiffInfError
from diffinf_core.review.bulk import Bulk, preview

QUEUE = pd.DataFrame(
    {
        "id": ["s1", "s2", "s3", "s4"],
        "version": ["v1", "v2", "v3", "v4"],
        "label": ["happy", "happy", "sad", "sad"],
        "flags": ["", "blurred, label lost", "blurred", ""],
    }
)
#: s4 has another label than its edit was made for, s5 has no edit
ASSIGNED = {"s1": "happy", "s2": "happy", "s3": "sad", "s4": "happy", "s5": "sad"}
DECIDED = {
    "s1": Decision("s1", "keep", "ann", "t"),
    "s2": Decision("s2", "accept", "bob", "t", "v2"),
    "s3": Decision("s3", "accept", "bob", "t", "v0"),
}
ALL = ["s1", "s2", "s3", "s4", "s5", "gone", "s1"]


def look(action: str, label: str | None = None, samples: list[str] = ALL) -> Bulk:
    return preview(samples, action, QUEUE, ASSIGNED, DECIDED, ("happy", "sad"), label, "why")


def test_accepting_takes_the_queues_versions() -> None:
    found = look("accept")
    assert found.choices == (
        Choice("s1", "accept", "v1", None, "why"),
        Choice("s3", "accept", "v3", None, "why"),
    )
    assert found.refused == {
        "it is decided so already": ("s2",),
        "the edit shows another label than the assigned one": ("s4",),
        "there is no edit to accept": ("s5",),
        "not a training sample of this run": ("gone",),
    }
    assert found.by_class == {"happy": 1, "sad": 1} and found.by_flag == {"": 1, "blurred": 1}
    assert found.by_state == {"keep": 1, "accept": 1} and found.replaces == {"ann": 1, "bob": 1}


def test_relabelling_leaves_those_that_have_the_class() -> None:
    found = look("relabel", "sad")
    assert [c.sample for c in found.choices] == ["s1", "s2", "s4"] and len(found) == 3
    assert found.choices[0] == Choice("s1", "relabel", None, "sad", "why")
    assert found.refused["it has that label already"] == ("s3", "s5")
    assert found.by_flag == {"": 2, "blurred": 1, "label lost": 1}
    assert found.by_state == {"keep": 1, "accept": 1, "undecided": 1}


def test_what_stands_already_keeps_its_reviewer() -> None:
    found = look("keep")
    assert [c.sample for c in found.choices] == ["s2", "s3", "s4", "s5"]
    assert found.refused["it is decided so already"] == ("s1",) and found.replaces == {"bob": 2}


def test_every_sample_is_counted_once() -> None:
    for action in ("accept", "keep", "drop", "second_look"):
        found = look(action)
        refused = [s for ids in found.refused.values() for s in ids]
        assert sorted([c.sample for c in found.choices] + refused) == sorted(set(ALL))
        assert sum(found.by_class.values()) == sum(found.by_state.values()) == len(found)


@pytest.mark.parametrize("action,label", [("undo", None), ("relabel", None), ("relabel", "angry")])
def test_an_unknown_decision_is_refused(action: str, label: str | None) -> None:
    with pytest.raises(DiffInfError):
        look(action, label)


def test_nothing_of_nothing() -> None:
    assert len(look("keep", samples=[])) == 0 and look("keep", samples=[]).refused == {}
