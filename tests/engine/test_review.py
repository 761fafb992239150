"""The verbs of a review on a real run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from diffinf_core.engine import OpenRun, open_run
from diffinf_core.experiments.arms import build_arm
from diffinf_core.records import Choice, DiffInfError
from diffinf_core.review.refine import refined_set
from diffinf_core.runs.run import Run


@pytest.fixture
def engine(finished_run: Path, tmp_path: Path) -> OpenRun:
    root = tmp_path / "run"
    shutil.copytree(finished_run, root)
    return open_run(root)


def order_of(engine: OpenRun) -> list[str]:
    return [str(i) for i in engine.queue["id"]]


def outside(engine: OpenRun) -> str:
    """A training sample without an edit."""
    edited = set(order_of(engine))
    return next(str(s) for s in engine.training.ids if str(s) not in edited)


def test_a_bulk_decision_is_what_was_previewed(engine: OpenRun) -> None:
    order, other = order_of(engine), outside(engine)
    found = engine.review.bulk_preview([*order, other], "accept", comment="all of them")
    assert [c.sample for c in found.choices] == order
    assert found.refused == {"there is no edit to accept": (other,)}
    engine.review.decide_many(found.choices, "ann", client="click")
    engine.review.decide_many(found.choices, "ann", client="click")
    assert {d.action for d in engine.review.decisions().values()} == {"accept"}
    assert engine.review.undo("ann") == order and engine.review.decisions() == {}
    assert engine.review.redo("ann") == order and engine.review.redo("ann") == []
    assert len(engine.review.bulk_preview([other], "keep")) == 1, "also without an edit"


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
def test_one_that_cannot_be_takes_none(engine: OpenRun, choice: Choice, part: str) -> None:
    sample = outside(engine) if choice.sample == "OUT" else choice.sample
    bad = Choice(sample, choice.action, choice.version)
    with pytest.raises(DiffInfError, match=part):
        engine.review.decide_many([Choice(order_of(engine)[0], "keep"), bad], "ann")
    assert engine.review.decisions() == {}


def test_two_reviewers_get_different_samples_until_none_is_left(engine: OpenRun) -> None:
    order = order_of(engine)
    second = open_run(engine.folder.root)
    seen: dict[str, list[str]] = {"ann": [], "bob": []}
    while True:
        turns = {who: e.assignment.next_for(who) for who, e in (("ann", engine), ("bob", second))}
        if turns["ann"] is None and turns["bob"] is None:
            break
        assert turns["ann"] != turns["bob"]
        for who, turn in turns.items():
            if turn:
                seen[who].append(turn[0])
                engine.review.decide(turn[0], "keep", who, role=turn[1])
    assert sorted(seen["ann"] + seen["bob"]) == sorted(order)
    assert set(engine.review.decisions()) == set(order)


def test_what_was_decided_between_the_list_and_the_claim_is_not_handed_out(
    engine: OpenRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, claim = order_of(engine), engine.assignment.claim

    def late(*given: object) -> str | None:
        engine.review.decide(order[0], "keep", "bob")
        monkeypatch.setattr(engine.assignment, "claim", claim)
        return claim(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.assignment, "claim", late)
    assert engine.assignment.next_for("ann") == (order[1], "decide")
    assert engine.assignment.held() == {order[1]: "ann"}


def test_a_disagreement_counts_as_undecided_everywhere(engine: OpenRun, tmp_path: Path) -> None:
    first, version = engine.queue[["id", "version"]].iloc[0]
    engine.review.decide(first, "drop", "ann")
    assert engine.assignment.next_for("bob", [first], share=1) == (first, "second")
    engine.assignment.release("bob")
    engine.review.decide(first, "accept", "bob", version, role="second")
    assert set(engine.review.disagreements()) == {first} and set(
        engine.review.journal.opinions()[first]
    ) == {
        "ann",
        "bob",
    }
    assert engine.assignment.next_for("cem", [first], share=1) is None
    run = Run.open(engine.folder.root)
    arm = build_arm(run, "reviewed")
    assert arm is not None and len(arm) == len(engine.training) and len(arm.edits) == 0
    flagged = bool(engine.pictures.record(first, version).flags)
    taken = {s.id for s in refined_set(run, "unflagged").kept if s.edit is not None}
    assert (first in taken) is not flagged
    list(engine.export(tmp_path / "out"))
    written = pd.read_csv(tmp_path / "out" / "labels.csv").set_index("id")
    assert written["source"][first] == "original"
    report = engine.report()["review"]
    assert report["second_look"] == 0 and report["disagreement"] == 1
    engine.review.decide(first, "drop", "cem", role="adjudicate")
    arm = build_arm(run, "reviewed")
    assert arm is not None and len(arm) == len(engine.training) - 1
    found = engine.reviewers.agreement()
    assert found["n"] == 1 and found["pairs"][0]["agree"] == 0, "adjudication is no agreement"


def test_a_row_of_any_training_sample(engine: OpenRun) -> None:
    queue, other = engine.queue, outside(engine)
    assert engine.review.row(queue["id"].iloc[0]).to_dict() == queue.iloc[0].to_dict()
    row = engine.review.row(other)
    assert row["id"] == other and row["version"] == "" and list(row.index) == list(queue.columns)
    with pytest.raises(DiffInfError, match="no training sample"):
        engine.review.row("000000000000")


def test_a_small_queue_gives_no_rule_and_says_so(engine: OpenRun) -> None:
    for sample in order_of(engine)[:3]:
        engine.review.decide(
            sample, "keep", "ann", seen=engine.review.stamps([sample], "ann")[sample]
        )
    engine.review.decide(order_of(engine)[3], "keep", "a script")
    rule = engine.review.rule()
    assert not rule.proposed and rule.why.startswith("Only 3 edits")
