"""Worker threads, and worker processes that never outlive their parent; both inherit its seal."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

from diffinf_core.runs.seal import present_seal, seal_for_good

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
