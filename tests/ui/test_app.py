"""The app in a real browser: judge by keyboard, undo, re-edit, relabel, export, reload.

Screenshots of each page go to ``test-output/`` at two widths, light and dark.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diffinf_core.engine import Engine

playwright = pytest.importorskip("playwright.sync_api")
sys.path.insert(0, str(Path(__file__).parents[1]))
from install_browser import own_chromium, system_chromium  # noqa: E402

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / "test-output"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = pytest.mark.browser


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Server:
    """The app in a process of its own, so that it can be killed like one."""

    def __init__(self, run: Path) -> None:
        self.run, self.port = run, free_port()
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "app.py", "--run", str(self.run), "--port", str(self.port)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )
        for _ in range(240):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, "the app ended while starting"
            time.sleep(0.5)
        raise AssertionError("the app did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    path = system_chromium() or own_chromium()
    if path is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    run = tmp_path_factory.mktemp("app") / "run"
    shutil.copytree(finished_run, run)
    server = Server(run)
    yield server
    server.kill()


def open_page(chromium, server: Server, query: str = "", **options):
    page = chromium.new_page(viewport={"width": 1440, "height": 950}, **options)
    page.on("pageerror", lambda error: pytest.fail(f"page error: {error}"))
    page.goto(f"http://127.0.0.1:{server.port}/{query}")
    page.wait_for_selector("#review-pair img", timeout=60_000)
    return page


def place(page) -> str:
    return page.inner_text("#review-head .di-place")


def wait_place(page, text: str) -> None:
    page.wait_for_function(
        "t => document.querySelector('#review-head .di-place')?.textContent === t", arg=text
    )


def eventually(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is so on the server's side."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def test_judging_by_keyboard_undo_and_reload(chromium, server: Server) -> None:
    engine = Engine(server.run)
    order = list(engine.queue()["id"])
    page = open_page(chromium, server)
    total = len(order)
    assert place(page) == f"1 of {total}"
    for i, key in enumerate("arkd"):
        page.keyboard.press(key)
        wait_place(page, f"{i + 2} of {total}")
    actions = {s: d.action for s, d in engine.decisions().items()}
    assert actions == dict(zip(order, ("accept", "reject", "keep", "drop"), strict=False))
    assert engine.decisions()[order[0]].version == engine.versions(order[0])[0]

    page.keyboard.press("u")
    wait_place(page, f"4 of {total}")
    page.keyboard.press("u")
    wait_place(page, f"3 of {total}")
    assert set(engine.decisions()) == set(order[:2])
    page.keyboard.press("y")
    page.wait_for_selector("#review-message .di-notice")
    assert engine.decisions()[order[2]].action == "keep"

    # Typing a comment decides nothing.
    page.fill("#comment textarea, #comment input", "")
    page.click("#comment textarea, #comment input")
    page.keyboard.type("a dark drink <b>")
    assert set(engine.decisions()) == set(order[:3])
    page.click("#do-second")
    eventually(lambda: any(d.action == "second_look" for d in engine.decisions().values()))
    said = next(iter(reversed(engine.decisions().values())))
    assert said.action == "second_look" and said.comment == "a dark drink <b>"

    page.reload()
    page.wait_for_selector("#review-pair img", timeout=60_000)
    left = [
        s
        for s in order
        if s not in engine.decisions() or engine.decisions()[s].action == "second_look"
    ]
    assert place(page) == f"1 of {len(left)}"
    page.close()


def test_relabel_takes_the_chosen_class(chromium, server: Server) -> None:
    engine = Engine(server.run)
    page = open_page(chromium, server)
    chosen = page.input_value("#new-label input")
    page.keyboard.press("l")

    def relabelled() -> list[str | None]:
        return [d.new_label for d in engine.decisions().values() if d.action == "relabel"]

    eventually(lambda: bool(relabelled()))
    assert relabelled() == [chosen]
    page.close()


def test_re_edit_streams_keeps_versions_and_can_be_cancelled(chromium, server: Server) -> None:
    page = open_page(chromium, server)
    assert page.locator("#versions input[type=radio]").count() == 1
    page.click("#reedit-panel button")
    slider = page.locator("#reedit-panel input[type=number]").first
    slider.fill("3")
    slider.press("Tab")
    page.wait_for_timeout(700)  # the page takes the value over a moment after the field is left
    page.click("#do-reedit")
    page.wait_for_function(
        "document.querySelectorAll('#versions input[type=radio]').length === 2", timeout=90_000
    )
    assert "w_id 3" in page.inner_text("#versions")
    page.close()


def test_trying_several_keeps_each_and_proposes_one(chromium, server: Server) -> None:
    page = open_page(chromium, server)
    page.click("#go-next")
    page.wait_for_function(
        "document.querySelector('#review-head .di-place')?.textContent.startsWith('2 of')"
    )
    assert "as configured" in page.inner_text("#versions")
    page.click("#reedit-panel button")
    page.click("#do-several")
    page.wait_for_function(
        "document.querySelector('#review-message').textContent.includes('Proposed')",
        timeout=120_000,
    )
    names = page.locator("#versions label").all_inner_texts()
    assert len(names) == len(set(names)) >= 6
    assert any("guide_from seen" in n for n in names) and any("t0 " in n for n in names)
    assert place(page).startswith("2 of")
    page.close()


def test_moving_on_while_an_edit_streams_keeps_keys_on_the_pair_on_screen(
    chromium, server: Server
) -> None:
    engine = Engine(server.run)
    page = open_page(chromium, server)
    page.click("#reedit-panel button")
    first = page.input_value("#review-showing textarea, #review-showing input")
    before = len(engine.versions(first))
    page.locator("#reedit-panel input[type=number]").first.fill("2.5")
    page.keyboard.press("Tab")
    page.wait_for_timeout(700)
    page.click("#do-reedit")
    page.click("#go-next")
    page.wait_for_function(
        "document.querySelector('#review-head .di-place')?.textContent.startsWith('2 of')"
    )
    second = page.input_value("#review-showing textarea, #review-showing input")
    assert second != first
    eventually(lambda: len(engine.versions(first)) == before + 1, 90)
    page.wait_for_timeout(1500)
    assert place(page).startswith("2 of"), "the finished edit must not bring its pair back"
    page.click("#do-reject")
    eventually(lambda: second in engine.decisions())
    assert engine.decisions()[second].action == "reject"
    page.close()


def test_every_page_at_two_widths_light_and_dark(chromium, server: Server) -> None:
    SHOTS.mkdir(exist_ok=True)
    for width in (1440, 1024):
        for scheme in ("light", "dark"):
            page = open_page(chromium, server, f"?__theme={scheme}", color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 950})
            for name in ("Review", "Run", "Ranking", "Compare", "Export"):
                page.get_by_role("tab", name=name).click()
                page.wait_for_timeout(1200)
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
    page.get_by_role("tab", name="Ranking").click()
    page.wait_for_selector("#plot-signals")
    page.get_by_role("tab", name="Review").click()
    page.wait_for_timeout(2000)
    assert place(page) == here
    page.close()


def test_another_score_is_offered_with_its_figure_and_taken(
    chromium, finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    server = Server(run)
    try:
        page = open_page(chromium, server)
        page.get_by_role("tab", name="Ranking").click()
        page.wait_for_selector("#ranking-words :text('Ranked by self-influence')")
        words = page.inner_text("#ranking-words")
        found = Engine(run).report()["influence"]["by_signal"]
        best = max(v["average_precision"] for v in found.values())
        assert f"{best:.2f}" in words or "No other score" in words
        for name in ("curve", "scores", "signals", "estimators"):
            page.wait_for_selector(f"#plot-{name} .main-svg")
        page.locator("#ranking :text('1'):visible").first.wait_for()
        page.click("#ranking-by input")
        page.fill("#ranking-by input", "area under")
        page.keyboard.press("Enter")
        page.click("#ranking-use")
        page.wait_for_selector("#ranking-message :text('Saved')")
        assert Engine(run).config.influence.estimator == "aum"
        page.wait_for_selector("#ranking-words :text('Ranked by area under the margin')")
        page.fill("#ranking-by input", "magic")
        page.keyboard.press("Enter")
        page.click("#ranking-use")
        page.wait_for_selector("#ranking-message :text('unknown estimator')")
        assert Engine(run).config.influence.estimator == "aum"
        page.close()
    finally:
        server.kill()


def test_export_from_the_page(chromium, server: Server, tmp_path: Path) -> None:
    page = open_page(chromium, server)
    page.get_by_role("tab", name="Export").click()
    page.fill("#export-target textarea, #export-target input", str(tmp_path / "out"))
    page.click("#export-start")
    page.wait_for_selector("#export-message :text('Wrote')", timeout=30_000)
    assert (tmp_path / "out" / "manifest.json").exists()
    page.click("#export-start")
    page.wait_for_selector("#export-message :text('not empty')")
    page.close()


def test_settings_are_refused_in_a_sentence(chromium, server: Server) -> None:
    page = open_page(chromium, server)
    page.get_by_role("tab", name="Run").click()
    page.get_by_role("button", name="Settings").click()
    page.wait_for_selector("#run-config .cm-content")
    page.click("#run-config .cm-content")
    page.keyboard.press("Control+End")
    page.keyboard.type("\nnonsense: 1\n")
    page.click("#run-save")
    page.wait_for_selector("#run-message :text('nonsense')")
    page.close()


def test_a_killed_server_loses_no_acknowledged_decision(
    chromium, finished_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    server = Server(run)
    order = list(Engine(run).queue()["id"])
    page = open_page(chromium, server)
    for i in range(3):
        page.keyboard.press("a")
        wait_place(page, f"{i + 2} of {len(order)}")
    server.kill()
    page.close()
    assert list(Engine(run).decisions()) == order[:3]
    server.start()
    try:
        page = open_page(chromium, server)
        assert place(page) == f"1 of {len(order) - 3}"
        page.close()
    finally:
        server.kill()


def test_the_app_runs_the_tiny_demo_and_cancels(chromium, tiny_config, tmp_path: Path) -> None:
    root = tmp_path / "run"
    Engine(root, tiny_config)
    server = Server(root)
    try:
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
        page.get_by_role("tab", name="Review").click()
        page.wait_for_selector("#review-pair img")
        page.get_by_role("tab", name="Compare").click()
        page.click("#compare-start")
        page.wait_for_selector("#compare-message :text('done')", timeout=240_000)
        # The grid keeps a hidden copy of each cell to measure widths.
        page.locator("#arms :text('repaired'):visible").first.wait_for()
        page.close()
    finally:
        server.kill()


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


def test_only_loopback_without_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffinf_core.records import DiffInfError
    from diffinf_core.ui.app import login, serve

    monkeypatch.delenv("DIFFINF_LOGIN", raising=False)
    with pytest.raises(DiffInfError, match="log-in"):
        serve(tmp_path, 1, host="0.0.0.0")
    monkeypatch.setenv("DIFFINF_LOGIN", "ann:secret,bob:x:y")
    assert login() == [("ann", "secret"), ("bob", "x:y")]
    monkeypatch.setenv("DIFFINF_LOGIN", "nonsense")
    with pytest.raises(DiffInfError, match="name:password"):
        login()


def test_markup_escapes_what_data_says() -> None:
    from diffinf_core.ui import markup

    text = markup.headline(1, 2, "<img src=x onerror=alert(1)>", 3, None, "keep", "<b>")
    assert "<img" not in text and "<b>" not in text
    assert not re.search(r"<script", markup.notice("<script>alert(1)</script>"))
