"""The app in a process of its own, and a browser that looks at it."""

from __future__ import annotations

import os
import runpy
import socket
import time
from collections.abc import Callable, Iterator
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
#: counts a page's calls that have no answer yet, but for those of its timers, which never end; see settled
COUNT_CALLS = r"""(() => {
  const ask = window.fetch;
  window.unanswered = 0;
  const counts = (address, more) => {
    if (!/\/gradio_api\/(run\/predict|queue\/join)/.test(String(address?.url || address))) return false;
    const asked = JSON.parse(more.body).fn_index;
    const called = window.gradio_config.dependencies.find((one) => one.id === asked);
    return !called.targets.some(([, event]) => event === "tick");
  };
  window.fetch = (...given) => {
    const coming = ask(...given);
    if (counts(...given)) {
      window.unanswered += 1;
      const over = () => { window.unanswered -= 1; };
      coming.then((answer) => answer.clone().text()).then(over, over);
    }
    return coming;
  };
})()"""
#: Gradio makes a call of an event, and draws an answer, without a timer: after a few frames in a row in which
#: nothing was under way, nothing is left. What the Review page holds back, its own script knows.
_SETTLED = """() => new Promise((done) => {
  const ends = (one) => Number.isFinite(one.effect?.getComputedTiming().endTime);
  const fades = (one) => one.playState === "running" && ends(one);
  const busy = () => window.unanswered > 0 || window.DiffInf?.free?.() === false
    || document.getAnimations().some(fades)
    || [...document.images].some((image) => !image.complete && image.loading !== "lazy");
  let still = 0;
  const look = () => {
    still = busy() ? 0 : still + 1;
    if (still > 5) done(true); else requestAnimationFrame(look);
  };
  look();
})"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Steps:
    """How many steps the edits of an app may still take: one is under way for as long as a test wants."""

    def __init__(self) -> None:
        self._left = FORKS.Semaphore(0)

    def go(self) -> None:
        """Let edits come to their end, those asked for later, too."""
        for _ in range(10_000):
            self._left.release()

    def one(self) -> None:
        """Let one step more be taken."""
        self._left.release()

    def stop(self) -> None:
        """From now on an edit stands still after its next preview."""
        while self._left.acquire(block=False):
            pass

    def hold(self) -> None:
        """In the app: make every edit wait after a preview."""
        from diffinf_core.engine.repair import Repair
        from diffinf_core.records import Edit

        edit = Repair._edit

        def held(*given: Any) -> Iterator[Any]:
            for event in edit(*given):
                yield event
                if not isinstance(event, Edit):
                    self._left.acquire()

        Repair._edit = held  # type: ignore[method-assign]


def _serve(
    run: str, port: int, environment: dict[str, str], more: tuple[str, ...], steps: Steps | None
) -> None:
    words = ["app.py", "--run", run, "--port", str(port), "--no-token", *more]
    take_place(environment, ROOT, words)
    if steps is not None:
        steps.hold()
    runpy.run_path(str(ROOT / "app.py"), run_name="__main__")


class Server:
    """The app in a process of its own, so that it can be killed like one."""

    def __init__(
        self,
        run: Path,
        environment: dict[str, str] | None = None,
        more: tuple[str, ...] = (),
        steps: Steps | None = None,
    ) -> None:
        self.run, self.port, self.more, self.steps = run, free_port(), more, steps
        self.environment = environment or {}
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        environment = {**os.environ, **self.environment}
        words = (str(self.run), self.port, environment, self.more, self.steps)
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


def settled(page: Any) -> None:
    """Wait until what was done to the page is answered and drawn, and nothing fades or loads.

    Timers are left out, see :func:`ticked`, and so is what streams: it has an end of its own to wait for.
    """
    page.wait_for_function(_SETTLED)


def ticked(page: Any, element: str) -> None:
    """Wait until the timer that updates this element has asked, and its answer is drawn.

    Its second call is the proof: a timer does not ask while an answer is on its way.
    """
    number = page.evaluate(
        """id => {
          const { components, dependencies } = window.gradio_config;
          const drawn = components.find((one) => one.props?.elem_id === id).id;
          const ticks = (one) => one.targets.some(([, event]) => event === "tick");
          return dependencies.find((one) => ticks(one) && one.outputs.includes(drawn)).id;
        }""",
        element,
    )

    def asks(request: Any) -> bool:
        return "/run/predict" in request.url and request.post_data_json["fn_index"] == number

    for _ in range(2):
        with page.expect_request(asks):
            pass


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
        settled(page)
        return bool(field.input_value() == value)

    eventually(stays)


def choose(page: Any, control: str, option: str) -> None:
    """Choose an option of a dropdown."""
    page.click(f"#{control} input")
    page.click(f'li[role=option][aria-label="{option}"]')
