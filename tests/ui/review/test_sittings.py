"""Whole sittings in a real browser: what was pressed is what the journal holds."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from diffinf_core.engine import open_run
from tests.ui.browser import Server, eventually, open_page, showing

pytestmark = pytest.mark.browser
KEYS = {"a": "accept", "r": "reject", "k": "keep", "d": "drop"}


def written(run: Path) -> list[str]:
    """The actions of the journal in their order."""
    with sqlite3.connect(run / "review" / "journal.sqlite") as connection:
        return [row[0] for row in connection.execute("select action from journal order by seq")]


def test_a_sitting_of_sixty_pairs_by_keyboard(
    chromium: Any, wide_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(wide_run, run)
    engine = open_run(run)
    order = list(engine.queue["id"])
    assert len(order) > 60
    pressed: list[str] = []
    standing: dict[str, str] = {}

    def press(key: str, action: str, then: str) -> None:
        page.keyboard.press(key)
        pressed.append(action)
        page.wait_for_function("s => location.search.includes(s)", arg=then)
        eventually(lambda: written(run) == pressed)

    with Server(run) as server:
        page = open_page(chromium, server)
        for at, sample in enumerate(order[:60]):
            assert showing(page) == sample
            key = "arkd"[at % 4]
            press(key, KEYS[key], order[at + 1])
            if at % 7 == 6:  # regretted, and decided otherwise
                press("u", "undo", sample)
                key = "arkd"[(at + 1) % 4]
                press(key, KEYS[key], order[at + 1])
            standing[sample] = KEYS[key]
        page.close()
    assert {s: d.action for s, d in engine.review.decisions().items()} == standing
