"""Deciding without looking, in a real browser, and what the panel says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from diffinf_core.engine import LEAST_LOOKED, Unseen, View, open_run
from diffinf_core.ui.explore.unseen import UnseenPart, unseen_words
from diffinf_core.ui.session import Session
from tests.ui.browser import Server, choose
from tests.ui.explore.test_grid import order
from tests.ui.explore.window import opened

browser = pytest.mark.browser


def test_the_error_is_said_or_that_too_few_were_looked_at() -> None:
    few = Unseen((), 3, 3, 0, 0.0, 0.7, {"there is no edit to accept": 1})
    assert f"estimated from {LEAST_LOOKED} on" in unseen_words(few) and "%" not in unseen_words(few)
    assert "1 picture left as before: there is no edit to accept." in unseen_words(few)
    enough = Unseen(tuple(range(200)), 40, 40, 4, 0.028, 0.237, {})  # type: ignore[arg-type]
    said = unseen_words(enough)
    assert said.startswith("200 pictures would be decided. Of 40 of these")
    assert "about 10.0%, between 2.8% and 23.7%" in said
    assert "Of 200 decisions about 20 would be wrong, 6 to 47." in said


FILTERS = ("all", "all", "", "all", "undecided", "all", "all", False, "", "rank", False)
ANN: Any = SimpleNamespace(username="ann")


@pytest.fixture
def part(run_copy: Path) -> UnseenPart:
    with gr.Blocks():
        return UnseenPart(Session(run_copy))


def test_a_decision_between_the_list_and_its_error_is_no_error(
    part: UnseenPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = part.session.run.review
    stamps = review.stamps

    def decided_meanwhile(samples: list[str]) -> dict[str, int]:
        found = stamps(samples)
        review.decide(samples[0], "keep", "bob")
        return found

    monkeypatch.setattr(review, "stamps", decided_meanwhile)
    said, (_, plan), _ = part.preview(ANN, 5, "drop", "", *FILTERS, 1, "")
    assert "would be decided" in said and len(plan) <= 5


def test_a_preview_that_comes_after_the_controls_were_changed_is_not_applied(
    part: UnseenPart,
) -> None:
    review = part.session.run.review
    _, planned, button = part.preview(ANN, 5, "drop", "", *FILTERS, 1, "")
    assert button["interactive"]
    for now in ((5, "keep", "", *FILTERS), (6, "drop", "", *FILTERS)):
        assert "Estimate the error first" in part.write(ANN, planned, *now)[0]
    assert not review.decisions()
    assert "Decided 5" in part.write(ANN, planned, 5, "drop", "", *FILTERS)[0]
    assert {d.action for d in review.decisions().values()} == {"drop"}


@browser
def test_the_first_k_are_decided_at_once_and_undone_at_once(chromium: Any, own: Server) -> None:
    engine = open_run(own.run)
    ids = order(engine, View(high=True))
    stamps = engine.review.stamps(ids, "ann")
    for sample in ids[:3]:
        engine.review.decide(sample, "keep", "ann", seen=stamps[sample])
    work = opened(chromium, own)
    page: Any = next(work)
    choose(page, "table-high", "high-influence")
    page.click("#unseen-panel > button")
    page.fill("#unseen-count input", "8")
    page.keyboard.press("Tab")
    page.click("#unseen-preview")
    page.wait_for_selector("#unseen-words :text('5 pictures would be decided')")
    said = page.inner_text("#unseen-words")
    assert (
        "3 pictures were decided by eye" in said
        and "3 pictures of them are decided already" in said
    )
    page.click("#unseen-apply")
    page.wait_for_selector("#unseen-words :text('Decided 5 pictures; one undo')")
    found = engine.review.decisions()
    assert {s: found[s].action for s in ids[:9] if s in found} == {
        **dict.fromkeys(ids[:3], "keep"),
        **dict.fromkeys(ids[3:8], "drop"),
    }
    assert found[ids[4]].comment == "bulk: the first 8 by rank" and not found[ids[4]].looked
    page.click("#explore-undo")
    page.wait_for_selector("#explore-message :text('on 5 pictures')")
    assert list(engine.review.decisions()) == ids[:3]
    page.click("#unseen-draw")
    page.wait_for_function(
        """() => [...document.querySelectorAll('#pages [role=tab]')].find(
          (tab) => tab.textContent.trim() === 'Review').getAttribute('aria-selected') === 'true'"""
    )
    page.wait_for_function(
        "ids => ids.includes(document.querySelector('#review-pair .di-pair')?.dataset.sample)",
        arg=ids[3:8],
    )
    work.close()
