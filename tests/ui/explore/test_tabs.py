"""Scores, groups and near-duplicates in a real browser, and every part as a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from diffinf_core.config import change
from diffinf_core.engine import open_run
from diffinf_core.ui.explore.parts import ROWS
from tests.ui.browser import SHOTS, Server, box_of, choose, settled
from tests.ui.explore.window import map_ready, opened, selected

browser = pytest.mark.browser


@browser
def test_tau_is_tried_in_the_picture_and_set_in_the_run(chromium, own: Server) -> None:
    work = opened(chromium, own)
    page = next(work)
    engine = open_run(own.run)
    n, before = len(engine.training), engine.config.influence.tau
    page.get_by_role("tab", name="Scores").click()
    page.wait_for_selector(".di-tau[data-ready] .main-svg", timeout=60_000)
    assert "That is what the run does" in page.inner_text("#tau-words")
    page.fill("#tau-number", "20")
    cut = np.sort(engine.explore.samples().table["score"])[::-1][round(0.2 * n) - 1]
    words = page.inner_text("#tau-words")
    assert f"{round(0.2 * n)} of {n} samples" in words and f"{cut:.4g}" in words
    page.focus("#tau-range")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#tau-words").startswith("tau = 20.1 %")
    box = box_of(page.locator(".di-tau-plot"))
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 90)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 90, steps=4)
    page.mouse.up()
    dragged = float(page.input_value("#tau-number"))
    assert dragged != 20.1 and f"tau = {dragged:g} %" in page.inner_text("#tau-words")
    assert open_run(own.run).config.influence.tau == before, "trying changes nothing"
    page.click("#explore-set-tau")
    page.wait_for_selector("#explore-tau-message :text('Saved')")
    assert open_run(own.run).config.influence.tau == pytest.approx(dragged)
    page.wait_for_function(
        "document.querySelector('#tau-words')?.innerText.includes('That is what the run does')"
    )
    work.close()


@browser
def test_errors_are_planted_from_the_page_and_their_figures_shown(chromium, own: Server) -> None:
    engine = open_run(own.run)
    open_run(own.run, change(engine.config, {"influence": {"planted": 0.15}})).folder.save()
    work = opened(chromium, own)
    page = next(work)
    page.get_by_role("tab", name="Scores").click()
    page.wait_for_selector("#precision-words :text('Nobody knows yet')", timeout=60_000)
    page.click("#precision-plant")
    page.wait_for_selector("#precision-scores table", timeout=120_000)
    engine = open_run(own.run)
    found = engine.explore.scores.precision()
    words = page.inner_text("#precision-words")
    assert all(sentence in words for sentence in found["in_words"]) and found["in_words"]
    assert page.locator("#precision-scores tbody tr").count() == len(found["planted"]["scores"])
    page.wait_for_selector("#plot-precision .main-svg")
    assert not page.is_visible("#precision-plant")
    work.close()


@browser
def test_disagreement_follows_the_two_scores(page, server: Server) -> None:
    engine = open_run(server.run)
    page.get_by_role("tab", name="Scores").click()
    page.wait_for_selector("#disagree-first input", timeout=60_000)

    def shown(first: str, second: str) -> None:
        rows = engine.explore.scores.disagreement(first, second)
        names = engine.explore.samples().table["file"].iloc[rows["position"]].tolist()
        page.wait_for_function(
            """names => { const shown = [...document.querySelectorAll(
                '#explore-disagreement tbody .di-file-name')];
              return shown.length === names.length && shown.every((el, i) => el.title === names[i]); }""",
            arg=names[:ROWS],
        )

    shown("self_influence", "mean_loss")
    page.click("#disagree-swap")
    shown("mean_loss", "self_influence")
    choose(page, "disagree-second", "forgetting events")
    shown("mean_loss", "forgetting")
    page.locator("#explore-disagreement [data-di-pick]").first.check()
    assert selected(page) == 1


@browser
def test_subgroups_have_their_tables(page, server: Server) -> None:
    engine = open_run(server.run)
    page.get_by_role("tab", name="Groups").click()
    page.wait_for_selector("#groups-tables table", timeout=60_000)
    heads = page.locator("#groups-tables h4").all_inner_texts()
    assert heads == list(engine.explore.samples().groups)
    counts = engine.training.table["label"].value_counts()
    row = page.locator("#groups-tables table").first.locator("tbody tr").first.inner_text()
    assert row.split()[:2] == [counts.index[0], str(counts.iloc[0])]
    said = page.inner_text("#groups-warnings")
    assert "permutation test" in said and "Holm" in said


@browser
def test_near_duplicates_are_listed_and_selected(page) -> None:
    page.get_by_role("tab", name="Near-duplicates").click()
    pairs = page.locator("#explore-pairs .di-twins")
    pairs.first.wait_for(timeout=60_000)
    assert pairs.count() == 2 and page.locator(".di-differ").count() == 2
    page.locator("[data-di-both]").first.click()
    assert selected(page) == 2
    assert pairs.first.locator("input").evaluate_all("b => b.every((x) => x.checked)")
    page.uncheck("#pairs-differing input")
    page.wait_for_function("document.querySelectorAll('.di-twins').length === 3")
    assert "1 to 3 of 3 pairs" in page.inner_text("#pairs-count")


@browser
def test_before_the_ranking_every_part_says_what_to_do(chromium, tmp_path: Path) -> None:
    from diffinf_core.config import make_config

    run = tmp_path / "run"
    open_run(run, make_config("demo")).folder.store()
    with Server(run) as server:
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.wait_for_selector("#run-start", timeout=60_000)
        settled(page)
        page.get_by_role("tab", name="Explore").click()
        start = "Not ranked yet: start the run on the Run page"
        page.wait_for_selector(f"#explore-empty :text('{start}')", timeout=20_000)
        assert page.locator("#explore-table").count() == 0 or not page.is_visible("#explore-table")
        for name, where in (("Scores", "ranking-words"), ("Groups", "groups-warnings")):
            page.get_by_role("tab", name=name).click()
            page.wait_for_selector(f"#{where} :text('{start}')")
        page.get_by_role("tab", name="Near-duplicates").click()
        page.wait_for_selector("#pairs-words :text('no data yet')")
        page.close()


@browser
def test_every_part_at_two_widths_light_and_dark(chromium, server: Server) -> None:
    SHOTS.mkdir(exist_ok=True)
    ready: dict[str, Callable[[object], object]] = {
        "Samples": map_ready,
        "Scores": lambda p: p.wait_for_selector(".di-tau[data-ready] .main-svg"),
        "Groups": lambda p: p.wait_for_selector("#groups-tables table"),
        "Near-duplicates": lambda p: p.wait_for_selector(".di-twins"),
    }
    for width, scheme in ((1440, "light"), (1024, "dark")):
        work = opened(chromium, server, color_scheme=scheme)
        page = next(work)
        page.set_viewport_size({"width": width, "height": 950})
        for name, wait in ready.items():
            page.get_by_role("tab", name=name).click()
            wait(page)
            settled(page)
            file = f"explore-{name.lower()}-{width}-{scheme}.png"
            page.screenshot(path=SHOTS / file, full_page=True)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} px wide at {width}"
        work.close()
