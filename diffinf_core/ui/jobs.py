"""One slow job at a time, in a thread of its own, so that a closed browser tab stops nothing.

Pages look at the job's snapshot on a timer; cancel closes the generator at its next event, and what
was finished stays on disk.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.executor import held

_LOG_LINES = 200


@dataclass
class Snapshot:
    """What a page shows of a job.

    ``state`` is idle, running, done, cancelled or failed; ``left`` the seconds that each stage will
    still take at its pace so far.
    """

    name: str = ""
    state: str = "idle"
    error: str = ""
    stages: dict[str, Progress] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    began: float = 0.0
    left: dict[str, float] = field(default_factory=dict)
    #: asked to stop, and running until its next event
    stopping: bool = False


def _held(work: Callable[[], Iterator[Progress]]) -> Iterator[Progress]:
    """The events of a job, which stays connected to its workers throughout."""
    with held():
        yield from work()


class Jobs:
    """Runs generators of progress events, one after another is refused while one is running."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshot = Snapshot()
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._snapshot.state == "running"

    def snapshot(self) -> Snapshot:
        """A copy that no thread changes any more."""
        with self._lock:
            s = self._snapshot
            stopping = self._stop.is_set() and s.state == "running"
            stages, left = dict(s.stages), dict(s.left)
            return Snapshot(
                s.name, s.state, s.error, stages, list(self._log), s.began, left, stopping
            )

    def start(self, name: str, work: Callable[[], Iterator[Progress]]) -> None:
        """Start a job; :class:`DiffInfError` while another one runs."""
        with self._lock:
            if self.running:
                raise DiffInfError(f"'{self._snapshot.name}' is still running; cancel it first.")
            self._snapshot = Snapshot(name, "running", began=time.time())
            self._log.clear()
            self._stop.clear()
        self._thread = threading.Thread(target=self._work, args=(work,), daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Ask the job to stop at its next event."""
        self._stop.set()

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the job to end; for tests and scripts."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _note(self, line: str) -> None:
        self._log.append(f"{time.strftime('%H:%M:%S')}  {line}")

    def _work(self, work: Callable[[], Iterator[Progress]]) -> None:
        state, error = "done", ""
        events: Iterator[Progress] | None = None
        first: dict[tuple[str, int], tuple[float, int]] = {}
        try:
            events = _held(work)
            for event in events:
                with self._lock:
                    before = self._snapshot.stages.get(event.stage)
                    self._snapshot.stages[event.stage] = event
                    # A stage may count in one unit and then in another: a new total starts anew.
                    now = time.monotonic()
                    began, done = first.setdefault((event.stage, event.total), (now, event.done))
                    self._snapshot.left.pop(event.stage, None)
                    if event.done > done:
                        pace = (now - began) / (event.done - done)
                        self._snapshot.left[event.stage] = pace * (event.total - event.done)
                    if before is None:
                        self._note(f"{event.stage}: started")
                    if event.done >= event.total and event.note.startswith("done"):
                        self._note(f"{event.stage}: {event.note}")
                if self._stop.is_set():
                    state = "cancelled"
                    break
        except DiffInfError as problem:
            state, error = "failed", str(problem)
        except Exception as problem:  # a page shows a sentence; the trace goes to the terminal
            traceback.print_exc()
            state = "failed"
            error = f"Unexpected {type(problem).__name__}; the terminal shows the details."
        try:
            close = getattr(events, "close", None)
            if close is not None:
                close()
        except (
            Exception
        ) as problem:  # clearing up after itself; a job that never ends blocks all others
            traceback.print_exc()
            state = "failed"
            error = f"Ended with {type(problem).__name__}; the terminal shows the details."
        with self._lock:
            self._note(error or state)
            self._snapshot.state, self._snapshot.error = state, error
