"""Saved views in a real browser, and the export of a tag."""

from __future__ import annotations

from typing import Any

import pytest

from diffinf_core.engine import View, open_run
from tests.ui.browser import Server, choose, eventually
from tests.ui.explore.test_grid import order, wait_cells
from tests.ui.explore.window import as_grid, opened, wait_files

pytestmark = pytest.mark.browser


def _named(page: Any, name: str) -> None:
    page.fill("#view-name input", name)
    page.keyboard.press("Enter")


def test_a_view_is_saved_opened_elsewhere_and_removed(chromium: Any, own: Server) -> None:
    engine = open_run(own.run)
    label = engine.training.classes[1]
    work = opened(chromium, own)
    page: Any = next(work)
    as_grid(page)
    choose(page, "table-label", label)
    choose(page, "table-sort", "file name")
    page.check("#table-descending input")
    view = View(label=label, sort="file", descending=True)
    wait_cells(page, order(engine, view)[:6])
    _named(page, "by name")
    page.click("#view-save")
    page.wait_for_selector("#view-message :text(\"Saved the view 'by name'\")")
    saved = engine.tags.views()["by name"]
    assert View.of(saved.definition["view"]) == view and saved.definition["mode"] == "grid"
    page.check("#table-only input")
    page.click("#view-save")
    page.wait_for_selector("#view-message :text('A selection is not part of a view')")
    work.close()

    again = opened(chromium, own)
    page = next(again)
    choose(page, "view-name", "by name")
    page.click("#view-open")
    wait_cells(page, order(engine, view)[:6])
    assert not page.is_visible("#explore-table")
    page.check("#explore-mode input[value=table]")
    table = engine.explore.samples().table["file"]
    wait_files(page, table.iloc[engine.explore.view(view)[:50]].tolist())
    page.click("#view-remove")
    page.wait_for_selector("#view-message :text('Removed')")
    eventually(lambda: engine.tags.views() == {})
    again.close()


def test_a_tag_is_exported_by_itself(chromium: Any, own: Server) -> None:
    engine = open_run(own.run)
    engine.tags.put(engine.training.ids[:4].tolist(), "odd", "somebody")
    work = opened(chromium, own)
    page: Any = next(work)
    page.get_by_role("tab", name="Export", exact=True).click()
    page.wait_for_selector("#export-preview :text('pictures will be written')")
    choose(page, "export-only", "tag odd (4)")
    page.wait_for_selector("#export-preview :text('4 pictures will be written')")
    page.click("#export-start")
    page.wait_for_selector("#export-message :text('Wrote')", timeout=60_000)
    assert len(list((own.run / "export" / "images").rglob("*.*"))) == 4
    work.close()
