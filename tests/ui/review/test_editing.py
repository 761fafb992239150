"""Edits on the Review page: previews, Cancel, failures, and what they leave on the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from diffinf_core.config import change
from diffinf_core.engine import open_run
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run
from diffinf_core.ui.review.knobs import KNOBS
from diffinf_core.ui.review.page import Page
from diffinf_core.ui.review.presenter import Presenter
from diffinf_core.ui.review.state import DisplayedPair, PageState
from tests.ui.pages import skips
from tests.ui.review.window import Window


def asked(page: Page, **other: float | None) -> list[Any]:
    """What the controls of the panel send, with other numbers on some sliders."""
    sliders = [
        other.get(knob.key, float(slider.value))
        for knob, slider in zip(KNOBS, page.editor.controls.sliders, strict=True)
    ]
    return ["{}", "inversion", *sliders]


def edits(page: Page, window: Window, now: str) -> Any:
    values = asked(page, w_id=5.0)  # as it was, the run's own edit would be the answer
    page.editor._waiting(window.page_state, window.showing, now)
    return page.editor._run("one", window.request, window.page_state, window.showing, now, *values)


def unchanged(work: Any) -> bool:
    """Whether it answers, else Gradio empties all that it was to fill, but leaves everything as it is."""
    answers = list(work)
    return bool(answers) and all(skips(value) for answer in answers for value in answer)


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
    assert unchanged(late) and len(engine.pictures.versions(window.sample)) == 2


def test_an_edit_that_is_faster_than_the_word_that_it_waits_is_over(page: Page) -> None:
    window = Window(page)
    values = asked(page)
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
    assert "Waiting" not in window.message and unchanged(late)
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
    values = asked(page)
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
    values = asked(page, t0=typed)
    assert all(s.preprocess(99999.0) == 99999.0 for s in page.editor.controls.sliders)
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


def test_sliders_show_settings_that_another_program_stored(page: Page, run_copy: Path) -> None:
    Run.prepare(run_copy, change(open_run(run_copy).config, {"repair": {"w_id": 7.5}})).store()
    answer = page.editor.load(SimpleNamespace(), PageState())  # before the pair was asked for
    sliders = dict(zip([knob.key for knob in KNOBS], answer[-len(KNOBS) :], strict=True))
    assert sliders["w_id"]["value"] == 7.5
