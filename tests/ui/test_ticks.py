"""What the pages' timers draw of a job: the same end twice, a job after another, a restarted server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.ui.compare.page import ComparePage
from diffinf_core.ui.explore import page as explore_page
from diffinf_core.ui.export.page import ExportPage
from diffinf_core.ui.run.page import RunPage
from diffinf_core.ui.session import Session
from tests.ui.pages import skips, tick


def fails() -> Iterator[Progress]:
    yield from ()
    raise DiffInfError("The disk is full.")


def ends(stage: str) -> Iterator[Progress]:
    yield Progress(stage, 3, 3, "done")


def ran(session: Session, name: str, work: Any) -> None:
    session.jobs.start(name, work)
    session.jobs.wait(30)


@pytest.fixture
def compare(finished_run: Path) -> ComparePage:
    with gr.Blocks():
        return ComparePage(Session(finished_run))


@pytest.fixture
def export(finished_run: Path) -> ExportPage:
    with gr.Blocks():
        return ExportPage(Session(finished_run))


@pytest.fixture
def explore(finished_run: Path) -> tuple[Session, Any]:
    """The session, and the timer of Explore as a function of what it saw last."""
    session = Session(finished_run)
    with gr.Blocks() as blocks, gr.Tab("Explore") as tab:
        explore_page.build(session, tab)
    called = tick(blocks, "explore-map")
    return session, lambda before: called(before, "pca", True)


def test_the_same_end_twice_is_drawn_twice(compare: ComparePage) -> None:
    session, benchmark = compare.session, compare.benchmark
    seen = compare._tick("", None, None)[compare.seen]
    for work, words in ((fails, "disk is full"), (lambda: ends("retrain"), "3 of 3 trainings")):
        for _ in range(2):
            ran(session, "retrain", work)
            drawn = compare._tick(seen, None, None)
            assert words in drawn[compare.message]
            assert (compare.body in drawn) == (work is not fails), "the comparison is read anew"
            seen = drawn[compare.seen]
            assert compare.message not in compare._tick(seen, None, None)
    seen = benchmark._tick("")[benchmark.seen]
    for _ in range(2):
        ran(session, "benchmark", fails)
        drawn = benchmark._tick(seen)
        assert "disk is full" in drawn[benchmark.message]
        seen = drawn[benchmark.seen]


def test_the_same_end_twice_is_drawn_twice_in_explore(explore: Any) -> None:
    session, look = explore
    seen = look("")["seen"]
    for _ in range(2):
        ran(session, "map", fails)
        drawn = look(seen)
        assert "disk is full" in drawn["map-words"]
        seen = drawn["seen"]
        assert skips(look(seen)["map-words"])


def test_a_result_is_drawn_though_another_job_began_before_the_page_looked(
    compare: ComparePage, explore: Any
) -> None:
    session, look = explore
    ran(session, "run", lambda: ends("data"))
    drawn = look("map:running:7.0")
    assert not skips(drawn["map-words"]) and skips(drawn["measures-words"])
    ran(compare.session, "run", lambda: ends("data"))
    assert compare.body in compare._tick("retrain:running:7.0", None, None)
    assert compare.benchmark.tables in compare.benchmark._tick("benchmark:running:7.0:2")


def test_a_job_that_was_asked_to_stop_is_stopping_until_it_has(
    compare: ComparePage, finished_run: Path
) -> None:
    session, at, go = compare.session, threading.Event(), threading.Event()
    with gr.Blocks(), gr.Tab("Run") as tab:
        run = RunPage(session, tab)

    def slow(name: str) -> Iterator[Progress]:
        yield Progress(name, 1, 9)
        at.set()
        go.wait(30)
        yield Progress(name, 2, 9)

    for name, page in (("retrain", compare), ("benchmark", compare.benchmark)):
        look = (lambda s: compare._tick(s, None, None)) if page is compare else page._tick
        at.clear()
        go.clear()
        session.jobs.start(name, partial(slow, name))
        assert at.wait(30)
        assert "1 of 9" in look("")[page.message]
        assert "Stopping" in page._stop() and "Stopping" in look("")[page.message]
        assert "stopping" in run._tick("")[run.stages]
        go.set()
        session.jobs.wait(30)
        assert "cancelled" in look("seen")[page.message]
        assert "stopping" not in run._tick("")[run.stages]
    assert "Nothing is running" in run._stop()[run.message]


def test_after_a_restart_the_progress_of_a_job_that_is_gone_goes(
    compare: ComparePage, export: ExportPage, explore: Any
) -> None:
    _, look = explore
    assert compare._tick("", None, None)[compare.message] == ""
    assert compare.benchmark._tick("")[compare.benchmark.message] == ""
    assert export._tick("")[export.message] == ""
    drawn = look("")
    for name in ("map-words", "pairs-words", "measures-words", "precision-words"):
        assert drawn[name] == ""
        assert skips(look(drawn["seen"])[name]), "once"
    assert skips(drawn["explore-map"])
