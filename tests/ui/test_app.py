"""The app in a real browser: every page, a whole run from the page, and nothing outside served.

Screenshots of each page go to ``test-output/`` at two widths, light and dark.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from diffinf_core.engine import open_run
from tests.ui.browser import SHOTS, Server, open_page, place, settled

pytestmark = pytest.mark.browser


def test_every_page_at_two_widths_light_and_dark(chromium, server: Server) -> None:
    SHOTS.mkdir(exist_ok=True)
    # what a scheme changes has no width: each width in one of them
    for width, scheme in ((1440, "light"), (1024, "dark")):
        page = open_page(chromium, server, f"?__theme={scheme}", color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 950})
        for name in ("Review", "Run", "Explore", "Compare", "Export"):
            page.get_by_role("tab", name=name).click()
            settled(page)
            page.screenshot(path=SHOTS / f"{name.lower()}-{width}-{scheme}.png", full_page=True)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} px wide at {width}"
        page.close()


def test_another_page_and_back_is_the_same_pair(chromium, server: Server) -> None:
    page = open_page(chromium, server)
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "document.querySelector('#review-head .di-place')?.textContent.startsWith('2 of')"
    )
    here = place(page)
    page.get_by_role("tab", name="Explore").click()
    page.wait_for_selector("#explore-table tbody tr")
    page.get_by_role("tab", name="Review", exact=True).click()
    settled(page)
    assert place(page) == here
    page.close()


def test_another_score_is_offered_with_its_figure_and_taken(chromium, own: Server) -> None:
    page = open_page(chromium, own)
    page.get_by_role("tab", name="Explore").click()
    page.wait_for_selector("#explore-table tbody tr")
    page.get_by_role("tab", name="Scores").click()
    page.wait_for_selector("#ranking-words :text('Ranked by self-influence')")
    words = page.inner_text("#ranking-words")
    found = open_run(own.run).report()["influence"]["by_signal"]
    best = max(v["average_precision"] for v in found.values())
    assert f"{best:.2f}" in words or "No other score" in words
    for name in ("curve", "signals", "estimators"):
        page.wait_for_selector(f"#plot-{name} .main-svg")
    page.click("#ranking-by input")
    page.fill("#ranking-by input", "area under")
    page.keyboard.press("Enter")
    page.click("#ranking-use")
    page.wait_for_selector("#ranking-message :text('Saved')")
    assert open_run(own.run).config.influence.estimator == "aum"
    page.wait_for_selector("#ranking-words :text('Ranked by area under the margin')")
    page.fill("#ranking-by input", "magic")
    page.keyboard.press("Enter")
    page.click("#ranking-use")
    page.wait_for_selector("#ranking-message :text('unknown estimator')")
    assert open_run(own.run).config.influence.estimator == "aum"
    page.close()


def test_export_from_the_page(chromium, server: Server, tmp_path: Path) -> None:
    page = open_page(chromium, server)
    page.get_by_role("tab", name="Export").click()
    page.fill("#export-target textarea, #export-target input", str(tmp_path / "out"))
    page.click("#export-start")
    page.wait_for_selector("#export-message :text('Wrote')", timeout=30_000)
    assert (tmp_path / "out" / "manifest.json").exists()
    page.click("#export-start")
    page.wait_for_selector("#export-message :text('nothing has changed')")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    page.fill("#export-target textarea, #export-target input", str(tmp_path / "full"))
    page.click("#export-start")
    page.wait_for_selector("#export-message :text('not empty')")
    page.close()


def test_settings_are_refused_in_a_sentence(chromium, server: Server) -> None:
    page = open_page(chromium, server)
    page.get_by_role("tab", name="Run").click()
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("tab", name="Expert (YAML)").click()
    page.wait_for_selector("#run-config .cm-content")
    page.click("#run-config .cm-content")
    page.keyboard.press("Control+End")
    page.keyboard.type("\nnonsense: 1\n")
    page.click("#run-save")
    page.wait_for_selector("#run-message :text('nonsense')")
    page.close()


def test_the_app_runs_the_tiny_demo_and_cancels(chromium, tiny_config, tmp_path: Path) -> None:
    root = tmp_path / "run"
    open_run(root, tiny_config).folder.store()
    with Server(root) as server:
        page = chromium.new_page(viewport={"width": 1440, "height": 950})
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.wait_for_selector("#run-start", timeout=60_000)
        page.click("#run-start")
        page.wait_for_selector("#run-stages :text('classifier')")
        page.wait_for_function(
            "document.querySelectorAll('#run-stages progress')[0].value > 0", timeout=60_000
        )
        page.click("#run-cancel")
        page.wait_for_selector("#run-stages :text('cancelled')", timeout=60_000)
        page.click("#run-start")
        page.wait_for_function(
            "[...document.querySelectorAll('#run-stages progress')].every(p => p.value === 100)",
            timeout=240_000,
        )
        page.get_by_role("tab", name="Review", exact=True).click()
        page.wait_for_selector("#review-pair img")
        page.get_by_role("tab", name="Compare").click()
        page.click("#compare-start")
        page.wait_for_selector("#compare-message :text('done')", timeout=240_000)
        # The grid keeps a hidden copy of each cell to measure widths.
        page.locator("#arms :text('repaired'):visible").first.wait_for()
        page.close()


def test_nothing_outside_is_served(server: Server) -> None:
    import urllib.error
    import urllib.request

    for path in (
        "/gradio_api/file=/etc/passwd",
        f"/gradio_api/file={server.run}/review/journal.sqlite",
        "/gradio_api/file=../../../../etc/passwd",
        "/file=/etc/passwd",
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}")
        assert refused.value.code in (403, 404), path


def test_markup_escapes_what_data_says() -> None:
    from diffinf_core.ui import markup

    text = markup.headline(1, 2, "<img src=x onerror=alert(1)>", 3, None, "keep", "<b>")
    assert "<img" not in text and "<b>" not in text
    assert not re.search(r"<script", markup.notice("<script>alert(1)</script>"))
