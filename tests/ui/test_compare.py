"""The Compare page: its words and tables as functions, and the whole of it in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from diffinf_core.config import change
from diffinf_core.engine import open_run
from diffinf_core.ui.compare import markup as compare_markup
from diffinf_core.ui.compare.page import chosen
from tests.arms import write_arms
from tests.ui.browser import SHOTS, Server, box_of, open_page, settled

ARMS = ("noisy", "removal", "repaired")


def test_the_arms_to_show_are_those_asked_for_or_repaired_against_noisy() -> None:
    assert chosen(ARMS, None, None) == ("repaired", "noisy")
    assert chosen(ARMS, "noisy", "removal") == ("noisy", "removal")
    assert chosen(ARMS, "noisy", "noisy") == ("repaired", "noisy")
    assert chosen(ARMS, "gone", "gone") == ("repaired", "noisy")
    assert chosen(("removal",), None, None) == ("removal", "removal")


def test_tables_and_cards_escape_what_data_says() -> None:
    bad = "<img src=x onerror=alert(1)>"
    table = compare_markup.table(pd.DataFrame({bad: [f"{bad}\n+1 better\n+0 to +2"]}), bad)
    assert "<img" not in table and 'class="di-change di-better"' in table
    assert compare_markup.table(pd.DataFrame(), "x") == ""
    row = {"id": bad, "label": bad}
    for who in ("arm", "against"):
        row |= {f"says_{who}": bad, f"p_{who}": 0.5, f"right_{who}": 1}
    cards = compare_markup.cards(pd.DataFrame([row]), [b"png"], bad, bad, 2)
    assert cards.count("<img") == 1 and "onerror=alert(1)&gt;" in cards
    assert "<img" not in compare_markup.sentences(bad, [bad])


# ------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def server(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    run = tmp_path_factory.mktemp("compare") / "run"
    shutil.copytree(finished_run, run)
    engine = open_run(run)
    engine = open_run(run, change(engine.config, {"retrain": {"seeds": 2}}))
    engine.folder.store()
    write_arms(engine.folder, {"noisy": 0.4, "removal": 0.6, "repaired": 0.95})
    with Server(run) as server:
        yield server


def compare_page(chromium: Any, server: Server, scheme: str = "light", width: int = 1440) -> Any:
    page = open_page(chromium, server, f"?__theme={scheme}", color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 950})
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.wait_for_selector("#arms .di-figures", timeout=60_000)
    return page


@pytest.mark.browser
def test_figures_intervals_and_another_reference(chromium: Any, server: Server) -> None:
    page = compare_page(chromium, server)
    row = page.locator("#arms tbody tr", has_text="repaired")
    assert "better" in row.inner_text() and " to +" in row.inner_text()
    assert "Repaired against noisy: +" in page.inner_text("#compare-reading")
    page.wait_for_selector("#plot-gains .main-svg")
    page.click("#compare-against input")
    page.get_by_role("option", name="repaired").click()
    page.wait_for_selector("#arms caption:has-text('difference to repaired')")
    assert "worse" in page.locator("#arms tbody tr", has_text="noisy").inner_text()
    page.get_by_role("tab", name="Subgroups", exact=True).click()
    audit = open_run(server.run).compare.audit()
    shown = page.locator("#compare-groups .di-figures")
    shown.nth(2).wait_for()
    assert shown.nth(1).locator("tbody tr").count() == len(audit.arms) == 3
    assert shown.nth(2).locator("tbody tr").count() == len(audit.training)
    page.close()


@pytest.mark.browser
def test_every_part_at_two_widths_light_and_dark(chromium: Any, server: Server) -> None:
    SHOTS.mkdir(exist_ok=True)
    parts = {
        "Confusion": "#plot-confusions",
        "Calibration": "#plot-reliability",
        "Classes": "#plot-classes",
        "Subgroups": "#compare-groups",
        "Training": "#plot-courses",
        "Pictures": "#compare-found .di-card",
    }
    for width, scheme in ((1440, "light"), (1024, "dark")):
        page = compare_page(chromium, server, scheme, width)
        for name, holds in parts.items():
            page.get_by_role("tab", name=name, exact=True).click()
            page.locator(holds).first.wait_for()
            settled(page)
            page.screenshot(
                path=SHOTS / f"compare-{name.lower()}-{width}-{scheme}.png", full_page=True
            )
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} px wide at {width}"
        page.close()


@pytest.mark.browser
def test_pictures_that_changed_can_be_turned_over(chromium: Any, server: Server) -> None:
    page = compare_page(chromium, server)
    page.get_by_role("tab", name="Pictures", exact=True).click()
    page.locator("#compare-found .di-card").first.wait_for()
    engine = open_run(server.run)
    gained = engine.compare.changed("repaired", "noisy", every_seed=False)
    lost = engine.compare.changed("noisy", "repaired", every_seed=False)
    page.get_by_label("in most seeds").click()
    page.wait_for_selector(f"#compare-found :text('{len(gained)} test pictures that repaired')")
    page.get_by_label("noisy right, repaired wrong").click()
    page.wait_for_selector(f"#compare-found :text('{len(lost)} test pictures that noisy')")
    cards = page.locator("#compare-found .di-card")
    assert cards.count() == min(24, len(lost))
    boxes = [box_of(card) for card in cards.all()]
    places = {(round(box["x"]), round(box["y"])) for box in boxes}
    assert len(places) == len(boxes), "each card has a place of its own"
    page.close()


@pytest.mark.browser
def test_both_files_come_with_one_click(chromium: Any, server: Server, tmp_path: Path) -> None:
    page = compare_page(chromium, server)
    for kind in ("csv", "html"):
        with page.expect_download(timeout=60_000) as waiting:
            page.click(f"#compare-{kind}")
        target = tmp_path / f"c.{kind}"
        waiting.value.save_as(target)
        assert waiting.value.suggested_filename.endswith(f"noisy.{kind}")
    assert len(pd.read_csv(tmp_path / "c.csv")) > 30
    alone = chromium.new_context(offline=True).new_page()
    alone.goto((tmp_path / "c.html").as_uri())
    alone.wait_for_selector(".main-svg")
    assert alone.locator(".plotly-graph-div").count() > 6
    alone.close()
    page.close()


@pytest.mark.browser
def test_before_a_retraining_there_is_a_sentence(
    chromium: Any,
    finished_run: Path,
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    with Server(run) as server:
        page = open_page(chromium, server)
        page.get_by_role("tab", name="Compare", exact=True).click()
        page.wait_for_selector("#compare-reading :text('No arm is retrained yet')")
        assert not page.locator("#arms").is_visible()
        page.click("#compare-html")
        page.wait_for_selector("#compare-message :text('No arm is retrained yet')")
        page.close()
