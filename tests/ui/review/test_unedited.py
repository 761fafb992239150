"""Pictures without an edit: what speaks for which decision, and an edit that is made there and then."""

from __future__ import annotations

import re
from typing import Any

import pytest

from diffinf_core.engine import OpenRun, open_run
from tests.ui.browser import Server, eventually, open_page, showing

pytestmark = pytest.mark.browser


def outside(run: OpenRun, action: str) -> str:
    """A sample outside of tau for which this is suggested."""
    plain = (i for i in run.training.ids.tolist() if i not in run.queue.index)
    return next(i for i in plain if run.predictions.suggestion(i)[0] == action)


def test_what_speaks_for_which_decision_is_shown(chromium: Any, server: Server) -> None:
    run = open_run(server.run)
    page = open_page(chromium, server)
    for action in ("relabel", "keep"):
        sample = outside(run, action)
        seen, (_, new_label, why) = run.predictions.of(sample), run.predictions.suggestion(sample)
        page.goto(f"{server.address}?sample={sample}")
        page.wait_for_selector(f"#review-head [data-suggestion={action}]")
        suggested = f"relabel to {new_label}" if new_label else action
        assert f"suggested: {suggested}, because {why}" in page.inner_text("#review-head")
        eventually(lambda v=new_label: page.input_value("#new-label input") == v)  # type: ignore[misc]
        rows = page.locator("#review-scores .di-class")
        for at, name in enumerate(run.training.classes):
            text = re.split(r"\s+", rows.nth(at).inner_text().strip())
            assert text[-3:] == [name, f"{seen.judge[at]:.2f}", f"{seen.classifier[at]:.2f}"]
        drawn = page.locator("#review-scores .di-dist title").first.text_content()
        assert re.fullmatch(r"higher than \d+% of the training set", drawn)
        assert page.get_attribute("#do-accept", "aria-disabled") == "true"
        page.keyboard.press("a")
        page.wait_for_selector("#review-message :text('This picture has no edit to accept')")
        assert run.review.decisions() == {} and showing(page) == sample
    page.keyboard.press("l")
    page.wait_for_selector("#review-message :text('Choose the class to relabel to')")
    assert run.review.decisions() == {}, "no class was suggested, and none was chosen"
    page.close()


def test_it_is_edited_there_and_then(chromium: Any, own: Server) -> None:
    run = open_run(own.run)
    sample = outside(run, "relabel")
    page = open_page(chromium, own, f"?sample={sample}")
    page.click("#review-pair button:text('Edit this picture')")
    page.wait_for_selector("#review-message :text('New version.')", timeout=90_000)
    (version,) = run.pictures.versions(sample)
    page.wait_for_selector(f"#review-pair .di-edit img[src*='{version}']")
    assert page.get_attribute("#do-accept", "aria-disabled") == "false"
    page.goto(f"{own.address}?sample={sample}")  # it is there when one comes back
    page.wait_for_selector(f"#review-pair .di-edit img[src*='{version}']")
    page.keyboard.press("a")
    eventually(lambda: sample in run.review.decisions())
    assert run.review.decisions()[sample].version == version
    page.close()


def test_the_key_edits_while_its_panel_is_closed(chromium: Any, own: Server) -> None:
    run = open_run(own.run)
    sample = outside(run, "keep")
    page = open_page(chromium, own, f"?sample={sample}")
    page.keyboard.press("e")
    eventually(lambda: len(run.pictures.versions(sample)) == 1, 90)
    page.close()
