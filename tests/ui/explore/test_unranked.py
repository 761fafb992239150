"""Explore where the run ranks by a score that is not computed yet: a sentence in every place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from diffinf_core.engine import open_run
from diffinf_core.records import Progress
from diffinf_core.ui.explore import page as explore_page
from diffinf_core.ui.explore.filters import JOB as MEASURES
from diffinf_core.ui.explore.filters import Filters
from diffinf_core.ui.explore.map import MapPart
from diffinf_core.ui.explore.samples import SamplesPart
from diffinf_core.ui.session import Session
from tests.ui.pages import handler, tick


@pytest.fixture
def session(run_copy: Path) -> Session:
    """A run with a map, which now ranks by a score that nobody has computed."""
    list(open_run(run_copy).explore.map.compute())
    session = Session(run_copy)
    session.rank_by("self_confidence")
    return session


def one(name: str) -> Iterator[Progress]:
    yield Progress(name, 1, 2, "half")


@pytest.mark.parametrize("name,words", [("map", "map-words"), (MEASURES, "measures-words")])
def test_the_timer_goes_on(session: Session, name: str, words: str) -> None:
    with gr.Blocks() as blocks, gr.Tab("Explore") as tab:
        explore_page.build(session, tab)
    look = tick(blocks, "explore-map")
    session.jobs.start(name, lambda: one(name))
    session.jobs.wait(30)
    drawn = look(f"{name}:running:7.0", "pca", True)
    assert "di-error" in drawn[words] and drawn["seen"].startswith(f"{name}:done")


def test_every_button_gives_a_sentence(session: Session) -> None:
    with gr.Blocks():
        shown, filters = MapPart(session), Filters(session)
        part = SamplesPart(session, gr.Textbox(), gr.Textbox(), gr.State(0))
    given: list[Any] = [c.value for c in part.given[:-2]]
    answers = [
        shown.shown("pca")[1], shown._begin("pca")[1], filters._begin()[0],
        filters._near_words("ffffffffffff"), part._all(*given, 1, "")[0],
    ]  # fmt: skip
    session.jobs.cancel()
    session.jobs.wait(30)
    assert all("di-notice" in answer for answer in answers)


def test_all_that_fit_are_handed_on_and_a_refusal_stands_above_the_list(run_copy: Path) -> None:
    session = Session(run_copy)
    with gr.Blocks() as blocks:
        part = SamplesPart(session, gr.Textbox(), gr.Textbox(), gr.State(0))
    given: list[Any] = [c.value for c in part.given[:-2]]
    said, ids = part._all(*given, 1, "")
    assert not said and set(ids.split()) == set(session.run.training.ids.tolist())
    assert handler(blocks, "table-extra", "click").outputs[0] is part.message
    assert "There is no" in part.filters._near_words("ffffffffffff")
