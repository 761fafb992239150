"""Worker threads, and worker processes that never outlive their parent; both inherit its seal."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.seal import present_seal, seal_for_good

T = TypeVar("T")
R = TypeVar("R")
_LOOK_EVERY = 0.5


def worker_pool(count: int) -> ProcessPoolExecutor:
    """``count`` processes, each with one thread for its numbers.

    They are spawned, not forked: a forked worker would inherit the run's lock and keep it after its
    parent was killed, and forking a process with threads, such as the app's, can hang.
    """
    return ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=follow_parent,
        initargs=(os.getpid(), present_seal()),
    )


def thread_pool(count: int, name: str) -> ThreadPoolExecutor:
    """``count`` threads under the caller's seal; a thread that is started otherwise has none."""
    return ThreadPoolExecutor(count, name, initializer=seal_for_good, initargs=(present_seal(),))


def in_order(
    work: Callable[[T], R], items: Iterable[T], threads: int, ahead: int, name: str
) -> Iterator[R]:
    """``work(item)`` of each item, in order, by ``threads`` threads, which are at most ``ahead`` items ahead.

    The results do not depend on the threads. Closing this waits for what they have begun.
    """
    coming = iter(items)
    with thread_pool(threads, name) as pool:
        window: deque[Future[R]] = deque()
        try:
            while True:
                window += (pool.submit(work, item) for item in islice(coming, ahead - len(window)))
                if not window:
                    return
                yield window.popleft().result()
        finally:
            for future in window:
                future.cancel()


def follow_parent(parent: int, seal: frozenset[str] | None = None) -> None:
    """Initialise a worker: one thread, the parent's seal, an end as soon as process ``parent`` is gone."""
    os.environ["OMP_NUM_THREADS"] = "1"

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_EVERY)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    seal_for_good(seal)


def stop(pool: ProcessPoolExecutor) -> None:
    """End a pool now, whatever its workers are doing; what they wrote atomically stays."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:  # shutdown alone would wait for the jobs under way
        process.terminate()


def _driven(work: Callable[..., Iterator[Progress]], job: tuple[Any, ...]) -> None:
    import torch

    torch.set_num_threads(1)
    for _ in work(*job):
        pass


def run_trainings(
    stage: str,
    work: Callable[..., Iterator[Progress]],
    jobs: Mapping[str, tuple[Any, ...]],
    total: int,
    workers: int,
) -> Iterator[Progress]:
    """Drive ``work(*job)`` for each named job, ``workers`` at a time; the rest of ``total`` is done already.

    Work is a module's function that resumes where it was stopped. A single worker is this process, and its
    events are passed on. Raises :class:`DiffInfError` where a worker process is killed.
    """
    done, note = total - len(jobs), ""
    yield Progress(stage, done, total)
    if min(workers, len(jobs)) < 2:
        for name, job in jobs.items():
            for event in work(*job):
                yield Progress(stage, done, total, event.note, event.values)
            done += 1
            yield Progress(stage, done, total, name)
        return
    pool = worker_pool(workers)
    try:
        names = {pool.submit(_driven, work, job): name for name, job in jobs.items()}
        waiting = set(names)
        while waiting:
            ready, waiting = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
            for ended in ready:
                ended.result()
                done, note = done + 1, names[ended]
            yield Progress(stage, done, total, note)  # also a chance to cancel, each second
    except BrokenProcessPool as error:
        raise DiffInfError(
            "A training process was killed, perhaps for memory; use fewer workers (--workers 1). "
            "Finished trainings are kept."
        ) from error
    finally:
        stop(pool)  # also on cancel: the epochs reached are on disk
