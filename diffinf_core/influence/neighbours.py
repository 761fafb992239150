"""Nearest neighbours among the features of the training split: pictures like others, and like no others.

Exact, and over slices: neither all features nor all distances are ever in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from diffinf_core.data.part import open_training
from diffinf_core.influence.embedding import FEATURES, SLICE
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_array, write_array
from diffinf_core.runs.run import Run, StageFolder
from diffinf_core.runs.slices import map_slices, read_slices
from diffinf_core.runs.stages import Stage, Work

#: neighbours whose mean distance says how far out a picture lies, as in cleanlab's OutOfDistribution
NEIGHBOURS = 10
Vectors = NDArray[np.float32]


def unit_slices(stage: StageFolder, n: int) -> Iterator[tuple[int, Vectors]]:
    """(first position, unit vectors (k, D)) of each slice of a stage of features."""
    for start in range(0, n, SLICE):
        yield start, _unit(read_array(stage / f"slice-{start:08d}.npy").astype(np.float32))


def _unit(vectors: Vectors) -> Vectors:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)


def vectors_at(stage: StageFolder, positions: Sequence[int]) -> Vectors:
    """Unit vectors (k, D) of some samples; reads only their slices."""
    out = []
    for position in positions:
        start = position - position % SLICE
        rows = read_array(stage / f"slice-{start:08d}.npy")
        out.append(rows[position - start].astype(np.float32))
    return _unit(np.stack(out))


def similarity(stage: StageFolder, n: int, positions: Sequence[int]) -> NDArray[np.float32]:
    """Cosine similarity (N,) of every sample to the nearest of those at ``positions``."""
    asked = vectors_at(stage, positions)
    return np.concatenate([(rows @ asked.T).max(1) for _, rows in unit_slices(stage, n)])


def mean_distances(stage: StageFolder, n: int, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean cosine distance (k,) of samples to their :data:`NEIGHBOURS` nearest others, of N."""
    asked = vectors_at(stage, positions.tolist())
    most = min(NEIGHBOURS, n - 1)
    nearest = np.full((len(asked), most), -np.inf, np.float32)
    for start, rows in unit_slices(stage, n):
        cosines = asked @ rows.T
        inside = (positions >= start) & (positions < start + len(rows))
        cosines[inside, positions[inside] - start] = -np.inf  # no neighbour of itself
        both = np.concatenate([nearest, cosines], 1)
        nearest = np.partition(both, both.shape[1] - most, 1)[:, both.shape[1] - most :]
    return 1 - nearest.mean(1)


def run_outliers(run: Run) -> Work:
    """Measure how far out every sample lies; ``outliers.npy`` float32 (N,) in training order."""
    n = len(open_training(run))
    yield from FEATURES.compute(run, quiet=True)
    stage, features = OUTLIERS.folder(run), FEATURES.folder(run)
    if n < 2:
        raise DiffInfError("One picture has no neighbours; outliers need two at least.")

    def rows(positions: NDArray[np.int64]) -> NDArray[np.float64]:
        return mean_distances(features, n, positions)  # type: ignore[return-value]

    yield from map_slices(stage, n, SLICE, rows, "outliers", lambda: "neighbours")
    write_array(stage / "outliers.npy", read_slices(stage, n, SLICE).astype(np.float32))
    for file in stage.path.glob("slice-*.npy"):
        file.unlink()
    return {"n": n, "neighbours": min(NEIGHBOURS, n - 1)}


#: the mean distance of each sample to its nearest neighbours, by the classifier's features
OUTLIERS = Stage(
    "outliers",
    run_outliers,
    "find training pictures that are like no others",
    inputs=(FEATURES,),
    settings=lambda run: [NEIGHBOURS],
)


def read_outliers(run: Run) -> NDArray[np.float32]:
    """Mean cosine distance (N,) to the nearest neighbours; :class:`DiffInfError` where not measured."""
    stage = OUTLIERS.folder(run)
    if not stage.done:
        raise DiffInfError("Outliers among these pictures are not measured.")
    return read_array(stage / "outliers.npy")
