"""Edits made again: where the panel is, two versions side by side, an edit that goes on elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from diffinf_core.engine import open_run
from tests.ui.browser import (
    Server,
    Steps,
    choose,
    eventually,
    open_page,
    showing,
    type_in,
    wait_place,
)

pytestmark = pytest.mark.browser


def test_the_panel_is_beside_the_pictures(chromium: Any, server: Server) -> None:
    page = open_page(chromium, server)
    page.set_viewport_size({"width": 1440, "height": 900})
    page.click("#reedit-tab")
    box = "i => document.getElementById(i).getBoundingClientRect()"
    for element in ("reedit-preset", "knob-w_id", "knob-steps", "do-reedit", "do-several"):
        assert page.evaluate(f"i => ({box})(i).bottom", element) < 900, element
    pair = page.evaluate(box, "review-pair")
    assert page.evaluate(box, "do-reedit")["left"] > pair["right"]
    page.keyboard.press("ArrowRight")  # the tab has the focus, and arrows are its own
    assert page.get_attribute("#history-tab", "aria-selected") == "true"
    assert not page.locator("#do-reedit").is_visible()
    page.close()


def test_two_versions_side_by_side(chromium: Any, own: Server) -> None:
    run = open_run(own.run)
    sample = str(run.queue["id"].iloc[0])
    for _ in run.repair.edit(sample, {"w_id": 0.5, "guidance": 4.0, "t0": 800}):
        pass
    first, second = run.pictures.versions(sample)
    page = open_page(chromium, own)
    assert showing(page) == sample
    page.click(f"#versions [data-beside='{second}']")
    page.wait_for_selector(f".di-two .di-other img[src*='{second}']")
    assert page.locator("#review-pair .di-stack").count() == 3
    before, after = (run.pictures.record(sample, v) for v in (first, second))
    cells = "r => [...r.cells].map(c => (c.querySelector('summary') || c).textContent.trim())"
    table = page.evaluate(f"[...document.querySelectorAll('#review-scores tr')].map({cells})")
    rows = {row[0]: row[1:] for row in table}
    assert ["original, run default", "version 1", "version 2"] in rows.values()
    assert rows["SSIM"][1].startswith(f"{before.ssim:.3f}")
    assert rows["SSIM"][2].startswith(f"{after.ssim:.3f}")
    assert rows["w_id"] == [f"{before.settings['w_id']:g}"] * 2 + ["0.5"]
    assert "lambda_perc" not in rows, "only the settings that differ"
    page.click(f"#versions [data-version='{second}']")  # they change places
    page.wait_for_selector(f".di-two .di-edit img[src*='{second}']")
    page.wait_for_selector(f".di-two .di-other img[src*='{first}']")
    page.keyboard.press("v")
    page.wait_for_selector("#review-pair .di-pair:not(.di-two)")
    page.keyboard.press("v")
    page.wait_for_selector(f".di-two .di-other img[src*='{first}']")
    page.keyboard.press("a")
    wait_place(page, "2 of ")
    assert run.review.decisions()[sample].version == second, "the one that is marked"
    assert page.locator(".di-two").count() == 0, "the next pair is shown as usual"
    page.close()


def test_an_edit_that_goes_on_is_seen_from_other_pairs(
    chromium: Any, held: Server, steps: Steps
) -> None:
    run = open_run(held.run)
    page = open_page(chromium, held)
    first = showing(page)

    def seen_while_it_goes_on(selector: str) -> None:
        """An answer that was under way may draw over what one step said; the next one says it again."""

        def seen() -> bool:
            steps.one()
            return bool(page.locator(selector).count())

        eventually(seen, 60)

    page.click("#reedit-tab")
    type_in(page, "#knob-steps input[type=number]", "50")  # more than it is let take here
    page.click("#do-several")
    page.wait_for_selector("#review-pair .di-edit figcaption:text('editing, step')")
    page.keyboard.press("Escape")
    page.click("#go-next")
    wait_place(page, "2 of")
    name = run.pictures.described(first)["file"]
    seen_while_it_goes_on(f"#review-running :text('Editing {name}, step')")
    page.click("#review-running [data-goto]")
    page.wait_for_function("s => location.search.includes(s)", arg=first)
    seen_while_it_goes_on("#review-pair .di-edit figcaption:text('editing, step')")
    page.click("#go-next")
    wait_place(page, "2 of")
    seen_while_it_goes_on("#review-running :text('step')")
    page.click("#review-running [data-press]")
    page.wait_for_selector("#review-message :text('Cancelled')")
    steps.go()
    eventually(lambda: page.locator("#review-running .di-running").count() == 0)
    assert len(run.pictures.versions(first)) == 1
    page.close()


def test_a_displayed_version_is_made_again_with_all_of_its_settings(
    chromium: Any, own: Server
) -> None:
    run = open_run(own.run)
    sample = str(run.queue["id"].iloc[0])
    for _ in run.repair.edit(sample, {"guide_from": "seen", "guidance": 4.0}):
        pass
    second = run.pictures.versions(sample)[1]
    page = open_page(chromium, own)
    page.click("#reedit-tab")
    page.click(f"#versions [data-version='{second}']")
    page.wait_for_selector(f"#review-pair .di-edit img[src*='{second}']")
    choose(page, "reedit-preset", "displayed version")
    page.wait_for_selector("#reedit-note :text('guide_from seen')")
    type_in(page, "#knob-steps input[type=number]", "5")
    page.click("#do-reedit")
    eventually(lambda: len(run.pictures.versions(sample)) == 3)
    before, after = (
        run.pictures.record(sample, v).settings for v in run.pictures.versions(sample)[1:]
    )
    assert {k for k in before if before[k] != after[k]} == {"steps"}
    choose(page, "reedit-preset", "run default")
    page.wait_for_selector("#reedit-note :text('guide_from seen')", state="detached")
    page.close()
