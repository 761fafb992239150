"""Quality, outliers and pictures like others, in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

from diffinf_core.engine import View, open_run
from tests.ui.browser import Server, choose
from tests.ui.explore.test_grid import order, wait_cells
from tests.ui.explore.window import as_grid, opened, wait_files

pytestmark = pytest.mark.browser


def test_pictures_are_measured_filtered_ordered_and_compared(chromium: Any, own: Server) -> None:
    work = opened(chromium, own)
    page: Any = next(work)
    page.focus("[data-di-pick]")
    page.locator("[data-di-pick]").nth(2).check()
    page.click("#explore-like")
    page.wait_for_selector("#explore-message :text('measure quality and outliers first')")
    page.click("#measures-start")
    page.wait_for_selector("#explore-message", state="attached")
    page.wait_for_function(
        "!document.querySelector('#measures-start')?.offsetParent", timeout=60_000
    )
    engine = open_run(own.run)
    counts = engine.explore.measures.table().counts()
    choose(page, "table-sort", "outlier")
    page.check("#table-descending input")
    table = engine.explore.samples().table
    by_outlier = engine.explore.view(View(sort="outlier", descending=True))
    wait_files(page, table["file"].iloc[by_outlier[:50]].tolist())
    assert page.is_visible("[data-di-sort='shorter side']")
    choose(page, "table-issue", f"outlier ({counts['outlier']:,})")
    few = engine.explore.view(View(issue="outlier", sort="outlier", descending=True))
    wait_files(page, table["file"].iloc[few[:50]].tolist())
    choose(page, "table-issue", "all")

    as_grid(page)
    page.click("#explore-clear")
    ids = [str(s) for s in table["id"].iloc[by_outlier]]
    wait_cells(page, ids[:6])
    page.click("#di-cell-4")
    page.focus("#grid-cells")
    page.keyboard.press("m")
    near = order(engine, View(near=(ids[4],)))
    assert near[0] == ids[4]
    wait_cells(page, near[:6])
    page.wait_for_selector("#near-words :text('Those most like')")
    page.click("#near-leave")
    wait_cells(page, ids[:6])
    # from the pair on the Review page
    page.click("#explore-clear")
    pair = page.evaluate("document.querySelector('#review-pair .di-pair').dataset.sample")
    page.click("#explore-like-pair")
    wait_cells(page, order(engine, View(near=(pair,)))[:6])
    work.close()
