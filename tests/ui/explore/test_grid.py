"""The grid of thumbnails in a real browser: scrolled, selected, decided and tagged in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest

from diffinf_core.engine import View, open_run
from diffinf_core.records import DiffInfError
from diffinf_core.ui.explore import page as explore_page
from diffinf_core.ui.explore.acts import MOST_IN_PLACE, Acts
from diffinf_core.ui.explore.listing import KEPT, Listings
from diffinf_core.ui.explore.samples import SamplesPart
from diffinf_core.ui.session import Session
from tests.ui.browser import Server, box_of, choose, eventually
from tests.ui.explore.window import (
    as_grid,
    lasso,
    map_ready,
    opened,
    picked,
    selected,
    within,
)
from tests.ui.pages import handler

browser = pytest.mark.browser


def order(engine: Any, view: View = View()) -> list[str]:  # noqa: B008
    return [str(s) for s in engine.explore.samples().table["id"].iloc[engine.explore.view(view)]]


def wait_cells(page: Any, ids: list[str]) -> None:
    """Wait until the cells from the first on are these samples."""
    page.wait_for_function(
        """ids => ids.every((id, i) => document.getElementById(`di-cell-${i}`)?.dataset.id === id)""",
        arg=ids,
        timeout=20_000,
    )


def test_a_list_keeps_its_order_until_it_is_forgotten() -> None:
    listings = Listings()
    token = listings.keep("data", np.arange(5))
    assert token == listings.keep("data", np.arange(5))
    assert (
        len({token, listings.keep("other", np.arange(5)), listings.keep("data", np.arange(4))}) == 3
    )
    np.testing.assert_array_equal(listings.get(token), np.arange(5))
    for i in range(KEPT):
        listings.keep("data", np.array([i]))
    assert listings.get(token) is None


@browser
def test_the_grid_scrolls_through_everything_and_holds_only_what_is_seen(
    page: Any, server: Server
) -> None:
    engine = open_run(server.run)
    as_grid(page)
    ids = order(engine)
    wait_cells(page, ids[:8])
    assert not page.is_visible("#explore-table")
    assert page.inner_text("#grid-words") == f"{len(ids)} pictures"
    page.wait_for_function("document.querySelector('#di-cell-0 img').naturalWidth > 0")
    source = page.get_attribute("#di-cell-0 img", "src")
    assert f"of={engine.pictures.data_key}" in source, "a browser may keep it for good"
    page.focus("#grid-cells")
    page.keyboard.press("End")
    last = len(ids) - 1
    page.wait_for_function(
        "([i, id]) => document.getElementById(`di-cell-${i}`)?.dataset.id === id",
        arg=[last, ids[-1]],
    )
    held, windows = page.evaluate("diGrid.held()")
    assert held < len(ids) and windows <= 12
    assert page.locator("#di-cell-0").count() == 0
    assert page.get_attribute(f"#di-cell-{last}", "aria-posinset") == str(len(ids))
    width = box_of(page.locator(f"#di-cell-{last}"))["width"]
    page.locator("#grid-size").press("ArrowRight")
    page.wait_for_function(
        "w => document.querySelector('.di-cell').getBoundingClientRect().width === w + 8", arg=width
    )
    choose(page, "table-label", engine.training.classes[1])
    wait_cells(page, order(engine, View(label=engine.training.classes[1]))[:8])
    assert page.evaluate("document.getElementById('grid-cells').scrollTop") == 0


@browser
def test_cells_are_selected_by_click_shift_and_keys(page: Any, server: Server) -> None:
    ids = order(open_run(server.run))
    as_grid(page)
    wait_cells(page, ids[:8])
    page.click("#di-cell-1")
    page.click("#di-cell-4", modifiers=["Shift"])
    assert picked(page) == set(ids[1:5])
    page.click("#di-cell-2")
    assert picked(page) == {ids[1], *ids[3:5]}
    page.keyboard.press("Escape")
    assert selected(page) == 0
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert picked(page) == set(ids[:3])
    assert page.get_attribute("#grid-cells", "aria-activedescendant") == "di-cell-2"
    assert page.get_attribute("#di-cell-2", "aria-selected") == "true"
    page.keyboard.press("Control+a")
    page.wait_for_function("n => diExplore.size() === n", arg=len(ids))
    page.keyboard.press("Escape")
    # a range that reaches over what the page has not loaded
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    page.wait_for_function("n => diExplore.size() === n", arg=len(ids))


@browser
def test_a_lasso_becomes_a_grid(page: Any, server: Server) -> None:
    engine = open_run(server.run)
    as_grid(page)
    map_ready(page)
    chosen = within(engine, lasso(page))
    expected = [s for s in order(engine) if s in chosen]
    wait_cells(page, expected[:8])
    page.wait_for_function(
        "n => document.getElementById('grid-words').textContent === `${n} pictures`",
        arg=len(chosen),
    )
    other = within(engine, lasso(page, 0.4, 0.9))
    assert other != chosen
    wait_cells(page, [s for s in order(engine) if s in other][:8])


@browser
def test_decisions_and_tags_are_made_in_the_grid_and_undone(chromium: Any, own: Server) -> None:
    work = opened(chromium, own)
    page: Any = next(work)
    engine = open_run(own.run)
    ids = order(engine)
    as_grid(page)
    wait_cells(page, ids[:8])
    page.click("#di-cell-0")
    page.click("#di-cell-2", modifiers=["Shift"])
    page.focus("#grid-cells")
    page.keyboard.press("d")
    page.wait_for_selector("#explore-message :text('Dropped 3 pictures')")
    decided = engine.review.decisions()
    assert {s: d.action for s, d in decided.items()} == dict.fromkeys(ids[:3], "drop")
    assert not any(d.looked for d in decided.values()), "a thumbnail is no look at the pair"
    page.wait_for_selector("#di-cell-0.di-decided")
    page.focus("#grid-cells")
    page.keyboard.press("u")
    page.wait_for_selector("#explore-message :text('Took back your last decision, on 3 pictures')")
    assert engine.review.decisions() == {}
    page.wait_for_selector("#di-cell-0:not(.di-decided)")

    page.fill("#explore-tag input", "odd one")
    page.keyboard.press("Enter")
    page.click("#explore-tag-add")
    page.wait_for_selector("#explore-message :text('Tagged 3 pictures')")
    eventually(lambda: engine.tags.counts() == {"odd one": 3})
    page.wait_for_selector("#di-cell-1 .di-cell-tags:text('odd one')")
    page.click("#explore-clear")
    choose(page, "table-tag", "odd one")
    wait_cells(page, ids[:3])
    page.wait_for_function("document.querySelectorAll('.di-cell').length === 3")
    # without a selection the cell under the cursor is meant
    page.focus("#grid-cells")
    page.keyboard.press("Home")
    page.keyboard.press("k")
    page.wait_for_selector("#explore-message :text('Kept 1 picture')")
    assert [d.action for d in engine.review.decisions().values()] == ["keep"]
    page.click("#explore-tag-remove")
    page.wait_for_selector("#explore-message :text('Took the tag')")
    assert engine.tags.counts() == {"odd one": 2}
    wait_cells(page, ids[1:3])
    work.close()


def test_a_decision_of_somebody_else_since_the_list_was_read_stands(run_copy: Any) -> None:
    with gr.Blocks():
        acts = Acts(Session(run_copy), gr.HTML())
    review, keep = acts.session.run.review, acts._deciding("keep")
    ids = open_run(run_copy).training.ids.tolist()
    review.decide(ids[0], "keep", "ann")
    listed = review.journal.last()
    review.decide(ids[0], "drop", "ann")
    review.decide(ids[1], "drop", "bob", comment="a twin")
    said = keep("ann", " ".join(ids[:3]), None, listed)
    assert said == (
        "Kept 2 pictures. 1 picture left as before: somebody decided since the list was read."
    )
    standing = review.decisions()
    assert (standing[ids[1]].action, standing[ids[1]].reviewer) == ("drop", "bob")
    assert standing[ids[0]].action == "keep", "a reviewer's own decision is no surprise"
    said = keep("ann", ids[1], None, review.journal.last())
    assert said == "Kept 1 picture. Replaced: 1 of bob."
    assert review.decisions()[ids[1]].reviewer == "ann"


def test_the_list_brings_the_number_of_what_it_shows(run_copy: Path) -> None:
    session = Session(run_copy)
    with gr.Blocks():
        listed = gr.State(0)
        part = SamplesPart(session, gr.Textbox(), gr.Textbox(), listed)
    session.run.review.decide(str(session.run.queue["id"].iloc[0]), "drop", "bob")
    given = [c.value for c in part.given[:-2]]
    assert part.shown[-1] is listed and part._page(*given, 1, "")[-1] == 1


def test_a_decision_here_draws_the_map_anew(run_copy: Path) -> None:
    list(open_run(run_copy).explore.map.compute())
    session = Session(run_copy)
    with gr.Blocks() as blocks, gr.Tab("Explore") as tab:
        explore_page.build(session, tab)
    keep = handler(blocks, "explore-keep", "click")
    after = next(f for f in blocks.fns.values() if f.trigger_after == keep._id)
    at = [getattr(o, "elem_id", None) for o in after.outputs].index("explore-map")
    given = [getattr(c, "value", None) for c in after.inputs]
    before = after.fn(*given)[at]
    session.run.review.decide(str(session.run.queue["id"].iloc[0]), "drop", "bob")
    assert before.startswith("pca") and after.fn(*given)[at] not in ("", before)


def test_more_than_can_be_seen_is_not_decided_in_place(run_copy: Any) -> None:
    with gr.Blocks():
        acts = Acts(Session(run_copy), gr.HTML())
    ids = open_run(run_copy).training.ids.tolist()
    many = " ".join(f"{i:012x}" for i in range(MOST_IN_PLACE + 1))
    with pytest.raises(DiffInfError, match="201 pictures are selected"):
        acts._deciding("keep")("me", many, None)
    with pytest.raises(DiffInfError, match="Choose the new label"):
        acts._deciding("relabel")("me", ids[0], None)
    with pytest.raises(DiffInfError, match="Nothing is selected"):
        acts._deciding("keep")("me", "", None)
    assert acts._undo("me") == "There is no decision of yours to undo."
    assert open_run(run_copy).review.decisions() == {}, "and the run was not reviewed"
    assert acts._deciding("keep")("me", " ".join(ids[:2]), None) == "Kept 2 pictures."
    again = acts._deciding("keep")("me", " ".join(ids[:3]), None)
    assert again == "Kept 1 picture. 2 pictures left as before: it is decided so already."
