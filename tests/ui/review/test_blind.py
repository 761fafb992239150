"""Blind mode: scores, suggestion and predictions are hidden until the decision, and the journal says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diffinf_core.config import change
from diffinf_core.engine import OpenRun, open_run
from diffinf_core.records import Decision
from diffinf_core.runs.run import Run
from tests.ui.browser import Server, eventually, open_page, showing, wait_place

pytestmark = pytest.mark.browser


def hidden(page: Any) -> bool:
    """Whether nothing on the page says what the figures are or speak for."""
    words = ("influence rank", "suggested:", "self-influence", "identity cosine", "in the queue")
    text = page.inner_text(".di-desk") + page.inner_text("#review-head")
    titles = page.evaluate("[...document.querySelectorAll('#versions [title]')].map(e => e.title)")
    lit = page.get_attribute("#review-head .di-head", "data-suggestion")
    bars = page.locator("#review-scores .di-prob, #review-scores .di-flag").count()
    chosen = page.input_value("#new-label input")
    return not (any(w in text for w in words) or any(titles) or lit or bars or chosen)


def test_a_reviewer_may_hide_what_speaks_for_a_decision(chromium: Any, own: Server) -> None:
    run = open_run(own.run)
    order = list(run.queue["id"])
    page = open_page(chromium, own)
    assert not hidden(page)
    page.keyboard.press("k")  # seen with its scores
    wait_place(page, "2 of ")
    page.check("#blind-mode input")
    page.wait_for_selector("#review-scores :text('Blind mode')")
    assert showing(page) == order[1] and hidden(page)
    page.reload()
    page.wait_for_selector("#review-scores :text('Blind mode')")
    assert page.is_checked("#blind-mode input"), "it is this browser's wish"
    page.keyboard.press("r")
    page.wait_for_function("s => location.search.includes(s)", arg=order[2])
    assert hidden(page)
    page.keyboard.press("u")  # decided once: what is said of it is shown from then on
    page.wait_for_function("s => location.search.includes(s)", arg=order[1])
    page.wait_for_selector("#review-head :text('influence rank')")
    page.keyboard.press("r")
    page.wait_for_function("s => location.search.includes(s)", arg=order[2])
    page.keyboard.press("d")
    eventually(lambda: len(run.review.decisions()) == 3)
    assert [d.mode for d in run.review.decisions().values()] == ["open", "open", "blind"]
    page.click("#filter-flag input")
    page.get_by_role("option", name="flagged", exact=True).click()
    page.wait_for_selector("#review-message :text('In blind mode pairs are not chosen')")
    page.uncheck("#blind-mode input")
    page.wait_for_selector("#review-head :text('influence rank')")
    page.close()


def opinions_of(run: OpenRun) -> dict[str, dict[str, Decision]]:
    """Every pair of the queue with the opinions on it."""
    return {s: {} for s in run.queue["id"]} | run.review.journal.opinions()


def judge(page: Any, key: str, address: str) -> None:
    """Decide on the pair that is shown, blind; where none is, ask for what is to do by now."""

    def ask_again() -> None:
        page.goto(address)
        page.wait_for_selector("#review-pair img, #review-head .di-notice", timeout=60_000)

    if not page.locator("#review-pair .di-pair").count():
        ask_again()
        return
    before = showing(page)
    assert hidden(page)
    page.keyboard.press(key)
    page.wait_for_function(
        """s => document.querySelector("#review-pair .di-pair")?.dataset.sample !== s
          || document.querySelector("#review-message").textContent.includes("last pair")""",
        arg=before,
    )
    if "last pair" in page.inner_text("#review-message"):
        ask_again()


def test_three_reviewers_in_blind_mode(chromium: Any, run_copy: Path) -> None:
    config = change(open_run(run_copy).config, {"review": {"blind": True, "second_share": 1.0}})
    Run.prepare(run_copy, config).store()
    run = open_run(run_copy)
    order, people = list(run.queue["id"]), {"ann": "k", "bob": "r", "cem": "k"}
    login = {"DIFFINF_LOGIN": ",".join(f"{name}:word of {name}" for name in people)}
    windows = {}
    with Server(run_copy, login) as server:
        for name in people:
            page = windows[name] = chromium.new_page(viewport={"width": 1440, "height": 950})
            page.goto(server.address)
            page.get_by_label("Name").fill(name)
            page.get_by_label("Password").fill(f"word of {name}")
            page.keyboard.press("Enter")
            page.wait_for_selector("#review-pair img", timeout=60_000)
            assert page.is_disabled("#blind-mode input") and page.is_checked("#blind-mode input")
        for _ in range(2 * len(order)):
            held = [showing(page) for page in windows.values() if page.locator(".di-pair").count()]
            assert len(set(held)) == len(held), "no two have the same pair"
            for name, page in windows.items():
                judge(page, people[name], server.address)
            if min(len(of) for of in opinions_of(run).values()) == 2:
                break
        opinions = opinions_of(run)
        assert all(len(o) == 2 for o in opinions.values())
        assert {d.mode for of in opinions.values() for d in of.values()} == {"blind"}
        found = run.reviewers.agreement()
        assert found["n"] == found["blind"]["n"] == len(order)
        assert found["blind"]["alpha"] == found["alpha"]
        page = windows["ann"]
        page.click("#people-tab")
        page.click("#agreement-compute")
        page.wait_for_selector("#agreement-said :text('In blind mode')")
        differ = len(run.review.disagreements())
        assert differ == sum(len({d.action for d in of.values()}) > 1 for of in opinions.values())
