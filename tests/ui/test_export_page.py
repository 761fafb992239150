"""The Export page: what it says before, while and after it writes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from diffinf_core.engine import open_run, read_export
from diffinf_core.ui.export.page import earlier_words, preview
from tests.ui.browser import Server, open_page, ticked


def test_the_preview_names_what_becomes_of_undecided_pictures() -> None:
    counts = {"original": 1200, "repaired": 3, "relabelled": 2, "dropped": 1, "undecided": 7}
    kept = preview({"counts": counts, "total": 1205, "earlier": {}}, "original")
    assert "1,205 pictures will be written" in kept and "the export keeps their originals" in kept
    taken = preview({"counts": counts, "total": 1205, "earlier": {}}, "repaired")
    assert "the export takes their edits" in taken and "Earlier rounds" not in taken
    none = preview({"counts": {**counts, "undecided": 0}, "total": 5, "earlier": {}}, "original")
    assert "are undecided" not in none
    split = {"counts": counts, "total": 5, "earlier": {}, "disagreements": 3}
    assert "Reviewers disagree about 3 of them." in preview(split, "original")


def test_earlier_rounds_in_a_sentence() -> None:
    assert earlier_words({}) == ""
    assert earlier_words({"dropped": 1}).startswith("Earlier rounds dropped 1 pictures.")
    both = earlier_words({"dropped": 2, "repaired": 1200, "relabelled": 3})
    assert both.startswith("Earlier rounds repaired 1,200, relabelled 3 and dropped 2 pictures.")


# ------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def server(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    run = tmp_path_factory.mktemp("export-page") / "run"
    shutil.copytree(finished_run, run)
    engine = open_run(run)
    rows = engine.queue.reset_index(drop=True)
    engine.review.decide(str(rows["id"][0]), "accept", "t", version=str(rows["version"][0]))
    engine.review.decide(str(rows["id"][1]), "drop", "t")
    with Server(run) as server:
        yield server


def cell(page: Any, row: str) -> int:
    """The number beside a name of the preview."""
    return int(page.locator("#export-preview tr", has_text=row).locator("td").inner_text())


@pytest.mark.browser
def test_what_is_announced_is_written(chromium: Any, server: Server, tmp_path: Path) -> None:
    page = open_page(chromium, server)
    page.get_by_role("tab", name="Export", exact=True).click()
    page.wait_for_selector("#export-preview .di-figures")
    assert cell(page, "edits, marked") == 1 and cell(page, "left out") == 1
    page.get_by_label("take the edit", exact=True).click()
    page.wait_for_selector("#export-preview :text('the export takes their edits')")
    announced = cell(page, "edits, marked")
    assert announced == len(open_run(server.run).queue) - 1
    page.fill("#export-target textarea, #export-target input", "")
    page.click("#export-start")
    page.wait_for_selector("#export-message :text('Name a new folder')")
    target = tmp_path / "out"
    page.fill("#export-target textarea, #export-target input", str(target))
    page.click("#export-start")
    page.wait_for_selector("#export-message :text('Wrote')", timeout=60_000)
    assert page.input_value("#export-written textarea, #export-written input") == str(
        target.resolve()
    )
    assert page.locator("#export-written button").count() >= 1
    table = pd.read_csv(target / "labels.csv")
    assert (table["source"] == "repaired").sum() == announced
    # the same again is there already; another export finds the folder taken
    page.get_by_label("keep the original", exact=True).click()
    page.wait_for_selector("#export-preview :text('the export keeps their originals')")
    page.click("#export-start")
    page.wait_for_selector("#export-message :text('not empty')")
    page.close()


@pytest.mark.browser
def test_another_format_all_splits_and_the_audit_are_chosen_on_the_page(
    chromium: Any, server: Server, tmp_path: Path
) -> None:
    page = open_page(chromium, server)
    page.get_by_role("tab", name="Export", exact=True).click()
    page.wait_for_selector("#export-preview .di-figures")
    page.click("#export-options button")
    page.click("#export-format input")
    page.locator("li[role=option]", has_text="imagefolder: a folder").click()
    page.wait_for_selector("#export-usage :text('ImageFolder')")
    page.get_by_label("all splits").click()
    page.get_by_label("encoded as the original was").click()
    target = tmp_path / "out"
    page.fill("#export-target textarea, #export-target input", str(target))
    page.click("#export-start")
    page.wait_for_selector("#export-message :text('Wrote')", timeout=60_000)
    export = read_export(target)
    export.verify()
    assert set(export.table["split"]) == {"train", "val", "test"}
    folders = [f.name for f in (target / "train").iterdir()]
    assert len(folders) == len(export.classes)
    assert page.locator("#export-message").inner_text().count("Shortcut audit") == 1
    shown = page.inner_text("#export-message")
    assert all(sentence in shown for sentence in export.manifest["audit"]["summary"])
    page.close()


@pytest.mark.browser
def test_a_place_that_cannot_be_written_is_a_sentence(chromium: Any, server: Server) -> None:
    page = open_page(chromium, server)
    page.get_by_role("tab", name="Export", exact=True).click()
    page.fill("#export-target textarea, #export-target input", "/proc/nowhere/out")
    page.click("#export-start")
    page.wait_for_selector("#export-message [role=alert]:has-text('/proc/nowhere/out')")
    assert "Unexpected" not in page.inner_text("#export-message")
    page.click("#export-cancel")
    page.wait_for_selector("#export-message :text('No export is running')")
    page.close()


@pytest.mark.browser
def test_what_a_button_said_stays(chromium: Any, server: Server) -> None:
    page = open_page(chromium, server)
    page.get_by_role("tab", name="Export", exact=True).click()
    page.click("#export-cancel")  # before the page's clock ticks for the first time
    page.wait_for_selector("#export-message :text('No export is running')")
    ticked(page, "export-message")
    assert "No export is running" in page.inner_text("#export-message")
    page.close()


def test_every_policy_for_the_undecided_can_be_chosen_and_reads_differently() -> None:
    from diffinf_core.records import UNDECIDED
    from diffinf_core.ui.export.page import _CHOICES, _FATES, preview

    assert set(_CHOICES) == set(_FATES) == set(UNDECIDED)
    counts = dict.fromkeys(("original", "repaired", "relabelled", "dropped"), 0) | {"undecided": 3}
    found = {"counts": counts, "total": 9, "earlier": {}}
    assert len({preview(found, name) for name in UNDECIDED}) == len(UNDECIDED)
