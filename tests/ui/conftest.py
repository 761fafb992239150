"""A browser and an app for the tests of the pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diffinf_core.config import change
from diffinf_core.engine import open_run
from tests.install_browser import own_chromium, system_chromium
from tests.ui.browser import ARGUMENTS, COUNT_CALLS, NO_TOUR, Server, Steps


class Browser:
    """A browser in which every window has seen the tour and counts its calls; ``fresh`` is one without."""

    def __init__(self, fresh: Any) -> None:
        self.fresh = fresh

    def new_page(self, **options: Any) -> Any:
        """A window with storage of its own."""
        page = self.fresh.new_page(**options)
        page.add_init_script(NO_TOUR)
        page.add_init_script(COUNT_CALLS)
        return page

    def new_context(self, **options: Any) -> Any:
        """The same for windows that share storage."""
        context = self.fresh.new_context(**options)
        context.add_init_script(NO_TOUR)
        context.add_init_script(COUNT_CALLS)
        return context


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all; each test opens its own windows."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = system_chromium() or own_chromium()
    if path is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield Browser(browser)
        browser.close()


@pytest.fixture(autouse=True)
def windows_closed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Windows end with their test: one that is left asks its dead server once a second."""
    yield
    if "chromium" in request.fixturenames:
        for context in request.getfixturevalue("chromium").fresh.contexts:
            context.close()


@pytest.fixture(scope="session")
def wide_run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run with a queue of more than sixty pairs. Read only."""
    root = tmp_path_factory.mktemp("wide") / "run"
    shutil.copytree(finished_run, root)
    config = change(open_run(root).config, {"influence": {"tau": 50}})
    for _ in open_run(root, config).compute():
        pass
    return root


@pytest.fixture(scope="module")
def server(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app on a copy of the finished run, shared by the tests of a file."""
    run = tmp_path_factory.mktemp("app") / "run"
    shutil.copytree(finished_run, run)
    with Server(run) as server:
        yield server


@pytest.fixture
def steps() -> Steps:
    """Of the edits of ``held``; none at first."""
    return Steps()


@pytest.fixture
def held(run_copy: Path, steps: Steps) -> Iterator[Server]:
    """The same as ``own``, with edits that stand still after a preview until the test lets them go on."""
    with Server(run_copy, steps=steps) as server:
        yield server


@pytest.fixture
def own(run_copy: Path) -> Iterator[Server]:
    """The app on a run that no other test touches."""
    with Server(run_copy) as server:
        yield server
