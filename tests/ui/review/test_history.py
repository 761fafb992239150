"""The reviewer's last decisions as thumbnails, each a way back to its pair."""

from __future__ import annotations

from typing import Any

import pytest

from diffinf_core.engine import open_run
from tests.ui.browser import Server, eventually, open_page, showing, wait_place

pytestmark = pytest.mark.browser


def test_a_decision_is_revised_from_the_history(chromium: Any, own: Server) -> None:
    run = open_run(own.run)
    order = list(run.queue["id"])
    page = open_page(chromium, own)
    for at, key in enumerate("kdr", 2):
        page.keyboard.press(key)
        wait_place(page, f"{at} of ")
    run.review.decide(order[5], "keep", "ann")
    page.click("#history-tab")
    past = page.locator("#review-history .di-past")
    assert past.all_inner_texts() == ["rejected", "dropped", "kept"], "one's own, newest first"
    past.nth(1).click()
    page.wait_for_function("s => location.search.includes(s)", arg=order[1])
    page.keyboard.press("a")
    eventually(lambda: run.review.decisions()[order[1]].action == "accept")
    page.wait_for_function("s => location.search.includes(s)", arg=order[3])
    assert showing(page) == order[3], "and on where one was"
    eventually(lambda: past.all_inner_texts() == ["accepted", "rejected", "kept"])
    page.keyboard.press("u")
    page.wait_for_function("s => location.search.includes(s)", arg=order[1])
    eventually(lambda: past.all_inner_texts() == ["rejected", "dropped", "kept"])
    page.close()
