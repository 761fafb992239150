"""The Review page on screens of three sizes: what fits, what stands out, what a thumb can do."""

from __future__ import annotations

from typing import Any

import pytest

from diffinf_core.engine import open_run
from tests.ui.browser import Server, box_of, eventually, open_page, showing

pytestmark = pytest.mark.browser

_ACCENT = "rgb(184, 74, 16)"


def bottom(page: Any, element: str) -> float:
    """Where an element ends, in pixels from the top of the window."""
    return float(
        page.evaluate("i => document.getElementById(i).getBoundingClientRect().bottom", element)
    )


def test_pictures_are_large_and_decisions_in_sight(chromium: Any, server: Server) -> None:
    page = open_page(chromium, server)
    page.set_viewport_size({"width": 1440, "height": 900})
    wide = "s => document.querySelector(s).getBoundingClientRect().width"
    assert page.evaluate(wide, "#review-pair .di-original") >= 370
    assert page.evaluate(wide, "#review-pair .di-edit") >= 370
    assert max(bottom(page, i) for i in ("do-accept", "go-next", "comment")) < 900
    page.keyboard.press("w")  # the slider, too
    page.wait_for_selector("#review-pair.di-slide")
    assert bottom(page, "do-accept") < 900
    for width in (1440, 1024, 390):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def lit(page: Any) -> list[str]:
    """The actions whose buttons stand out."""
    colour = "i => getComputedStyle(document.getElementById(i)).backgroundColor"
    actions = ("accept", "keep", "relabel", "drop")
    return [i for i in actions if page.evaluate(colour, f"do-{i}") == _ACCENT]


def test_what_is_suggested_stands_out(chromium: Any, own: Server) -> None:
    queue = open_run(own.run).queue
    page = open_page(chromium, own)
    kinds = {str(kind): str(rows.index[0]) for kind, rows in queue.groupby("suggestion")}
    for suggestion, sample in kinds.items():
        page.goto(f"{own.address}?sample={sample}")
        page.wait_for_selector(f"#review-head [data-suggestion={suggestion}]")
        # colours change smoothly
        eventually(lambda only=suggestion: lit(page) == [only])  # type: ignore[misc]
    page.close()


def test_captions_follow_what_is_shown(chromium: Any, server: Server) -> None:
    page = open_page(chromium, server)
    caption = page.locator("#review-pair .di-edit figcaption")
    assert caption.inner_text() == "edit (synthetic)"
    page.keyboard.down("b")
    assert caption.inner_text() == "original"
    page.keyboard.up("b")
    page.keyboard.press("w")
    assert caption.inner_text() == "original left of the line, edit right of it"
    page.keyboard.press("w")
    assert caption.inner_text() == "edit (synthetic)"
    page.close()


def test_the_original_file_opens_on_the_machine_that_holds_it(
    chromium: Any, server: Server
) -> None:
    page = open_page(chromium, server)
    sample = showing(page)
    link = page.get_attribute("#review-head .di-name-of a", "href")
    assert link == f"di/file/{sample}"
    answer = page.request.get(f"{server.address}{link}")
    run = open_run(server.run)
    content, media = run.pictures.file(sample)
    assert answer.ok and answer.body() == content and answer.headers["content-type"] == media
    assert page.request.get(f"{server.address}di/file/{'0' * 12}").status == 404
    page.close()


def test_a_sitting_by_touch(chromium: Any, own: Server) -> None:
    run = open_run(own.run)
    order = list(run.queue["id"])
    page = chromium.new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.goto(own.address)
    page.wait_for_selector("#review-pair img", timeout=60_000)
    box = box_of(page.locator("#review-pair .di-edit .di-stack"))
    assert box["width"] >= 320, "as wide as the screen"
    assert box_of(page.locator("#do-accept"))["height"] >= 44
    for at in range(len(order)):
        action = ("accept", "reject")[at % 2]
        page.locator("#review-pair .di-edit").evaluate("e => e.scrollIntoView()")
        before = showing(page)
        swipe(page, 1 if action == "accept" else -1)
        eventually(lambda s=before: s in run.review.decisions())  # type: ignore[misc]
        assert run.review.decisions()[before].action == action
        if at < len(order) - 1:
            page.wait_for_function("s => !location.search.includes(s)", arg=before)
    assert list(run.review.decisions()) == order
    page.wait_for_selector("#review-message :text('last pair')")
    page.locator("#do-undo").tap()
    eventually(lambda: len(run.review.decisions()) == len(order) - 1)
    page.wait_for_selector("#review-message :text('Took back')")
    page.locator("#review-pair .di-edit").evaluate("e => e.scrollIntoView()")
    hold(page)
    page.wait_for_selector("#review-pair.di-blink")
    page.evaluate(_TOUCH, ["touchend", 0])
    page.wait_for_selector("#review-pair:not(.di-blink)")
    assert len(run.review.decisions()) == len(order) - 1
    page.close()


#: dispatch one touch event, so many pixels beside the middle of the edit
_TOUCH = """([kind, by]) => {
  const stack = document.querySelector("#review-pair .di-edit .di-stack");
  const box = stack.getBoundingClientRect();
  const at = { identifier: 1, target: stack,
    clientX: box.x + box.width / 2 + by, clientY: box.y + box.height / 2 };
  const touch = new Touch(at), down = kind !== "touchend";
  stack.dispatchEvent(new TouchEvent(kind, { bubbles: true, cancelable: true,
    touches: down ? [touch] : [], changedTouches: [touch] }));
}"""


def swipe(page: Any, way: int) -> None:
    """A quick touch across the edit, to the right (1) or left (-1)."""
    for kind, by in (("touchstart", 0), ("touchmove", 60), ("touchmove", 110), ("touchend", 110)):
        page.evaluate(_TOUCH, [kind, way * by])


def hold(page: Any) -> None:
    """A touch that stays."""
    page.evaluate(_TOUCH, ["touchstart", 0])
