"""A map over sample positions in slices: each slice has its own file and knows nothing of the others.

A kill loses the slice under way and no more; slices can be computed anywhere and in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.executor import Computing, Done, ParallelMap, Task, compute
from diffinf_core.runs.files import read_array, read_json, write_array, write_json
from diffinf_core.runs.run import StageFolder

#: most samples per slice on a CPU
SLICE = 64
#: pixels times checkpoints per slice: half a minute of ResNet-18 on one core
_SLICE_WORK = 64 * 128 * 128 * 10


def slice_size(pixels: int, checkpoints: int) -> int:
    """Samples per slice, by counted work, so that a kill costs less than a minute on one core."""
    return int(min(SLICE, max(1, _SLICE_WORK // max(1, pixels * checkpoints))))


@dataclass(frozen=True)
class Slicing:
    """How a stage is cut up: samples per slice and per pass."""

    slice_size: int
    batch_size: int


def stored_slicing(stage: StageFolder, size: int, choose: Callable[[], int]) -> Slicing:
    """The slicing that a stage began with, so that a resumed one makes the same slices and passes."""
    file = stage / "plan.json"
    if not file.exists():
        batch = max(1, int(choose()))
        write_json(file, {"slice_size": max(size, batch), "batch_size": batch})
    return Slicing(**read_json(file))


@contextmanager
def naming_memory() -> Iterator[None]:
    """:class:`DiffInfError` in place of a lack of memory, on whichever machine a pass is computed."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise DiffInfError(
            "Scoring does not fit into memory; set a smaller influence.batch_size "
            "(finished slices are kept)."
        ) from error


@dataclass(frozen=True)
class Elsewhere:
    """How workers of other machines compute a slice, see :class:`ParallelMap`.

    ``pack`` makes a parcel of positions (k,). ``rows`` takes the rows (k, ...) out of a result, wherever that
    was computed.
    """

    task: Callable[[], Task]
    pack: Callable[[NDArray[np.int64]], Any]
    rows: Callable[[Any], NDArray[Any]] = np.asarray


def map_slices(
    stage: StageFolder,
    n: int,
    size: int,
    score: Callable[[NDArray[np.int64]], Any],
    name: str,
    note: Callable[[], str],
    elsewhere: Elsewhere | None = None,
) -> Iterator[Progress]:
    """Compute the slices that are missing; ``score`` maps positions (k,) to rows (k, ...).

    ``name`` is the stage that the events carry. Without ``elsewhere`` this process computes every slice,
    whatever executor is chosen.

    Raises :class:`DiffInfError` where a pass does not fit into memory.
    """
    starts = range(0, n, size)
    missing = [s for s in starts if not (stage / f"slice-{s:08d}.npy").exists()]
    done = n - sum(min(s + size, n) - s for s in missing)
    # What is there already is one event, so that it does not pass for speed.
    yield Progress(name, done, n, note())
    load = ""
    slices = (np.arange(s, min(s + size, n)) for s in missing)
    for event in _computed(slices, score, elsewhere) if missing else ():
        if isinstance(event, Done):
            rows = event.result if elsewhere is None else elsewhere.rows(event.result)
            write_array(stage / f"slice-{event.item[0]:08d}.npy", rows)
            done += len(event.item)
        else:
            load = f"; {event}"
        yield Progress(name, done, n, note() + load)


def _computed(
    slices: Iterator[NDArray[np.int64]],
    score: Callable[[NDArray[np.int64]], Any],
    elsewhere: Elsewhere | None,
) -> Iterator[Any]:
    def here(rows: NDArray[np.int64]) -> Computing:
        with naming_memory():
            return score(rows)
        yield  # a generator, as every computation is

    if elsewhere is None:
        for rows in slices:
            yield Done(rows, (yield from here(rows)))
        return
    yield from compute(
        ParallelMap(
            here,
            elsewhere.task,
            elsewhere.pack,
            name=lambda rows: f"samples {rows[0]} to {rows[-1]} of the training split",
            size=len,
        ),
        slices,
    )


def read_slices(stage: StageFolder, n: int, size: int) -> NDArray[np.float64]:
    """All slices together, in training order."""
    return np.concatenate([read_array(stage / f"slice-{s:08d}.npy") for s in range(0, n, size)])
