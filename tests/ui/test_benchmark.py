"""The Benchmark view of Compare: starting, what it refuses, and the tables of the last one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from diffinf_core.engine import open_run
from diffinf_core.engine.benchmark import BenchmarkSettings, method_choices
from diffinf_core.records import DiffInfError
from diffinf_core.ui.compare.benchmark import BenchmarkPart
from diffinf_core.ui.session import Session
from tests.ui.browser import SHOTS, Server, open_page


@pytest.fixture(scope="module")
def root(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a small benchmark."""
    root = tmp_path_factory.mktemp("benchmark") / "run"
    shutil.copytree(finished_run, root)
    settings = BenchmarkSettings(methods=("noisy", "removal", "repair"), seeds=1)
    list(open_run(root).benchmark.run(settings))
    return root


@pytest.fixture
def part(root: Path) -> BenchmarkPart:
    """The view of that run."""
    with gr.Blocks():
        return BenchmarkPart(Session(root))


def test_the_last_benchmark_is_shown(part: BenchmarkPart) -> None:
    shown = part.load()
    tables = shown[part.tables]
    assert tables.count("di-figures") == 4 and "Self-influence removal" in tables
    assert "1 seed of the training" in tables
    assert shown[part.plots[0]]["visible"] and shown[part.plots[1]]["visible"]


def test_without_a_benchmark_a_sentence_says_what_to_do(finished_run: Path) -> None:
    with gr.Blocks():
        part = BenchmarkPart(Session(finished_run))
    shown = part.load()
    assert "There is no benchmark" in shown[part.tables] and not shown[part.plots[0]]["visible"]
    assert "There is no" in part._take("html")[part.message]


def begin(part: BenchmarkPart, methods: list[str], more: str = "", **given: Any) -> str:
    """What pressing the button says, with one seed and the rest as it comes."""
    usual: dict[str, Any] = {
        "seeds": 1, "taus": "", "noises": "", "rate": "", "augment": "run", "preset": "matched",
        "schedule": "cosine",
    }  # fmt: skip
    return str(part._begin(methods, more, **{**usual, **given}))


def test_a_started_benchmark_runs_to_its_end_and_its_files_can_be_taken(
    part: BenchmarkPart,
) -> None:
    assert (
        "running" in begin(part, ["noisy"], "removal:fraction=0.08", augment="no")
        or part.session.jobs.running
    )
    part.session.jobs.wait(300)
    assert part.session.jobs.snapshot().state == "done"
    assert part._tick("benchmark:running:0")[part.tables].count("di-figures") >= 2
    assert "removal, fraction 0.08" in part.session.run.benchmark.file("csv").read_text()
    for kind in ("html", "md", "tex", "csv", "groups", "samples", "json"):
        file = Path(part._take(kind)[part.file])
        assert file.read_bytes() == part.session.run.benchmark.file(kind).read_bytes()
    assert "No benchmark is running" in part._stop()


@pytest.mark.parametrize(
    "given,message",
    [
        ({"methods": []}, "at least one method"),
        ({"methods": [], "more": " , "}, "at least one method"),
        ({"seeds": 0}, "at least one seed"),
        ({"taus": "ten"}, "Cannot read"),
        ({"taus": "0"}, "influence.tau"),
        ({"noises": "0.1; 0.2"}, "Cannot read"),
        ({"noises": "2"}, "noise.rate"),
        ({"methods": ["nothing"]}, "Unknown method"),
        ({"more": "elr:lambda"}, "write method:option=value"),
        ({"rate": "1.5"}, "not in [0, 1)"),
        ({"rate": "0.1, 0.2"}, "one noise rate"),
    ],
)
def test_what_cannot_be_is_said(part: BenchmarkPart, given: Any, message: str) -> None:
    assert message in begin(part, **{"methods": ["noisy"], **given})
    assert not part.session.jobs.running


def test_settings_of_the_view_are_those_of_the_command(
    part: BenchmarkPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[BenchmarkSettings] = []

    def refuse(settings: BenchmarkSettings) -> None:
        asked.append(settings)
        raise DiffInfError("noted")

    monkeypatch.setattr(part.session.run.benchmark, "run", refuse)
    given = {"taus": "5, 10", "noises": "0.1,0.4", "rate": "0.3", "augment": "yes", "seeds": 2}
    more = "proselflc:theta=0.3;sharpness=8, elr"
    assert "noted" in begin(
        part, ["noisy"], more, **given, preset="source", schedule="constant"
    )  # fmt: skip
    assert asked == [
        BenchmarkSettings(
            methods=("noisy", "proselflc:theta=0.3;sharpness=8", "elr"), seeds=2, taus=(5, 10),
            noises=(0.1, 0.4), augment=True, schedule="constant", preset="source", noise_rate=0.3,
        )
    ]  # fmt: skip


def test_choices_say_which_rows_use_the_truth() -> None:
    titles = {name: title for title, name in method_choices()}
    assert len(titles) == 23 and "uses the truth" in titles["oracle_removal"]
    assert "truth" not in titles["repair"]


@pytest.fixture(scope="module")
def server(root: Path) -> Iterator[Server]:
    with Server(root) as server:
        yield server


@pytest.mark.browser
def test_the_view_in_a_browser(chromium: Any, server: Server) -> None:
    SHOTS.mkdir(exist_ok=True)
    page = open_page(chromium, server, "?__theme=light", color_scheme="light")
    page.set_viewport_size({"width": 1440, "height": 950})
    page.get_by_role("tab", name="Compare", exact=True).click()
    page.locator("#benchmark button").first.click()
    page.wait_for_selector("#benchmark-tables .di-figures", timeout=60_000)
    assert "Self-influence removal" in page.inner_text("#benchmark-tables")
    page.locator("#benchmark .main-svg").first.wait_for(timeout=60_000)
    page.screenshot(path=SHOTS / "benchmark.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440
    page.close()
