"""The app in a process of its own, and a browser that looks at it."""

from __future__ import annotations

import os
import runpy
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.forks import FORKS, ROOT, take_place

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
#: a browser that has seen the tour
NO_TOUR = "try { localStorage.setItem('diffinf-tour', 'seen') } catch {}"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _serve(run: str, port: int, environment: dict[str, str], more: tuple[str, ...]) -> None:
    words = ["app.py", "--run", run, "--port", str(port), "--no-token", *more]
    take_place(environment, ROOT, words)
    runpy.run_path(str(ROOT / "app.py"), run_name="__main__")


class Server:
    """The app in a process of its own, so that it can be killed like one."""

    def __init__(
        self, run: Path, environment: dict[str, str] | None = None, more: tuple[str, ...] = ()
    ) -> None:
        self.run, self.port, self.more = run, free_port(), more
        self.environment = environment or {}
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        environment = {**os.environ, **self.environment}
        words = (str(self.run), self.port, environment, self.more)
        self.process = FORKS.Process(target=_serve, args=words)
        self.process.start()
        try:
            self._wait()
        except BaseException:
            self.kill()  # else the interpreter would wait for it at its own end
            raise

    def _wait(self) -> None:
        for _ in range(1200):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.is_alive(), "the app ended while starting"
            time.sleep(0.1)
        raise AssertionError("the app did not start")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.join()

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}/"


def open_page(chromium: Any, server: Server, query: str = "", **options: Any) -> Any:
    """The Review page with its first pair, in a window of its own; an error in the page fails the test."""
    page = chromium.new_page(viewport={"width": 1440, "height": 950}, **options)
    page.on("pageerror", lambda error: pytest.fail(f"page error: {error}"))
    page.goto(server.address + query)
    page.wait_for_selector("#review-pair img", timeout=60_000)
    return page


def place(page: Any) -> str:
    """Which pair of how many is shown."""
    return str(page.inner_text("#review-head .di-place"))


def wait_place(page: Any, text: str) -> None:
    """Wait until that pair is shown."""
    page.wait_for_function(
        "t => document.querySelector('#review-head .di-place')?.textContent.startsWith(t)", arg=text
    )


def showing(page: Any) -> str:
    """The sample on the screen."""
    return str(page.get_attribute("#review-pair .di-pair", "data-sample"))


def eventually(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something is so on the server's side."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def box_of(element: Any) -> dict[str, float]:
    """A locator's element on the page, in CSS pixels; one that an answer is just replacing has no box yet."""
    boxes: list[dict[str, float] | None] = []

    def has_box() -> bool:
        boxes.append(element.bounding_box())
        return boxes[-1] is not None

    eventually(has_box)
    box = boxes[-1]
    assert box is not None
    return box


def type_in(page: Any, selector: str, value: str) -> None:
    """Type into a field and leave it; what has just been opened may still put its own value back."""
    field = page.locator(selector)

    def stays() -> bool:
        field.fill(value)
        field.press("Tab")
        page.wait_for_timeout(500)
        return bool(field.input_value() == value)

    eventually(stays)
