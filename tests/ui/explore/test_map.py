"""The map in a real browser: selection, hover, colours, and the way to the review."""

from __future__ import annotations

import re

import pytest

from diffinf_core.engine import open_run
from tests.ui.browser import Server
from tests.ui.explore.window import lasso, map_ready, opened, picked, selected, within

browser = pytest.mark.browser


@browser
def test_the_map_selects_and_hands_to_the_review(page, server: Server) -> None:
    engine = open_run(server.run)
    map_ready(page)
    coordinates = engine.explore.map.coordinates()[0]
    drawn = page.evaluate("""() => diMap.plot().data.reduce((n, trace) => n + trace.x.length, 0)""")
    assert drawn == len(coordinates)
    assert page.evaluate("diMap.plot().data[0].type") == "scattergl"
    corners = lasso(page)
    chosen = within(engine, corners)
    assert 0 < len(chosen) < len(coordinates)
    assert picked(page) == chosen and selected(page) == len(chosen)
    page.check(".di-tools input[value=box]")
    other = within(engine, lasso(page, 0.5, 0.95, "Shift", True))
    assert not other <= chosen and picked(page) == chosen | other
    other = within(engine, lasso(page, 0.5, 0.95, box_tool=True))
    assert picked(page) == other
    page.check(".di-tools input[value=pan]")
    lasso(page)
    assert picked(page) == other, "moving the map selects nothing"
    # A box that is ticked in the table shows on the map.
    page.click("#explore-clear")
    page.locator("#explore-table [data-di-pick]").first.check()
    shown = page.evaluate(
        "diMap.plot().data.map((t) => (t.selectedpoints || []).length).reduce((a, b) => a + b)"
    )
    assert shown == 1 == selected(page)

    page.click("#explore-clear")
    page.click("#explore-review")
    page.wait_for_selector("#explore-message :text('Nothing is selected')")
    page.locator("#explore-table [data-di-pick]").nth(1).check()
    page.click("#explore-review")
    page.wait_for_selector("#explore-message :text('1 samples handed')", state="attached")
    page.wait_for_function(
        """() => [...document.querySelectorAll('#pages [role=tab]')].find(
          (tab) => tab.textContent.trim() === 'Review').getAttribute('aria-selected') === 'true'"""
    )


@browser
def test_a_point_under_the_pointer_is_shown(page, server: Server) -> None:
    engine = open_run(server.run)
    map_ready(page)
    at = page.evaluate(
        """() => { const gd = diMap.plot(), t = gd.data[0], l = gd._fullLayout;
          const box = gd.getBoundingClientRect();
          return [box.left + l.xaxis._offset + l.xaxis.d2p(t.x[0]),
                  box.top + l.yaxis._offset + l.yaxis.d2p(t.y[0])]; }"""
    )
    page.mouse.move(at[0] - 1, at[1])
    page.mouse.move(at[0], at[1])
    page.wait_for_selector(".di-point dl")
    page.wait_for_function("document.querySelector('.di-point')?.innerText.includes('…') === false")
    source = page.get_attribute(".di-point img", "src")
    sample = re.search(r"/di/thumb/([0-9a-f]{12})\.webp\?side=96", source)[1]
    row = engine.explore.samples().table.set_index("id").loc[sample]
    text = page.inner_text(".di-point")
    assert row["file"] in text and row["label"] in text
    assert f"{row['rank']} of {len(engine.training)}" in text
    page.click(".di-pick")
    assert selected(page) == 1 and page.inner_text(".di-pick") == "Take out of the selection"


@browser
def test_colours_and_their_legend(page, server: Server) -> None:
    engine = open_run(server.run)
    map_ready(page)
    counts = engine.training.table["label"].value_counts()
    keys = page.locator(".di-key").all_inner_texts()
    assert keys == [f"{name} {k}" for name, k in counts.items()]
    page.locator(".di-key").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.di-key').ariaPressed === 'true'")
    assert page.evaluate("diMap.plot().data.map((t) => t.marker.opacity)") == pytest.approx(
        [0.95] + [0.05] * (len(counts) - 1)
    )
    corners = lasso(page)
    labels = dict(zip(engine.training.ids.tolist(), engine.training.table["label"], strict=True))
    alone = {i for i in within(engine, corners) if labels[i] == counts.index[0]}
    assert alone and picked(page) == alone, "what is faded is not selected"
    for name in ("high-influence", "score", "decision"):
        page.select_option("#map-colour", name)
        page.wait_for_function(
            "n => diMap.plot().data.reduce((a, t) => a + t.x.length, 0) === n",
            arg=len(engine.training),
        )
    assert page.locator(".di-key").all_inner_texts() == [f"undecided {len(engine.training)}"]


@browser
def test_map_and_near_duplicates_are_made_from_the_page(chromium, own: Server) -> None:
    work = opened(chromium, own)
    page = next(work)
    page.wait_for_selector("#map-words :text('is not computed yet')")
    page.click("#map-make")
    map_ready(page)
    assert not page.is_visible("#map-make")
    page.get_by_role("tab", name="Near-duplicates").click()
    page.click("#pairs-find")
    page.wait_for_selector("#pairs-words :text('nearly the same')", timeout=30_000)
    assert open_run(own.run).explore.duplicates.done() and open_run(own.run).explore.map.done()
    work.close()
