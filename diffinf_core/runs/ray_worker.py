"""The process that computes on a node of a Ray cluster: it holds a task, and computes a parcel at a time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from diffinf_core.records import DiffInfError
from diffinf_core.runs.executor import EXECUTOR, Call, Task
from diffinf_core.runs.seal import seal

#: packages whose version results depend on
_PACKAGES = ("diffinf-core", "torch", "torchvision", "numpy")


def versions() -> dict[str, str]:
    """The versions that are installed here of what results depend on."""
    return {name: version(name) for name in _PACKAGES}


@dataclass(frozen=True)
class Terms:
    """How a worker computes, so that its results are those of the run's process.

    ``closed`` is :func:`diffinf_core.runs.seal.present_seal` there, ``threads`` its number of threads.
    """

    versions: Mapping[str, str]
    threads: int
    closed: frozenset[str] | None

    def seal(self) -> AbstractContextManager[None]:
        """What the run's process may not open, a worker may not."""
        return nullcontext() if self.closed is None else seal(*map(Path, self.closed))


@dataclass(frozen=True)
class Answer:
    """A result, or the sentence of a :class:`DiffInfError`: trying again would not help."""

    result: Any = None
    refusal: str | None = None


class RayWorker:
    """An actor of :mod:`diffinf_core.runs.ray_executor`."""

    def __init__(self, terms: Terms) -> None:
        self._terms, self._opened = terms, ExitStack()
        self._call: Call | None = None

    def open(self, task: Task) -> Answer:
        """Load the task's networks; the device that they are on is the result."""
        import os

        import torch

        os.environ[EXECUTOR] = "local"  # what a task computes stays here
        here = versions()
        for name, wanted in self._terms.versions.items():
            if here[name] != wanted:
                return Answer(
                    refusal=f"A node has {name} {here[name]} and the run's machine {wanted}; results would "
                    "differ. Install the same versions on every node."
                )
        torch.set_num_threads(self._terms.threads)
        try:
            with self._terms.seal():
                self._call = self._opened.enter_context(task.open())
        except DiffInfError as error:
            return Answer(refusal=str(error))
        cuda = torch.cuda.is_available()
        return Answer(torch.cuda.get_device_name() if cuda else "CPU")

    def compute(self, parcel: Any) -> Answer:
        """Compute a parcel."""
        assert self._call is not None
        try:
            with self._terms.seal():
                return Answer(self._call(parcel))
        except DiffInfError as error:
            return Answer(refusal=str(error))

    def close(self) -> None:
        """Remove what the task left on this machine."""
        self._opened.close()
