"""Items computed by workers on a Ray cluster, see https://docs.ray.io/en/latest/ray-core/actors.html.

A worker is an actor with a GPU of its own, or on clusters without any with as many cores as this process has
threads. It is sent the task once, through the object store, and then parcels. A worker that dies costs the
parcels that it had; they are computed again by others, and where nodes come or go the workers follow.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any

from diffinf_core.records import DiffInfError
from diffinf_core.runs.executor import Done, Item, ItemsFailed, ParallelMap
from diffinf_core.runs.extras import optional_imports
from diffinf_core.runs.ray_worker import Answer, RayWorker, Terms, versions
from diffinf_core.runs.seal import present_seal

#: how often an item is tried, seconds before the second try (twice as many before the third), and seconds
#: between two events where nothing is done
TRIES, PAUSE, _BEAT = 3, 2.0, 1.0
#: parcels that a worker has: one that it computes and one that is on its way
_AHEAD = 2


@dataclass(frozen=True)
class Load:
    """What a cluster is doing: an event of a map. ``rate`` counts :attr:`ParallelMap.size` per second."""

    nodes: int
    devices: dict[str, int]
    in_flight: int
    rate: float

    def __str__(self) -> str:
        devices = ", ".join(f"{n} x {name}" for name, n in self.devices.items()) or "none ready"
        pace = f", {self.rate:.3g} per second" if self.rate else ""
        nodes = f"{self.nodes} node{'' if self.nodes == 1 else 's'}"
        return f"{nodes}, workers: {devices}, {self.in_flight} tasks in flight{pace}"


@dataclass(eq=False)
class _Try:
    """An item on its way, with the reasons why it failed before, and when it may be tried again."""

    item: Any
    failures: list[str] = field(default_factory=list)
    earliest: float = 0.0


@dataclass(eq=False)
class _Worker:
    """An actor; ``device`` is known once its task is open."""

    actor: Any
    opening: Any
    device: str | None = None
    tries: dict[Any, _Try] = field(default_factory=dict)


class _Connection:
    """This process' connection to Ray, for as long as somebody uses it.

    Ray ends a process whose node dies, without asking: an app must not be tied to it between its jobs.
    A connection that the process had before is used and left as it is.
    """

    def __init__(self) -> None:
        self._lock, self._users, self._ours = threading.Lock(), 0, False

    def join(self, ray: Any, address: str | None) -> None:
        """Connect unless this process is; :class:`DiffInfError` where there is no cluster."""
        with self._lock:
            if not ray.is_initialized():
                try:
                    ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
                except (ConnectionError, RuntimeError, ValueError) as error:
                    where = address or os.environ.get("RAY_ADDRESS") or "this machine"
                    raise DiffInfError(
                        f"Ray cannot be used at {where}: {_first_line(error)}. Start it there with 'ray "
                        "start --head', or give another --address."
                    ) from error
                self._ours = True
            self._users += 1

    def hold(self) -> None:
        """Keep the connection, once it is made, until :meth:`leave`."""
        with self._lock:
            self._users += 1

    def leave(self, ray: Any) -> None:
        """The end of what :meth:`join` began."""
        with self._lock:
            self._users -= 1
            if self._ours and not self._users:
                ray.shutdown()
                self._ours = False


_CONNECTION = _Connection()


class RayExecutor:
    """Workers on the cluster at ``address``; None for that of ``RAY_ADDRESS``, else one on this machine.

    Raises :class:`DiffInfError` where Ray is not installed.
    """

    def __init__(self, address: str | None = None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        with optional_imports():
            import ray
        self._ray, self._address = ray, address

    @contextmanager
    def held(self) -> Iterator[None]:
        """One connection for all maps of the block; Ray on this machine is started once."""
        _CONNECTION.hold()
        try:
            yield
        finally:
            _CONNECTION.leave(self._ray)

    @contextmanager
    def workers(self, parallel: ParallelMap[Item]) -> Iterator[_Pool]:
        """Workers that start with the first item and end with the block."""
        pool = _Pool(self._ray, self._address, parallel)
        try:
            yield pool
        finally:
            pool.end()


class _Pool:
    def __init__(self, ray: Any, address: str | None, parallel: ParallelMap[Any]) -> None:
        self._ray, self._address, self._parallel = ray, address, parallel
        self._joined = False
        self._workers: list[_Worker] = []
        self._waiting: deque[_Try] = deque()
        self._task: Any = None
        self._failed_starts: list[str] = []
        self._nodes: list[dict[str, Any]] = []

    # ------------------------------------------------------------ the map

    def map(self, items: Iterable[Any]) -> Iterator[Done[Any] | Any]:
        """See :meth:`diffinf_core.runs.executor.Workers.map`."""
        coming, failed, finished = iter(items), dict[str, str](), 0
        self._waiting += map(_Try, islice(coming, 1))
        if not self._waiting:
            return
        began, counted, looked = time.monotonic(), 0, 0.0
        try:
            while True:
                if time.monotonic() - looked > _BEAT:
                    self._look_at_nodes()
                    looked = time.monotonic()
                    rate = counted / (looked - began) if counted else 0.0
                    yield Load(len(self._nodes), self._devices(), len(self._in_flight()), rate)
                ahead = _AHEAD * max(1, self._capacity()) - len(self._waiting)
                self._waiting += map(_Try, islice(coming, max(0, ahead)))
                if not self._waiting and not self._in_flight():
                    break
                self._hire()
                for tried, answer in chain(self._hand_out(), self._collect()):
                    if answer.refusal is not None:
                        failed[self._parallel.name(tried.item)] = answer.refusal
                        continue
                    finished += 1
                    counted += self._parallel.size(tried.item)
                    yield Done(tried.item, answer.result)
        except BaseException:  # closed, too: what workers are doing is of no use any more
            self.stop(at_once=True)
            raise
        if failed:
            raise ItemsFailed(failed, finished)

    def _collect(self) -> Iterator[tuple[_Try, Answer]]:
        """What has been answered; :class:`Answer` with a refusal for what failed for good."""
        refs = [w.opening for w in self._workers if w.device is None] + self._in_flight()
        if not refs:
            time.sleep(_BEAT / 10)  # for a node, or until an item may be tried again
            return
        ready, _ = self._ray.wait(refs, num_returns=1, timeout=_BEAT)
        for ref in ready:
            worker = next(w for w in self._workers if ref == w.opening or ref in w.tries)
            try:
                answer: Answer = self._ray.get(ref)
            except self._ray.exceptions.RayActorError as error:
                yield from self._lost(worker, _first_line(error))
            except self._ray.exceptions.RayError as error:
                if worker.device is None:
                    raise DiffInfError(f"A worker cannot start: {_cause(error)}.") from error
                yield from self._again(worker.tries.pop(ref), _cause(error))
            else:
                if worker.device is not None:
                    yield worker.tries.pop(ref), answer
                elif answer.refusal is not None:
                    raise DiffInfError(answer.refusal)
                else:
                    worker.device = answer.result
                    self._failed_starts.clear()

    def _again(self, tried: _Try, reason: str) -> Iterator[tuple[_Try, Answer]]:
        tried.failures.append(reason)
        if len(tried.failures) >= TRIES:
            yield tried, Answer(refusal=f"failed {TRIES} times, the last time by: {reason}")
            return
        tried.earliest = time.monotonic() + PAUSE * 2 ** (len(tried.failures) - 1)
        self._waiting.append(tried)

    def _lost(self, worker: _Worker, reason: str) -> Iterator[tuple[_Try, Answer]]:
        """A worker is gone: what it computed may be the reason, what waited for it is not."""
        self._workers.remove(worker)
        self._end(worker)
        before = len(self._nodes)
        self._look_at_nodes()
        tries = list(worker.tries.values())
        if len(self._nodes) < before:  # it went with its node
            self._waiting.extendleft(reversed(tries))
            return
        if worker.device is None:
            self._failed_starts.append(reason)
            if len(self._failed_starts) >= TRIES:
                raise DiffInfError(f"Workers cannot start, {TRIES} times in a row: {reason}")
        self._waiting.extendleft(reversed(tries[1:]))
        if tries:
            yield from self._again(tries[0], reason)

    # ------------------------------------------------------------ workers

    def _look_at_nodes(self) -> None:
        if not self._joined:
            _CONNECTION.join(self._ray, self._address)
            self._joined = True
        self._nodes = [node for node in self._ray.nodes() if node["Alive"]]
        cores = max((node["Resources"].get("CPU", 0) for node in self._nodes), default=0)
        needed = self._needs()["CPU"]
        if 0 < cores < needed:  # nodes without any are for the head; larger ones may still come
            raise DiffInfError(
                f"A worker needs {needed} cores, as many as this process has threads, and no node of the "
                f"cluster has more than {cores:g}. Set OMP_NUM_THREADS={cores:g}."
            )

    def _needs(self) -> dict[str, float]:
        import torch

        gpus = any(node["Resources"].get("GPU", 0) >= 1 for node in self._nodes)
        if gpus and self._parallel.gpu:
            return {"CPU": 1, "GPU": 1}
        return {"CPU": torch.get_num_threads()}

    def _capacity(self) -> int:
        """The workers that the nodes have room for."""
        needs = self._needs()
        return sum(
            int(min(node["Resources"].get(name, 0) // amount for name, amount in needs.items()))
            for node in self._nodes
        )

    def _hire(self) -> None:
        """Start workers for what is waiting, as far as there is room."""
        free = min(self._capacity(), len(self._waiting) + len(self._in_flight()))
        for _ in range(free - len(self._workers)):
            import torch

            if self._task is None:
                try:
                    self._task = self._ray.put(self._parallel.task())
                except self._ray.exceptions.RayError as error:
                    raise DiffInfError(
                        f"What workers need does not fit into Ray's object store: {_first_line(error)}. Give "
                        "its head more memory or disk."
                    ) from error
            needs = self._needs()
            remote = self._ray.remote(RayWorker).options(
                num_cpus=needs["CPU"], num_gpus=needs.get("GPU", 0), max_restarts=0
            )
            actor = remote.remote(Terms(versions(), torch.get_num_threads(), present_seal()))
            self._workers.append(_Worker(actor, actor.open.remote(self._task)))

    def _hand_out(self) -> Iterator[tuple[_Try, Answer]]:
        """Give waiting items to workers that are ready; a second one only while enough are left for all.

        An item that cannot be packed is answered with the reason.
        """
        ready = [w for w in self._workers if w.device is not None]
        for ahead in range(_AHEAD):
            for worker in ready:
                if ahead and len(self._waiting) <= len(ready):
                    return
                now = time.monotonic()
                tried = next((t for t in self._waiting if t.earliest <= now), None)
                if tried is None:
                    return
                if len(worker.tries) <= ahead:
                    self._waiting.remove(tried)
                    try:
                        parcel = self._parallel.pack(tried.item)
                    except DiffInfError as error:
                        yield tried, Answer(refusal=str(error))
                        continue
                    worker.tries[worker.actor.compute.remote(parcel)] = tried

    def _in_flight(self) -> list[Any]:
        return [ref for worker in self._workers for ref in worker.tries]

    def _devices(self) -> dict[str, int]:
        return dict(Counter(w.device for w in self._workers if w.device is not None))

    def _end(self, worker: _Worker) -> None:
        with suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(worker.actor)

    def stop(self, at_once: bool = False) -> None:
        """End the workers; ``at_once`` they leave their folder to the next worker on their node."""
        if not at_once and self._workers:
            closing = [w.actor.close.remote() for w in self._workers]
            self._ray.wait(closing, num_returns=len(closing), timeout=10 * _BEAT)
        while self._workers:
            self._end(self._workers.pop())
        self._waiting.clear()
        self._task = None

    def end(self) -> None:
        """Stop, and leave the cluster."""
        try:
            self.stop()
        finally:
            if self._joined:
                self._joined = False
                _CONNECTION.leave(self._ray)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _cause(error: Any) -> str:
    """What a worker's exception was, without the trace of the machinery."""
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {_first_line(cause)}"
