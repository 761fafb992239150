"""The verbs of a review on a real run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from diffinf_core.engine import Engine
from diffinf_core.experiments.arms import build_arm
from diffinf_core.records import Choice, DiffInfError
from diffinf_core.review.refine import refined_set
from diffinf_core.runs.run import Run


@pytest.fixture
def engine(finished_run: Path, tmp_path: Path) -> Engine:
    root = tmp_path / "run"
    shutil.copytree(finished_run, root)
    return Engine(root)


def order_of(engine: Engine) -> list[str]:
    return [str(i) for i in engine.queue()["id"]]


def outside(engine: Engine) -> str:
    """A training sample without an edit."""
    edited = set(order_of(engine))
    return next(str(s) for s in engine.training.ids if str(s) not in edited)


def test_a_bulk_decision_is_what_was_previewed(engine: Engine) -> None:
    order, other = order_of(engine), outside(engine)
    found = engine.bulk_preview([*order, other], "accept", comment="all of them")
    assert [c.sample for c in found.choices] == order
    assert found.refused == {"there is no edit to accept": (other,)}
    engine.decide_many(found.choices, "ann", client="click")
    engine.decide_many(found.choices, "ann", client="click")
    assert {d.action for d in engine.decisions().values()} == {"accept"}
    assert engine.undo("ann") == order and engine.decisions() == {}
    assert engine.redo("ann") == order and engine.redo("ann") == []
    assert len(engine.bulk_preview([other], "keep")) == 1, "also without an edit"


@pytest.mark.parametrize(
    "choice,part",
    [
        (Choice("000000000000", "keep"), "no training sample"),
        (Choice("../../etc", "accept", "x"), "no training sample"),
        (Choice("OUT", "accept", "0" * 16), "no edit"),
        (Choice("OUT", "accept", "../x"), "no edit"),
        (Choice("OUT", "accept"), "no edit"),
    ],
)
def test_one_that_cannot_be_takes_none(engine: Engine, choice: Choice, part: str) -> None:
    sample = outside(engine) if choice.sample == "OUT" else choice.sample
    bad = Choice(sample, choice.action, choice.version)
    with pytest.raises(DiffInfError, match=part):
        engine.decide_many([Choice(order_of(engine)[0], "keep"), bad], "ann")
    assert engine.decisions() == {}


def test_two_reviewers_get_different_samples_until_none_is_left(engine: Engine) -> None:
    order = order_of(engine)
    second = Engine(engine.run.root)
    seen: dict[str, list[str]] = {"ann": [], "bob": []}
    while True:
        turns = {who: e.next_for(who) for who, e in (("ann", engine), ("bob", second))}
        if turns["ann"] is None and turns["bob"] is None:
            break
        assert turns["ann"] != turns["bob"]
        for who, turn in turns.items():
            if turn:
                seen[who].append(turn[0])
                engine.decide(turn[0], "keep", who, role=turn[1])
    assert sorted(seen["ann"] + seen["bob"]) == sorted(order)
    assert set(engine.decisions()) == set(order)


def test_what_was_decided_between_the_list_and_the_claim_is_not_handed_out(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, claim = order_of(engine), engine.claim

    def late(*given: object) -> str | None:
        engine.decide(order[0], "keep", "bob")
        monkeypatch.setattr(engine, "claim", claim)
        return claim(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "claim", late)
    assert engine.next_for("ann") == (order[1], "decide")
    assert engine.held() == {order[1]: "ann"}


def test_a_disagreement_counts_as_undecided_everywhere(engine: Engine, tmp_path: Path) -> None:
    first, version = engine.queue().loc[0, ["id", "version"]]
    engine.decide(first, "drop", "ann")
    assert engine.next_for("bob", [first], share=1) == (first, "second")
    engine.release("bob")
    engine.decide(first, "accept", "bob", version, role="second")
    assert set(engine.disagreements()) == {first} and set(engine.opinions()[first]) == {
        "ann",
        "bob",
    }
    assert engine.next_for("cem", [first], share=1) is None
    run = Run.open(engine.run.root)
    arm = build_arm(run, "reviewed")
    assert arm is not None and len(arm) == len(engine.training) and len(arm.edits) == 0
    flagged = bool(engine.edit(first, version).flags)
    taken = {s.id for s in refined_set(run, "unflagged").kept if s.edit is not None}
    assert (first in taken) is not flagged
    list(engine.export(tmp_path / "out"))
    written = pd.read_csv(tmp_path / "out" / "labels.csv").set_index("id")
    assert written["source"][first] == "original"
    assert engine.report()["review"]["second_look"] == 1
    engine.decide(first, "drop", "cem", role="adjudicate")
    arm = build_arm(run, "reviewed")
    assert arm is not None and len(arm) == len(engine.training) - 1
    found = engine.reviewer_agreement()
    assert found["n"] == 1 and found["pairs"][0]["agree"] == 0, "adjudication is no agreement"


def test_a_row_of_any_training_sample(engine: Engine) -> None:
    queue, other = engine.queue(), outside(engine)
    assert engine.row_of(queue["id"][0]).to_dict() == queue.iloc[0].to_dict()
    row = engine.row_of(other)
    assert row["id"] == other and row["version"] == "" and list(row.index) == list(queue.columns)
    with pytest.raises(DiffInfError, match="no training sample"):
        engine.row_of("000000000000")


def test_a_small_queue_gives_no_rule_and_says_so(engine: Engine) -> None:
    for sample in order_of(engine)[:3]:
        engine.decide(sample, "keep", "ann", seen=engine.stamps([sample], "ann")[sample])
    engine.decide(order_of(engine)[3], "keep", "a script")
    rule = engine.rule()
    assert not rule.proposed and rule.why.startswith("Only 3 edits")
