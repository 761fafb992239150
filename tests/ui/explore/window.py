"""The Explore page in a window, and what the tests do there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from diffinf_core.engine import OpenRun, View
from diffinf_core.ui.explore.parts import ROWS
from tests.ui.browser import Server, box_of, settled


def opened(chromium, server: Server, **options) -> Iterator[object]:
    """The Explore tab in a window of its own."""
    width = options.pop("width", 1440)
    scheme = options.get("color_scheme", "light")
    page = chromium.new_page(viewport={"width": width, "height": 950}, **options)
    page.on("pageerror", lambda error: pytest.fail(f"page error: {error}"))
    page.goto(f"http://127.0.0.1:{server.port}/?__theme={scheme}")
    page.wait_for_selector("#review-pair img, #run-start", timeout=60_000)
    settled(page)
    page.get_by_role("tab", name="Explore").click()
    page.wait_for_selector("#explore-table tbody tr", timeout=60_000)
    yield page
    page.close()


def files(page) -> list[str]:
    return page.locator("#explore-table tbody .di-file-name").all_inner_texts()


def expected(engine: OpenRun, view: View, first: int = 0) -> list[str]:
    return (
        engine.explore.samples()
        .table["file"]
        .iloc[engine.explore.view(view)[first : first + ROWS]]
        .tolist()
    )


def wait_files(page, names: list[str]) -> None:
    page.wait_for_function(
        """names => {
          const shown = [...document.querySelectorAll('#explore-table tbody .di-file-name')];
          return shown.length === names.length && shown.every((el, i) => el.title === names[i]);
        }""",
        arg=names,
        timeout=20_000,
    )


def selected(page) -> int:
    return int(page.inner_text("[data-di-count]").replace(",", ""))


def map_ready(page) -> None:
    page.wait_for_selector(".di-map[data-ready] .main-svg", timeout=60_000)


def lasso(
    page, left: float = 0.2, right: float = 0.8, key: str = "", box_tool: bool = False
) -> list[list[float]]:
    """Drag around a part of the map, or across it; its lower left and upper right in coordinates."""
    page.locator(".di-map-plot").scroll_into_view_if_needed()
    box = box_of(page.locator(".di-map-plot .nsewdrag").first)
    left, top = box["x"] + left * box["width"], box["y"] + 0.2 * box["height"]
    right, bottom = box["x"] + right * box["width"], box["y"] + 0.8 * box["height"]
    if key:
        page.keyboard.down(key)
    page.mouse.move(left, top)
    page.mouse.down()
    around = ((right, top), (right, bottom), (left, bottom), (left, top))
    for x, y in ((right, bottom),) if box_tool else around:
        page.mouse.move(x, y, steps=5)
    page.mouse.up()
    if key:
        page.keyboard.up(key)
    return page.evaluate(
        """([l, t, r, b]) => { const gd = diMap.plot(), o = gd.getBoundingClientRect(),
          xa = gd._fullLayout.xaxis, ya = gd._fullLayout.yaxis;
          return [[xa.p2d(l - o.left - xa._offset), ya.p2d(b - o.top - ya._offset)],
                  [xa.p2d(r - o.left - xa._offset), ya.p2d(t - o.top - ya._offset)]]; }""",
        [left, top, right, bottom],
    )


def within(engine: OpenRun, corners: list[list[float]]) -> set[str]:
    """The samples between two corners of the map."""
    at = engine.explore.map.coordinates()[0]
    inside = ((at > corners[0]) & (at < corners[1])).all(1)
    return set(engine.training.ids[inside].tolist())


def picked(page) -> set[str]:
    return set(page.evaluate("diExplore.picked()").split())


def as_grid(page) -> None:
    """Show the list as a grid."""
    page.check("#explore-mode input[value=grid]")
    page.wait_for_selector("#explore-grid .di-cell")
