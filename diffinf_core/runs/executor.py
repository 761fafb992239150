"""Where the items of a stage are computed: in this process, or by workers on other machines.

A stage hands out a :class:`ParallelMap` and its items, and takes the results as they come, in any order. The
executor is no setting of a run and no part of a key, because results do not depend on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from diffinf_core.records import DiffInfError

Item = TypeVar("Item")
#: events of an item under way; its result is what the generator returns
Computing = Generator[Any, None, Any]
#: from a parcel, see :attr:`ParallelMap.pack`, to the result of its item
Call = Callable[[Any], Any]
#: which executor is used, and the address of its cluster
EXECUTOR, ADDRESS = "DIFFINF_EXECUTOR", "DIFFINF_ADDRESS"
EXECUTORS = ("local", "ray")


class Task(Protocol):
    """What a worker is sent once. It is pickled, so it holds weights and settings and no open files."""

    def open(self) -> AbstractContextManager[Call]:
        """Everything that parcels need, loaded; called once by each worker."""


@dataclass(frozen=True)
class ParallelMap(Generic[Item]):
    """A function of items, in both forms in which an executor may compute it.

    ``here`` computes an item in this process. Workers of other machines see neither the run's folder nor this
    process: they are sent ``task()`` once and ``pack(item)`` for each item, and return what ``here`` would.
    ``name`` says which item it is, in messages. ``size`` counts what an item holds, such as pictures.
    ``gpu``: whether an item is computed on a GPU where there is one.
    """

    here: Callable[[Item], Computing]
    task: Callable[[], Task]
    pack: Callable[[Item], Any]
    name: Callable[[Item], str]
    size: Callable[[Item], int] = lambda item: 1
    gpu: bool = True


@dataclass(frozen=True)
class Done(Generic[Item]):
    """The result of an item; any other event of a map says how it goes on."""

    item: Item
    result: Any


class Workers(Protocol):
    """Workers of one :class:`ParallelMap`, for as many maps as the stage needs."""

    def map(self, items: Iterable[Item]) -> Iterator[Done[Item] | Any]:
        """Compute items that are drawn as they are needed; closing the iterator stops the workers.

        An item that cannot be computed keeps no other from being computed: the iterator raises
        :class:`ItemsFailed` at its end.
        """


class Executor(Protocol):
    """Brings items to workers."""

    def workers(self, parallel: ParallelMap[Item]) -> AbstractContextManager[Workers]:
        """The workers, which end with the block."""

    def held(self) -> AbstractContextManager[None]:
        """What connects to workers stays connected between the maps of the block."""


class ItemsFailed(DiffInfError):
    """Some items failed for good: ``failures`` holds their names and the reasons."""

    def __init__(self, failures: dict[str, str], finished: int) -> None:
        self.failures = failures
        listed = "\n".join(f"  {name}: {reason}" for name, reason in failures.items())
        super().__init__(
            f"{len(failures)} could not be computed, {finished} were and are kept:\n{listed}\n"
            "The same command tries them again."
        )


@dataclass(frozen=True)
class LocalExecutor:
    """Item after item in this process; the first failure ends it."""

    def workers(self, parallel: ParallelMap[Item]) -> AbstractContextManager[Workers]:
        """This process."""
        return nullcontext(_ThisProcess(parallel))

    def held(self) -> AbstractContextManager[None]:
        """Nothing connects."""
        return nullcontext()


@dataclass(frozen=True)
class _ThisProcess:
    parallel: ParallelMap[Any]

    def map(self, items: Iterable[Any]) -> Iterator[Done[Any] | Any]:
        for item in items:
            result = yield from self.parallel.here(item)
            yield Done(item, result)


def choose(name: str, address: str | None = None) -> None:
    """Use an executor from here on in this process and those that it starts.

    ``address`` is that of a Ray cluster's head; without one, Ray starts on this machine. Raises
    :class:`DiffInfError` for an unknown name, and where the extra that it needs is not installed.
    """
    if name not in EXECUTORS:
        raise DiffInfError(f"Unknown executor {name!r}; choose one of {', '.join(EXECUTORS)}.")
    if address is not None and name != "ray":
        raise DiffInfError(
            f"An address is that of a Ray cluster; give --executor ray, too: {address}."
        )
    os.environ[EXECUTOR] = name
    if address is not None:
        os.environ[ADDRESS] = address
    executor()


def executor() -> Executor:
    """The executor that was chosen, by :func:`choose` or by ``DIFFINF_EXECUTOR``; local by default."""
    name = os.environ.get(EXECUTOR) or "local"
    if name == "local":
        return LocalExecutor()
    if name != "ray":
        raise DiffInfError(f"{EXECUTOR} is {name!r}; choose one of {', '.join(EXECUTORS)}.")
    from diffinf_core.runs.ray_executor import RayExecutor

    return RayExecutor(os.environ.get(ADDRESS) or None)


def held() -> AbstractContextManager[None]:
    """One connection to the cluster, if one is used, for all maps of the block; see :meth:`Executor.held`."""
    return nullcontext() if os.environ.get(EXECUTOR) != "ray" else executor().held()


def compute(parallel: ParallelMap[Item], items: Iterable[Item]) -> Iterator[Done[Item] | Any]:
    """One map by the chosen executor; see :meth:`Workers.map`."""
    with executor().workers(parallel) as workers:
        yield from workers.map(items)
