"""Deciding without looking: what is proposed, what is left, and the error from what people decided by eye."""

from __future__ import annotations

import pandas as pd
import pytest

from diffinf_core.records import Choice, Decision, DiffInfError
from diffinf_core.review.rules import clopper_pearson
from diffinf_core.review.unseen import BY_JUDGE, LEAST, decide_unseen, drawn

IDS = [f"s{i:02}" for i in range(60)]
ASSIGNED = dict.fromkeys(IDS, "a")


def queue(edited: int = 30) -> pd.DataFrame:
    rows = [
        {
            "id": s,
            "version": f"v{i}",
            "label": "a",
            "judge_class_before": "a" if i % 3 == 0 else "b",
        }
        for i, s in enumerate(IDS[:edited])
    ]
    return pd.DataFrame(rows, columns=["id", "version", "label", "judge_class_before"])


def made(sample: str, action: str, looked: bool = True, **more: str) -> Decision:
    return Decision(sample, action, "ann", "2026-01-01T00:00:00", looked=looked, **more)


def asked(decisions: dict[str, Decision], action: str = "drop", **more):
    return decide_unseen(IDS, action, queue(), ASSIGNED, decisions, ["a", "b"], **more)


def test_only_the_undecided_are_decided_and_the_error_is_of_those_looked_at() -> None:
    decisions = {s: made(s, "drop" if i % 4 else "keep") for i, s in enumerate(IDS[:24])}
    decisions |= {s: made(s, "keep", looked=False) for s in IDS[24:30]}
    decisions[IDS[30]] = made(IDS[30], "second_look")
    found = asked(decisions, comment="bulk: the first 60", differing=[IDS[31]])
    assert found.choices == tuple(Choice(s, "drop", comment="bulk: the first 60") for s in IDS[32:])
    assert (found.decided, found.looked, found.otherwise) == (30, 24, 6)
    assert (found.low, found.high) == clopper_pearson(6, 24) and found.enough
    assert found.refused == {
        "somebody asked for a second look": 1,
        "reviewers disagree, which is settled pair by pair": 1,
    }


def test_too_few_are_said_to_be_too_few() -> None:
    found = asked({s: made(s, "drop") for s in IDS[: LEAST - 1]})
    assert found.looked == LEAST - 1 and not found.enough
    assert (found.low, found.high) == clopper_pearson(0, LEAST - 1)
    assert asked({}).low == 0 and asked({}).high == 1


def test_edits_are_accepted_in_their_version_only() -> None:
    decisions = {
        IDS[0]: made(IDS[0], "accept", version="v0"),
        IDS[1]: made(IDS[1], "accept", version="x"),
    }
    found = asked(decisions, "accept")
    assert (found.looked, found.otherwise) == (2, 1)
    assert [c.version for c in found.choices] == [f"v{i}" for i in range(2, 30)]
    assert found.refused == {"there is no edit to accept": 30}


def test_labels_come_from_the_judge_where_it_has_looked() -> None:
    decisions = {IDS[1]: made(IDS[1], "relabel", new_label="b"), IDS[2]: made(IDS[2], "keep")}
    found = asked(decisions, "relabel", new_label=BY_JUDGE)
    assert {c.sample: c.new_label for c in found.choices} == {
        s: "b" for i, s in enumerate(IDS[:30]) if i % 3 and i > 2
    }
    assert (found.looked, found.otherwise) == (2, 1)
    assert found.refused == {"it has that label already": 10, "the judge has not seen it": 30}
    assert {c.new_label for c in asked({}, "relabel", new_label="b").choices} == {"b"}
    for action, label in (("relabel", "c"), ("burn", None)):
        with pytest.raises(DiffInfError, match="choose one of"):
            asked({}, action, new_label=label)


def test_some_are_drawn_evenly_and_in_order() -> None:
    some = drawn(IDS, 10)
    assert some == sorted(some) and len(set(some)) == 10 and some == drawn(IDS, 10)
    assert some != IDS[:10] and drawn(IDS[:5], 10) == IDS[:5]
