"""The Review page of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from diffinf_core.config import change
from diffinf_core.engine import open_run
from diffinf_core.runs.run import Run
from diffinf_core.ui.review.page import Page
from tests.ui.review.window import page_of


@pytest.fixture
def page(run_copy: Path) -> Page:
    """The page of one person."""
    return page_of(run_copy)


@pytest.fixture
def shared(run_copy: Path) -> Iterator[Page]:
    """The page of several, where everything gets a second opinion."""
    Run.prepare(
        run_copy, change(open_run(run_copy).config, {"review": {"second_share": 1.0}})
    ).store()
    yield page_of(run_copy, shared=True)
