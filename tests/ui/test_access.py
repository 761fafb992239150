"""Every page against the rules of axe, and a review without a mouse."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from diffinf_core.engine import open_run
from tests.ui.browser import Server, eventually, open_page, settled, showing

pytestmark = pytest.mark.browser
PAGES = ("Review", "Run", "Explore", "Compare", "Export")


def serious(page: Any) -> dict[str, list[str]]:
    """Findings of impact serious or critical: rule to the elements that break it."""
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return {
        v["id"]: [node["html"][:160] for node in v["nodes"]]
        for v in found["violations"]
        if v["impact"] in ("serious", "critical")
    }


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_serious_findings(
    chromium: Any, server: Server, scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_playwright_python")
    script = Path(axe.__file__).parent / "axe.min.js"
    page = open_page(chromium, server, f"?__theme={scheme}", color_scheme=scheme)
    # the page's own policy forbids foreign scripts, so the rules come through the debugger
    page.evaluate(script.read_text() + "\n;0")
    found = {}
    for name in PAGES:
        page.set_viewport_size({"width": 1440, "height": 844})  # narrow, a menu holds the last tabs
        page.get_by_role("tab", name=name, exact=True).click()
        page.set_viewport_size({"width": width, "height": 844})
        settled(page)  # what is still being filled is fainter
        found |= {f"{name}: {rule}": nodes for rule, nodes in serious(page).items()}
    page.close()
    assert not found, "\n".join(f"{k}\n    " + "\n    ".join(v[:4]) for k, v in found.items())


def test_a_review_without_a_mouse(chromium: Any, server: Server) -> None:
    engine = open_run(server.run)
    page = open_page(chromium, server)
    first = showing(page)

    def tab_to(selector: str) -> None:
        for _ in range(200):
            if page.evaluate("s => document.activeElement?.matches(s)", selector):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{selector} cannot be reached by Tab")

    tab_to("#do-keep, #do-keep button")
    style, width = page.evaluate(
        "(s => [s.outlineStyle, s.outlineWidth])(getComputedStyle(document.activeElement))"
    )
    assert style == "solid" and width != "0px", "the focus must be seen"
    page.keyboard.press("Enter")
    eventually(lambda: engine.review.decisions().get(first) is not None)
    assert engine.review.decisions()[first].action == "keep"
    tab_to("#versions [data-version]")
    page.keyboard.press("Space")
    tab_to("#scores-tab")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#do-reedit")
    tab_to("#knob-w_id input[type=range]")
    page.keyboard.press("ArrowRight")
    assert showing(page) != first, "arrows in a slider move the slider, not the queue"
    page.locator("#reedit-tab").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    tab_to("#bulk-preview")
    page.close()


#: what is read out, of which Gradio takes its own words away a moment later
_LISTEN = """() => {
  window.heard = [];
  new MutationObserver((changes) => changes.forEach(({ target }) => {
    const place = (target.parentElement || target).closest("[role=status]");
    if (place?.textContent) heard.push(place.textContent.trim());
  })).observe(document.body, { childList: true, subtree: true, characterData: true });
}"""


def test_the_decision_is_two_keys_away_and_pages_have_headings(
    chromium: Any, server: Server
) -> None:
    page = open_page(chromium, server)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the decision"
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id === 'do-accept'")
    page.get_by_role("tab", name="Export", exact=True).click()
    page.evaluate("document.getElementById('skip').focus()")
    page.keyboard.press("Enter")  # from another page, too
    page.wait_for_function("document.activeElement.id === 'do-accept'")
    for name in ("Review", "Pictures", "Decision", "Scores"):
        assert page.get_by_role("heading", name=name, exact=True).count() == 1, name
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels))
    page.get_by_role("tab", name="Export", exact=True).click()
    page.evaluate(_LISTEN)
    page.click("#export-cancel")  # an event whose end Gradio reads out
    page.wait_for_function("heard.some((text) => text === 'Done.' || text.includes('common.'))")
    heard = page.evaluate("heard")
    assert not [text for text in heard if "common." in text]
    page.close()


#: buttons whose words do not fit them, and tables that are cut at the edge of the screen
_CUT = """() => {
  const seen = (e) => e.getClientRects().length && getComputedStyle(e).visibility !== "hidden";
  const buttons = [...document.querySelectorAll(".di-buttons > button")]
    .filter((b) => seen(b) && b.scrollWidth > b.clientWidth + 1).map((b) => b.textContent.trim());
  const scrolls = (e) => e && (/auto|scroll/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  const tables = [...document.querySelectorAll("table")]
    .filter((t) => seen(t) && t.getBoundingClientRect().right > innerWidth + 1 && !scrolls(t.parentElement))
    .map((t) => t.textContent.trim().slice(0, 40));
  return [...buttons, ...tables];
}"""


def test_nothing_is_cut_at_390_pixels(chromium: Any, server: Server) -> None:
    page = open_page(chromium, server)
    cut = {}
    for name in PAGES:
        page.set_viewport_size({"width": 1440, "height": 844})  # narrow, a menu holds the last tabs
        page.get_by_role("tab", name=name, exact=True).click()
        if name == "Export":
            page.wait_for_selector("#export-preview table")
        page.set_viewport_size({"width": 390, "height": 844})
        cut[name] = page.evaluate(_CUT)
    page.close()
    assert not any(cut.values()), cut
