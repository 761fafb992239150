"""While work that must not know the truth is going on, the truth cannot be opened.

A seal lies over a piece of work, not over a process: one thread may train while another shows a page of
the report. Under a seal every file that Python opens is resolved, links followed, and refused where it
lies in the ``truth/`` folder of any run or is one of the files that the seal names; so is renaming or
hard-linking one. The threads and processes of :mod:`diffinf_core.runs.workers` inherit the seal.

It guards against mistakes, not against code that means harm, and does not see: what is opened outside
Python (by another program, or by a library's own C++ or Rust, as pyarrow and safetensors do), by threads
started in another way, or relative to an open folder (``dir_fd``); a folder of stages that was renamed or a
hard link made before; what the work is handed as an argument. ``samples.csv`` and ``images.npy`` hold all
splits, so the test split can be read by path.

Cost, from the first seal on: 0.1 microseconds per audit event of the process, and 35 per file that is
opened under a seal, for resolving its links.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from diffinf_core.records import DiffInfError

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

#: the folder of the data stage that holds what is known about the labels
TRUTH_FOLDER = "truth"
_TRUTH = re.compile(rf"/stages/data-[0-9a-f]+/{TRUTH_FOLDER}(/|$)", re.IGNORECASE)
#: resolved names of further files that the seal closes; None where there is no seal
_seal: ContextVar[frozenset[str] | None] = ContextVar("seal", default=None)


def present_seal() -> frozenset[str] | None:
    """The files closed beside every truth, where the caller is sealed; else None."""
    return _seal.get()


def refuse(what: str) -> None:
    """:class:`DiffInfError` where the caller is sealed."""
    if present_seal() is not None:
        raise DiffInfError(
            f"{what} is closed to training, ranking, repair and review; only metrics, experiments "
            "and the report may open it."
        )


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event in ("open", "os.link", "os.rename"):
        files = _seal.get()
        if files is None or isinstance(args[0], int):
            return
        path = os.path.realpath(os.fsdecode(args[0]))
        if path in files or _TRUTH.search(path):
            refuse(path)


@cache
def _install() -> None:
    """An audit hook cannot be taken away, and costs a little at every event: none before it is needed."""
    sys.addaudithook(_watch)


@contextmanager
def seal(*files: Path) -> Iterator[None]:
    """Close every truth, and ``files``, while the block runs; within a seal only more can be closed."""
    _install()
    closed = (present_seal() or frozenset()) | {os.path.realpath(f) for f in files}
    token = _seal.set(closed)
    try:
        yield
    finally:
        _seal.reset(token)


def sealed(events: Generator[T, None, R], *files: Path) -> Generator[T, None, R]:
    """The same events and result, made under :func:`seal`; what their consumer does between is not sealed.

    A generator runs in the context of whoever asks for its next event, so the seal is laid and lifted
    at each step. Closing this closes ``events``, under the seal.
    """
    try:
        while True:
            with seal(*files):
                try:
                    event = next(events)
                except StopIteration as end:
                    return end.value
            yield event
    finally:
        with seal(*files):
            events.close()


def under_seal(work: Callable[P, T]) -> Callable[P, T]:
    """A function, or a generator function, that always runs sealed, whoever calls it."""

    @wraps(work)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if isgeneratorfunction(work):
            return sealed(work(*args, **kwargs))  # type: ignore[return-value]
        with seal():
            return work(*args, **kwargs)

    return call


def seal_for_good(files: frozenset[str] | None) -> None:
    """Seal the calling thread until it ends, as :func:`present_seal` was elsewhere; None does nothing."""
    if files is not None:
        _install()
        _seal.set(files)
