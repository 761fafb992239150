"""The notation on the pages: what the app explains is in the documentation, and opens by a key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from diffinf_core.ui.glossary import TERMS, template
from diffinf_core.ui.review.knobs import KNOBS
from tests.ui.browser import Server, open_page

DOCS = Path(__file__).parents[2] / "docs" / "glossary.md"


def test_every_term_is_in_the_documentation() -> None:
    known = {
        name.strip()
        for cell in re.findall(r"^\| ([^|]+) \|", DOCS.read_text(), re.M)
        for name in cell.split(",")
    }
    beside = {"SSIM", "kappa", "guidance", "steps", "identity cosine"}  # of the field, or of a knob
    assert set(TERMS) - beside <= known
    assert {knob.key for knob in KNOBS} | {"decode_from"} <= set(TERMS)
    assert template().count("<dt>") == len(TERMS)


@pytest.mark.browser
def test_it_opens_on_any_page_and_closes(chromium: Any, server: Server) -> None:
    page = open_page(chromium, server)
    page.keyboard.press("g")
    page.wait_for_selector("dialog dt:text-is('lambda_struct')")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.click("#show-glossary")
    page.wait_for_selector("dialog dt:text-is('tau')")
    page.click("dialog button")
    page.wait_for_selector("dialog", state="detached")
    page.close()
