"""What one person may know and do beside others, on the session that all pages share."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffinf_core.config import change
from diffinf_core.engine import open_run
from diffinf_core.records import Choice, DiffInfError, OutdatedError
from diffinf_core.runs.run import Run
from diffinf_core.ui.filters import STATES, Filter
from diffinf_core.ui.session import Session


@pytest.fixture
def session(run_copy: Path) -> Session:
    """A run where every decision gets a second opinion, open to several people."""
    Run.prepare(
        run_copy, change(open_run(run_copy).config, {"review": {"second_share": 1.0}})
    ).store()
    return Session(run_copy, shared=True)


def first_of(session: Session) -> str:
    return str(session.run.queue["id"].iloc[0])


def test_a_second_reviewer_finds_the_first_decision_nowhere(session: Session) -> None:
    sample, engine = first_of(session), session.run
    session.decide(Choice(sample, "drop"), "ann")
    assert session.run.assignment.open_for("bob", [sample]) == {sample: "second"}
    for state in STATES:
        found = session.filtered(Filter(state=state), "bob")
        assert (sample in found) == (state in ("to do", "all")), state
    assert sample not in session.filtered(Filter(state="all", reviewer="ann"), "bob")
    assert session.filtered(Filter(state="drop"), "ann") == [sample]
    assert not engine.review.decisions_for("bob") and not engine.explore.states().any()
    found = engine.review.bulk_preview([sample], "keep", reviewer="bob")
    assert found.by_state == {"undecided": 1} and not found.replaces
    session.decide(Choice(sample, "drop"), "bob")
    assert (
        session.filtered(Filter(state="drop"), "bob") == [sample] and engine.explore.states().any()
    )


def test_a_bulk_decision_is_a_second_opinion_where_one_is_due(session: Session) -> None:
    order = [str(i) for i in session.run.queue["id"]]
    session.decide(Choice(order[0], "drop"), "ann")
    found = session.run.review.bulk_preview(order[:3], "keep", reviewer="bob")
    stamps = session.run.review.stamps(order[:3])
    assert session.decide_many(found.choices, "bob", stamps) == (3, 0)
    assert set(session.run.review.disagreements()) == {order[0]}
    found = session.run.review.bulk_preview(order[:3], "reject", reviewer="cem")
    assert found.refused == {"reviewers disagree, which is settled pair by pair": (order[0],)}


def test_what_was_decided_after_the_preview_stays(session: Session) -> None:
    order = [str(i) for i in session.run.queue["id"]]
    found, stamps = session.run.review.bulk_preview(order, "keep"), session.run.review.stamps(order)
    session.decide(Choice(order[1], "drop"), "ann")
    assert session.decide_many(found.choices, "ann", stamps) == (len(order) - 1, 1)
    assert session.run.review.decisions()[order[1]].action == "drop"


def test_a_key_pressed_on_an_outdated_view_is_not_taken(session: Session) -> None:
    sample, engine = first_of(session), session.run
    stamp = engine.review.stamps([sample], "bob")[sample]
    session.decide(Choice(sample, "drop"), "ann")
    session.decide(Choice(sample, "keep"), "cem")
    with pytest.raises(OutdatedError):  # it would have settled what bob does not know of
        session.decide(Choice(sample, "reject"), "bob", seen=stamp)
    assert set(engine.review.disagreements()) == {sample}


def test_a_selection_is_narrowed_by_the_other_filters(session: Session) -> None:
    ids = [str(i) for i in session.run.queue["id"]]
    session.select("ann", ids[::-1])
    assert session.filtered(Filter(state="selection"), "ann") == ids[::-1]
    label = str(session.run.queue["label"].iloc[0])
    narrowed = session.filtered(Filter(state="selection", label=label), "ann")
    rows = session.run.review.rows(ids)
    assert narrowed == [i for i in ids[::-1] if rows["label"][i] == label] != ids[::-1]
    by_judge = session.filtered(Filter(state="selection", sort="judge agrees least"), "ann")
    assert by_judge == list(rows.sort_values("judge_after", kind="stable").index)


def test_a_selection_holds_its_order_with_and_without_edits(session: Session) -> None:
    run = session.run
    plain = [i for i in run.training.ids.tolist() if i not in run.queue.index][:4]
    label = run.review.row(plain[1])["label"]
    mixed = [plain[1], str(run.queue["id"].iloc[2]), plain[0], str(run.queue["id"].iloc[0])]
    session.select("ann", mixed)
    assert session.filtered(Filter(state="selection"), "ann") == mixed
    assert list(run.review.rows(mixed).index) == mixed
    narrowed = session.filtered(Filter(state="selection", label=label), "ann")
    assert narrowed == [i for i in mixed if run.review.row(i)["label"] == label]


def test_what_was_parked_comes_last_under_to_do(session: Session) -> None:
    order = [str(i) for i in session.run.queue["id"]]
    session.decide(Choice(order[0], "second_look"), "ann")
    assert session.filtered(Filter(), "ann") == [*order[1:], order[0]]
    assert session.filtered(Filter(state="second_look"), "ann") == order[:1]
    assert session.filtered(Filter(), "bob") == order, "parked by ann alone"


def test_blind_mode_hides_until_the_first_decision(session: Session) -> None:
    sample, review = first_of(session), session.run.review
    assert session.hides(sample, "ann", True) and not session.hides(sample, "ann", False)
    session.decide(Choice(sample, "second_look"), "ann", mode="blind")
    assert session.hides(sample, "ann", True), "a second look is no decision"
    session.decide(Choice(sample, "drop"), "ann", mode="blind")
    assert not session.hides(sample, "ann", True) and session.hides(sample, "bob", True)
    assert review.decisions()[sample].mode == "blind"
    review.undo("ann")
    assert not session.hides(sample, "ann", True), "the scores may have been seen meanwhile"
    Run.prepare(session.root, change(session.stored(), {"review": {"blind": True}})).store()
    session.reload()
    assert session.hides(sample, "bob", False) and not session.hides(sample, "ann", False)


def test_a_second_look_comes_last_in_what_is_handed_out(session: Session) -> None:
    order = [str(i) for i in session.run.queue["id"]]
    found = session.next_for("ann")
    assert found is not None and found[0] == order[0]
    session.decide(Choice(order[0], "second_look"), "ann")
    found = session.next_for("ann")
    assert found is not None and found[0] == order[1]


def test_a_setting_changed_elsewhere_survives_another_tau(session: Session) -> None:
    elsewhere = change(open_run(session.root).config, {"repair": {"w_id": 9.0}})
    Run.prepare(session.root, elsewhere).store()
    session.set_tau(5.0)
    config = open_run(session.root).config
    assert (config.repair.w_id, config.influence.tau) == (9.0, 5.0)


def test_a_relabel_to_the_same_label_is_refused(session: Session) -> None:
    row = session.run.queue.iloc[0]
    with pytest.raises(DiffInfError, match="already"):
        session.decide(Choice(str(row["id"]), "relabel", None, str(row["label"])), "ann")
