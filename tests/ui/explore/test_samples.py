"""The table of all samples in a real browser."""

from __future__ import annotations

import pytest

from diffinf_core.engine import View, open_run
from diffinf_core.ui.explore.parts import ROWS
from tests.ui.browser import Server, choose, settled
from tests.ui.explore.window import expected, files, selected, wait_files

browser = pytest.mark.browser


@browser
def test_the_table_is_paged_sorted_and_filtered_on_the_server(page, server: Server) -> None:
    engine = open_run(server.run)
    n = len(engine.training)
    wait_files(page, expected(engine, View()))
    assert len(files(page)) == ROWS < n
    page.click("#table-next")
    wait_files(page, expected(engine, View(), ROWS))
    page.fill("#table-page input", "3")
    page.keyboard.press("Enter")
    wait_files(page, expected(engine, View(), 2 * ROWS))
    assert f"of {n} samples; page 3 of {-(-n // ROWS)}" in page.inner_text("#table-count")
    page.click("#table-back")
    wait_files(page, expected(engine, View(), ROWS))

    page.click("[data-di-sort=mean_loss]")
    wait_files(page, expected(engine, View(sort="mean_loss", descending=True)))
    page.click("[data-di-sort=mean_loss]")
    wait_files(page, expected(engine, View(sort="mean_loss")))
    page.focus("[data-di-sort=file]")
    page.keyboard.press("Enter")
    wait_files(page, expected(engine, View(sort="file")))
    page.click("[data-di-sort=rank]")

    label = engine.training.classes[1]
    choose(page, "table-label", label)
    wait_files(page, expected(engine, View(label=label)))
    choose(page, "table-high", "high-influence")
    wait_files(page, expected(engine, View(label=label, high=True)))
    choose(page, "table-label", "all")
    choose(page, "table-high", "all")
    column = next(c for c in engine.explore.samples().groups if c != "label")
    value = sorted(engine.explore.samples().groups[column].unique())[0]
    choose(page, "table-group", f"{column}: {value}")
    wait_files(page, expected(engine, View(group=(column, value))))
    choose(page, "table-group", "all")
    page.fill("#table-text textarea, #table-text input", "IMAGES/0001")
    found = expected(engine, View(text="images/0001"))
    assert 0 < len(found) < ROWS
    wait_files(page, found)
    page.fill("#table-text textarea, #table-text input", "no such file")
    page.wait_for_selector("#explore-table :text('No sample fits')")


@browser
def test_a_late_answer_to_a_filter_does_not_replace_that_to_a_later_one(
    page, server: Server
) -> None:
    engine = open_run(server.run)
    asked = []

    def handle(route) -> None:
        if label in route.request.post_data_json["data"]:
            asked.append(route)
            if len(asked) == 1:
                return  # until the other filter is set
        route.continue_()

    label = engine.training.classes[1]
    page.route("**/gradio_api/run/predict*", handle)
    with page.expect_request(lambda request: label in (request.post_data or "")):
        choose(page, "table-label", label)
    choose(page, "table-high", "high-influence")
    page.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 0))")
    if len(asked) > 1:  # then its answer comes before the first
        asked[1].request.response().finished()
    asked[0].continue_()
    settled(page)
    assert files(page) == expected(engine, View(label=label, high=True))
    assert len(asked) == 2, "a choice is one question"


@browser
def test_a_state_of_decision_filters(page, server: Server) -> None:
    engine = open_run(server.run)
    sample = engine.explore.samples().table.iloc[engine.explore.view(View(sort="file"))[7]]
    engine.review.decide(sample["id"], "second_look", "somebody")
    choose(page, "table-state", "second look")
    wait_files(page, [sample["file"]])
    assert engine.review.undo("somebody") == [sample["id"]]


@browser
def test_pictures_are_ticked_by_keyboard_and_stay_ticked(page, server: Server) -> None:
    engine = open_run(server.run)
    boxes = page.locator("#explore-table [data-di-pick]")
    boxes.first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    assert selected(page) == 2
    boxes.nth(5).click(modifiers=["Shift"])
    assert selected(page) == 5  # 1 and 3 to 6
    page.click("#table-next")
    wait_files(page, expected(engine, View(), ROWS))
    assert not boxes.first.is_checked()
    page.click("#table-back")
    wait_files(page, expected(engine, View()))
    assert [boxes.nth(i).is_checked() for i in range(7)] == [True, False, *[True] * 4, False]
    page.check("#table-only input")
    order = expected(engine, View())
    wait_files(page, [order[i] for i in (0, 2, 3, 4, 5)])
    page.uncheck("#table-only input")
    wait_files(page, order)
    page.check("#explore-table [data-di-pick-page]")
    assert selected(page) == ROWS
    choose(page, "table-high", "high-influence")
    page.click("#explore-clear")
    page.click("#table-extra")
    high = engine.explore.view(View(high=True))
    page.wait_for_function(
        f"document.querySelector('[data-di-count]')?.textContent === '{len(high)}'"
    )
