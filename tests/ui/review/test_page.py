"""What the Review page answers, called as Gradio calls it; no browser."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from diffinf_core.config import change
from diffinf_core.engine import open_run
from diffinf_core.records import Choice, DiffInfError
from diffinf_core.runs.run import Run
from diffinf_core.ui.filters import Filter
from diffinf_core.ui.review.page import Page
from diffinf_core.ui.review.presenter import Presenter
from diffinf_core.ui.review.state import DisplayedPair, PageState
from diffinf_core.ui.session import Session


class Window:
    """One browser on the page, without the browser."""

    head = view = message = showing = running = history = ""

    def __init__(self, page: Page, who: str | None = None, sample: str = "") -> None:
        self.page, self.page_state = page, PageState()
        query = {"sample": sample} if sample else {}
        self.request: Any = SimpleNamespace(username=who, query_params=query)
        self.take(page.queue.load(self.request, self.page_state))

    def take(self, answer: list[Any]) -> None:
        """What the browser has on the screen after an answer."""
        for name, value in zip(Presenter.names, answer[-len(Presenter.names) :], strict=True):
            if isinstance(value, str):
                setattr(self, name, value)

    @property
    def sample(self) -> str:
        return DisplayedPair.read(self.showing).sample

    def key(self, action: str, showing: str | None = None) -> str:
        """Press the key of a decision; the message."""
        showing = self.showing if showing is None else showing
        given = (self.request, self.page_state, showing, None, "", True)
        self.take(self.page.decide(action, *given))
        return str(self.message)

    def say(self, verb: str, value: str = "") -> list[Any]:
        """What a script of the page tells the server; the answer."""
        text = json.dumps({"verb": verb, "value": value})
        answer = self.page.on_message(self.request, text, self.page_state, self.showing, "", True)
        self.take(answer)
        return answer

    def undo(self) -> None:
        self.take(self.page.take_back("undo", self.request, self.page_state))

    def step(self, by: int = 1) -> str:
        self.take(self.page.step(by, self.request, self.page_state))
        return str(self.message)

    def bulk(self, action: str) -> tuple[str, Any]:
        """Preview a bulk decision; what it says and what Apply would be given."""
        said, plan, _ = self.page.many.preview(self.request, self.page_state, action, None)
        return said, plan

    def apply(self, plan: Any, *now: str | None) -> str:
        said, _, _, *shown = self.page.many.write(self.request, self.page_state, plan, *now)
        self.take(shown)
        return str(said)


def page_of(run: Path, shared: bool = False) -> Page:
    with gr.Blocks():
        return Page(Session(run, shared=shared))


@pytest.fixture
def page(run_copy: Path) -> Page:
    """The page of one person."""
    return page_of(run_copy)


@pytest.fixture
def shared(run_copy: Path) -> Iterator[Page]:
    """The page of several, where everything gets a second opinion."""
    Run.prepare(
        run_copy, change(open_run(run_copy).config, {"review": {"second_share": 1.0}})
    ).store()
    yield page_of(run_copy, shared=True)


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


def edits(page: Page, window: Window, now: str) -> Any:
    values = [float(knob.value) for knob in page.editor.knobs]
    values[0] += 1  # w_id; as it was, the run's own edit would be the answer
    page.editor._waiting(window.page_state, window.showing, now)
    return page.editor._run("one", window.request, window.page_state, window.showing, now, *values)


def test_cancel_ends_what_runs_and_what_waits_but_not_what_is_asked_after(page: Page) -> None:
    window, engine = Window(page), page.session.run
    first = window.sample
    runs = edits(page, window, "0001")
    window.take(next(runs))
    assert "editing" in window.view and "Cancel stops it" in window.message
    assert "not finished" in window.key("accept")
    window.take(next(runs))
    assert "not finished" in window.message, "a preview must not wipe out what was said"
    window.step()
    waits = edits(page, window, "0002")
    halted = page.editor._halted(window.request, window.page_state, window.showing, "0003")
    window.take(halted)
    assert "Cancelled 2 edits. Nothing was changed." in window.message
    after = edits(page, window, "0004")
    for each in (runs, waits, after):
        for answer in each:
            window.take(answer)
    assert [len(engine.pictures.versions(s)) for s in (first, window.sample)] == [1, 2]
    assert not window.page_state.edits and window.page_state.editing is None
    halted = page.editor._halted(window.request, window.page_state, window.showing, "0005")
    assert "Nothing is being edited" in str(halted)
    late = edits(
        page, window, "0005"
    )  # its request comes after that of the Cancel that was pressed later
    assert not list(late) and len(engine.pictures.versions(window.sample)) == 2


def test_an_edit_that_is_faster_than_the_word_that_it_waits_is_over(page: Page) -> None:
    window = Window(page)
    values = [float(knob.value) for knob in page.editor.knobs]
    given = (window.request, window.page_state, window.showing, "0001")
    for answer in page.editor._run("one", *given, *values):
        window.take(answer)
    window.take(page.editor._waiting(window.page_state, window.showing, "0001"))
    assert "Waiting" not in window.message
    halted = page.editor._halted(window.request, window.page_state, window.showing, "0002")
    assert "Nothing is being edited" in str(halted)


def test_cancel_that_overtakes_the_word_of_an_edit_ends_it_and_not_a_later_one(page: Page) -> None:
    window, engine = Window(page), page.session.run
    later = edits(page, window, "0003")  # asked for after this Cancel, whose request is late
    halted = page.editor._halted(window.request, window.page_state, window.showing, "0002")
    assert "Nothing is being edited" in str(halted) and window.page_state.edits == {"0003"}
    late = edits(page, window, "0001")
    window.take(page.editor._waiting(window.page_state, window.showing, "0001"))
    assert "Waiting" not in window.message and not list(late)
    for answer in later:
        window.take(answer)
    assert len(engine.pictures.versions(window.sample)) == 2 and not window.page_state.edits


def test_a_preview_that_overtakes_cancel_does_not_stay(page: Page) -> None:
    window = Window(page)
    runs = edits(page, window, "0001")
    late = next(runs)
    assert "editing" in str(late)
    window.take(page.editor._halted(window.request, window.page_state, window.showing, "0002"))
    window.take(late)
    for answer in runs:
        window.take(answer)
    assert DisplayedPair.read(window.showing).version and "editing" not in window.showing
    assert "editing, step" not in window.view


def test_cancel_from_another_pair_leaves_no_word_of_the_edit(page: Page) -> None:
    window = Window(page)
    runs = edits(page, window, "0001")
    window.take(next(runs))
    window.step()
    late = next(runs)
    assert "Editing" in str(late)
    window.take(page.editor._halted(window.request, window.page_state, window.showing, "0002"))
    assert not window.running, "the step that is being computed goes on, which is no edit any more"
    window.take(late)
    assert window.running, "a preview that overtook Cancel"
    for answer in runs:
        window.take(answer)
    assert not window.running and window.page_state.editing is None


@pytest.fixture
def broken(page: Page, monkeypatch: pytest.MonkeyPatch) -> Page:
    """A page whose edits end without memory after their first preview."""
    edit = page.session.run.repair.edit

    def work(sample: str, overrides: Any) -> Iterator[Any]:
        yield next(iter(edit(sample, overrides)))
        raise MemoryError("CUDA out of memory")

    monkeypatch.setitem(page.session.run.repair.__dict__, "edit", work)
    return page


def test_an_edit_that_breaks_is_a_sentence_and_the_pair_is_back(
    broken: Page, capsys: pytest.CaptureFixture[str]
) -> None:
    window = Window(broken)
    before = window.showing
    for answer in edits(broken, window, "0001"):
        window.take(answer)
    assert "was not made: unexpected MemoryError" in window.message
    assert window.showing == before and "editing, step" not in window.view
    assert "CUDA out of memory" in capsys.readouterr().err
    assert window.page_state.editing is None and not window.page_state.edits


def test_an_edit_that_breaks_elsewhere_leaves_no_word_of_itself(broken: Page) -> None:
    window = Window(broken)
    runs = edits(broken, window, "0001")
    next(runs)
    window.step()
    window.running = broken.presenter.running(window.page_state)
    assert window.running
    for answer in runs:
        window.take(answer)
    assert not window.running and "MemoryError" in window.message


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("act", ["accept", "cancel"])
def test_a_preview_that_nothing_ends_any_more_gives_way_to_the_pair(
    page: Page, restarted: bool, act: str
) -> None:
    window = Window(page)
    before = DisplayedPair.read(window.showing)
    runs = edits(page, window, "0001")
    window.take(next(runs))
    runs.close()  # the window's connection broke
    if restarted:
        window.page_state = PageState()
    assert DisplayedPair.read(window.showing).version == "editing"
    if act == "accept":
        assert "This edit was not finished." in window.key("accept")
    else:
        given = (window.request, window.page_state, window.showing, "0002")
        window.take(page.editor._halted(*given))
        assert "Nothing is being edited." in window.message
    assert DisplayedPair.read(window.showing) == before and "editing, step" not in window.view
    assert ("no longer knows" in window.message) is restarted
    assert not page.session.run.review.decisions()


def test_cancel_takes_a_line_away_that_no_edit_stands_behind(page: Page) -> None:
    window = Window(page)
    window.running = "Editing a.png."
    window.take(page.editor._halted(window.request, window.page_state, window.showing, "0001"))
    assert "Nothing is being edited" in window.message and not window.running


def test_a_line_that_stands_still_goes_once_its_edit_is_over(page: Page) -> None:
    window = Window(page)
    runs = edits(page, window, "0001")
    window.take(next(runs))
    window.step()
    late = window.running
    assert "Editing" in late
    assert set(map(str, window.say("editing"))) == {str(gr.skip())}, "it goes on"
    for answer in runs:
        window.take(answer)
    assert not window.running
    window.running = late  # drawn after the word that the edit is over
    window.say("editing")
    assert not window.running


def test_networks_that_cannot_be_loaded_leave_nothing_under_way(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tries(_: Any) -> int:
        raise DiffInfError("There is no generator for these pictures")

    monkeypatch.setitem(page.session.run.repair.__dict__, "tries", tries)
    window = Window(page)
    values = [float(knob.value) for knob in page.editor.knobs]
    given = (window.request, window.page_state, window.showing, "0001", *values)
    for answer in page.editor._run("several", *given):
        window.take(answer)
    assert "no generator" in window.message and window.page_state.editing is None


def test_an_edit_that_never_came_is_not_counted_with_later_ones(page: Page) -> None:
    window = Window(page)
    page.editor._waiting(window.page_state, window.showing, "0001")  # and the queue was full
    runs = edits(page, window, "0002")
    next(runs)
    window.step()
    assert "Editing" in window.running and "more waiting" not in window.running
    for answer in runs:
        window.take(answer)
    assert not window.page_state.edits


@pytest.mark.parametrize("typed,reason", [(99999.0, "t0"), (None, "t0 is empty")])
def test_a_slider_beyond_its_ends_is_refused_in_a_sentence(
    page: Page, typed: float | None, reason: str
) -> None:
    window = Window(page)
    knobs = page.editor.knobs
    values = [typed if knob.elem_id == "knob-t0" else float(knob.value) for knob in knobs]
    assert all(knob.preprocess(99999.0) == 99999.0 for knob in knobs)
    page.editor._waiting(window.page_state, window.showing, "0001")
    given: Any = (window.request, window.page_state, window.showing, "0001", *values)
    for answer in page.editor._run("one", *given):
        window.take(answer)
    assert "was not made" in window.message and reason in window.message
    assert not window.page_state.edits


def test_the_class_that_was_chosen_stays_while_the_pair_does(page: Page) -> None:
    window, place = Window(page), Presenter.names.index("new_label")
    answers = list(edits(page, window, "0001"))
    assert "New version" in str(answers[-1]) and answers[-1][place] == gr.skip()
    for verb in ("redraw", "version", "beside"):
        assert window.say(verb)[1 + place] == gr.skip()
    window.step()
    assert page.presenter.render(window.page_state, "local")[place]["choices"]
    assert window.say("goto", window.page_state.order[0])[1 + place]["choices"]


def test_the_last_decisions_are_listed_where_no_pair_is_left(page: Page) -> None:
    window = Window(page)
    assert window.history.count("data-goto") == 0
    order = list(window.page_state.order)
    _, plan = window.bulk("drop")
    window.apply(plan)
    assert "Every pair is decided" in window.head
    assert window.history.count("data-goto") == min(len(order), 24)


def test_sliders_show_settings_that_another_program_stored(page: Page, run_copy: Path) -> None:
    Run.prepare(run_copy, change(open_run(run_copy).config, {"repair": {"w_id": 7.5}})).store()
    answer = page.editor.load(SimpleNamespace(), PageState())  # before the pair was asked for
    place = [knob.elem_id for knob in page.editor.knobs].index("knob-w_id")
    assert answer[1 + place]["value"] == 7.5
