"""A map over sample positions in slices: each slice has its own file and knows nothing of the others.

A kill loses the slice under way and no more; slices can be computed anywhere and in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import read_array, read_json, write_array, write_json
from diffinf_core.runs.run import StageFolder

#: most samples per slice on a CPU
SLICE = 64
#: pixels times checkpoints per slice: half a minute of ResNet-18 on one core
_SLICE_WORK = 64 * 128 * 128 * 10
Score = Callable[[NDArray[np.int64]], NDArray[np.float64]]


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


def map_slices(
    stage: StageFolder, n: int, size: int, score: Score, name: str, note: Callable[[], str]
) -> Iterator[Progress]:
    """Compute the slices that are missing; ``score`` maps positions (k,) to rows (k, ...).

    ``name`` is the stage that the events carry.

    Raises :class:`DiffInfError` where a pass does not fit into memory.
    """
    starts = range(0, n, size)
    missing = [s for s in starts if not (stage / f"slice-{s:08d}.npy").exists()]
    done = n - sum(min(s + size, n) - s for s in missing)
    # What is there already is one event, so that it does not pass for speed.
    yield Progress(name, done, n, note())
    for start in missing:
        rows = np.arange(start, min(start + size, n))
        try:
            found = score(rows)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise DiffInfError(
                "Scoring does not fit into memory; set a smaller influence.batch_size "
                "(finished slices are kept)."
            ) from error
        write_array(stage / f"slice-{start:08d}.npy", found)
        done += len(rows)
        yield Progress(name, done, n, note())


def read_slices(stage: StageFolder, n: int, size: int) -> NDArray[np.float64]:
    """All slices together, in training order."""
    return np.concatenate([read_array(stage / f"slice-{s:08d}.npy") for s in range(0, n, size)])
