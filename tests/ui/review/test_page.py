"""What the Review page answers, called as Gradio calls it; no browser."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from diffinf_core.config import change
from diffinf_core.engine import open_run
from diffinf_core.records import Choice
from diffinf_core.runs.run import Run
from diffinf_core.ui.filters import Filter
from diffinf_core.ui.review.page import Page
from diffinf_core.ui.review.state import DisplayedPair, PageState
from tests.ui.review.window import Window


def test_the_same_key_twice_at_once_decides_one_pair(page: Page) -> None:
    window, engine = Window(page), page.session.run
    for turn in range(3):
        showing = window.showing
        barrier = threading.Barrier(2)

        def press(showing: str = showing, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            page.decide("keep", window.request, window.page_state, showing, None, "", True)

        both = [threading.Thread(target=press) for _ in range(2)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        window.take(page.presenter.render(window.page_state, "local"))
        assert len(engine.review.decisions()) == turn + 1 and window.page_state.at == turn + 1


def test_a_key_for_another_pair_says_so_and_decides_nothing(page: Page) -> None:
    window = Window(page)
    before = window.showing
    window.step()
    assert "for another pair" in window.key("drop", before)
    assert not page.session.run.review.decisions()


def test_undo_and_redo_name_the_picture_and_the_decision(page: Page) -> None:
    window, run = Window(page), page.session.run
    name = run.pictures.described(window.sample)["file"]
    window.key("drop")
    window.undo()
    assert f"Took back {name}: dropped from the data set." in window.message
    window.take(page.take_back("redo", window.request, window.page_state))
    assert f"Decided again {name}: dropped from the data set." in window.message


def test_the_pair_names_its_file_and_what_the_data_set_says_of_it(page: Page) -> None:
    window, run = Window(page), page.session.run
    described = run.pictures.described(window.sample)
    assert f'data-copy="{described.pop("file")}"' in window.head
    assert described and not {"id", "file", "label", "split"} & set(described)
    for column, value in described.items():
        assert f"{column} <b>{value}</b>" in window.head
    assert f'data-suggestion="{run.review.row(window.sample)["suggestion"]}"' in window.head


def test_a_comment_stays_with_its_decision(page: Page) -> None:
    window = Window(page)
    given = (window.request, window.page_state, window.showing, None)
    page.decide("keep", *given, "a <twin>", True)
    window.step(-1) if window.page_state.at else None
    assert "<q" in window.head and "a &lt;twin&gt;" in window.head


def test_a_picture_without_an_edit_cannot_be_accepted(page: Page) -> None:
    run = page.session.run
    plain = next(i for i in run.training.ids.tolist() if i not in run.queue.index)
    page.session.select("local", [plain])
    window = Window(page)
    window.take(page.queue.again(window.request, window.page_state))
    assert window.sample == plain
    assert "This picture has no edit to accept. Press E to make one." in window.key("accept")
    assert not run.review.decisions()


def test_a_comment_that_was_begun_meanwhile_stays(page: Page) -> None:
    window = Window(page)
    given = (window.request, window.page_state, window.showing, None)
    answer = page.decide("keep", *given, "", True)
    assert answer[0] == gr.skip()
    window.take(answer)
    given = (window.request, window.page_state, window.showing, None)
    assert page.decide("keep", *given, "said", True)[0] == ""


def test_a_blind_opinion_in_another_window_settles_nothing_unseen(shared: Page) -> None:
    engine = shared.session.run
    sample = str(engine.queue["id"].iloc[0])
    shared.session.decide(Choice(sample, "keep"), "bob")
    first, other = (Window(shared, "ann", sample) for _ in range(2))
    assert first.sample == other.sample == sample
    other.key("drop")
    assert set(engine.review.disagreements()) == {sample}
    said = first.key("drop")
    assert "Two reviewers disagree about this pair by now; your decision was not saved." in said
    assert set(engine.review.disagreements()) == {sample}, "nobody has seen both opinions yet"
    assert "bob" in first.head and "ann" in first.head
    first.key("drop")
    assert (
        not engine.review.disagreements() and engine.review.decisions()[sample].role == "adjudicate"
    )


def test_what_a_bulk_decided_is_all_to_do_again_after_one_undo(page: Page) -> None:
    window, engine = Window(page), page.session.run
    order = list(window.page_state.order)
    _, plan = window.bulk("keep")
    assert (
        f"Decided {len(order)}" in window.apply(plan, "keep", None) and not window.page_state.order
    )
    window.undo()
    assert not engine.review.decisions() and window.page_state.order == order
    window.take(page.take_back("redo", window.request, window.page_state))
    assert len(engine.review.decisions()) == len(order) and window.page_state.order == order[:1]
    window.undo()
    assert window.page_state.order[0] == order[0] and set(window.page_state.order) == set(order)
    for _ in order[:-1]:
        assert "last pair" not in window.key("keep")
    assert "last pair" in window.key("keep") and len(engine.review.decisions()) == len(order)


def test_what_was_passed_over_comes_again_but_not_what_was_put_off(page: Page) -> None:
    window, engine = Window(page), page.session.run
    order = list(window.page_state.order)
    window.step()
    for _ in order[2:]:
        window.key("keep")
    assert "last pair" not in window.key("second_look")
    assert window.sample == order[0], "the one that was passed over"
    assert "last pair" not in window.key("keep") and window.sample == order[-1]
    assert "last pair" in window.key("second_look") and window.sample == order[-1]
    assert engine.assignment.postponed("local") == {order[-1]} and len(
        engine.review.decisions()
    ) == len(order)


def test_a_second_look_at_the_last_pair_goes_on_with_others(shared: Page) -> None:
    window, engine = Window(shared, "ann"), shared.session.run
    order = list(window.page_state.order)
    for _ in order[1:]:
        window.step()
    assert window.sample == order[-1]
    window.key("second_look")
    assert window.sample == order[0]
    engine.assignment.release("ann")


def test_pairs_that_others_took_back_come_up_before_all_is_done(shared: Page) -> None:
    engine = shared.session.run
    order = [str(i) for i in engine.queue["id"]]
    shared.session.decide_many(
        [Choice(s, "keep") for s in order[1:]], "ann", engine.review.stamps(order)
    )
    shared.session.decide_many(
        [Choice(s, "keep") for s in order[1:]], "bob", engine.review.stamps(order[1:])
    )
    window = Window(shared, "cem")
    assert window.page_state.order == [order[0]]
    engine.review.undo("bob")
    engine.review.undo("ann")
    window.key("keep")
    assert window.sample in order[1:] and "Every pair is decided" not in window.head


def test_a_plan_belongs_to_the_filter_it_was_made_under(page: Page) -> None:
    window, engine = Window(page), page.session.run
    _, plan = window.bulk("drop")
    some = [str(i) for i in engine.queue["id"].iloc[:2]]
    page.session.select("local", some)
    window.take(page.queue.again(window.request, window.page_state))
    assert "Preview first" in window.apply(plan, "drop", None) and not engine.review.decisions()
    _, plan = window.bulk("drop")
    assert "Decided 2" in window.apply(plan, "drop", None) and set(
        engine.review.decisions()
    ) == set(some)


def test_a_preview_that_comes_after_the_decision_was_changed_is_not_applied(page: Page) -> None:
    window, engine = Window(page), page.session.run
    _, plan = window.bulk("drop")
    assert "Preview first" in window.apply(plan, "keep", None)
    assert "Preview first" in window.apply(plan, "drop", engine.training.classes[0])
    assert not engine.review.decisions()


def test_a_server_that_began_anew_says_that_no_filter_is_in_force(page: Page) -> None:
    window, engine = Window(page), page.session.run
    window.step()
    sample, order = window.sample, list(window.page_state.order)
    window.page_state = PageState()  # what a new server knows
    said, plan = window.bulk("drop")
    assert "no longer knows" in said and not plan
    assert "no longer knows" in window.key("keep") and set(engine.review.decisions()) == {sample}
    assert window.page_state.order == order and window.page_state.wanted == Filter()
    assert "no longer knows" not in window.key("keep")
    window.page_state = PageState()
    assert "no longer knows" in window.step()
    window.page_state = PageState()
    window.undo()
    assert "no longer knows" in window.message and "Every pair is decided" not in window.head
    window.page_state = PageState()
    window.apply(((3, "drop", None), ((Choice(sample, "drop"), 0),)), "drop", None)
    assert "no longer knows" in window.head and not engine.review.decisions().get("drop")
    window.page_state = PageState()
    window.take(page.editor._halted(window.request, window.page_state, window.showing, "0001"))
    assert "Every pair is decided" not in window.head


def test_the_first_pair_comes_first_where_there_was_no_queue_before(page: Page) -> None:
    window = Window(page)
    first = window.sample
    window.page_state = PageState(trouble="Nothing to review yet", fills=1)
    assert not window.step() and window.sample == first


def test_settings_that_another_program_stored_are_taken_over(page: Page, run_copy: Path) -> None:
    Run.prepare(run_copy, change(open_run(run_copy).config, {"repair": {"w_id": 7.5}})).store()
    assert page.session.run.config.repair.w_id != 7.5
    Window(page)
    assert page.session.run.config.repair.w_id == 7.5
    held = threading.Event()

    def work() -> Iterator[Any]:
        held.wait(60)
        yield from ()

    page.session.jobs.start("run", work)
    Run.prepare(run_copy, change(page.session.stored(), {"repair": {"w_id": 1.5}})).store()
    page.session.follow()
    assert page.session.run.config.repair.w_id == 7.5, "a job works with these"
    held.set()
    page.session.jobs.wait(30)
    page.session.follow()
    assert page.session.run.config.repair.w_id == 1.5


def test_a_copied_page_state_has_a_turn_of_its_own() -> None:
    page_state = PageState()
    twin = copy.deepcopy(page_state)
    done = []
    with page_state.turn:
        other = threading.Thread(target=lambda: done.append(twin.turn.__enter__()))
        other.start()
        other.join(10)
    assert done == [None]


def test_what_a_browser_shows_is_read_whatever_it_says() -> None:
    for shown in (DisplayedPair("a1", "v2", 17, "second"), DisplayedPair("a1", "", 0, "decide")):
        assert DisplayedPair.read(str(shown)) == shown
    assert DisplayedPair.read("") == DisplayedPair()
    assert DisplayedPair.read("x") == DisplayedPair("x")
    assert DisplayedPair.read("x - NaN ' OR 1") == DisplayedPair("x", "", None, "'")


def test_the_last_decisions_are_listed_where_no_pair_is_left(page: Page) -> None:
    window = Window(page)
    assert window.history.count("data-goto") == 0
    order = list(window.page_state.order)
    _, plan = window.bulk("drop")
    window.apply(plan, "drop", None)
    assert "Every pair is decided" in window.head
    assert window.history.count("data-goto") == min(len(order), 24)
