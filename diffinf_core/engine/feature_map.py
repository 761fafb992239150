"""The map of a training split: every picture as a point, by what a network sees in it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diffinf_core.correction.identity_map import IDENTITY_MAPS, has_identity
from diffinf_core.engine.tables import Tables
from diffinf_core.influence.embedding import METHODS, embedding, read_map
from diffinf_core.records import DiffInfError, Job, Progress
from diffinf_core.runs.stages import Stage

#: what a map of identity is called: this and its method
IDENTITY = "identity-"
#: every map by name
MAPS: dict[str, Stage] = {m: embedding(m) for m in METHODS} | {
    f"{IDENTITY}{m}": stage for m, stage in IDENTITY_MAPS.items()
}


class FeatureMap:
    """Computes maps and reads them; everything raises before the ranking.

    A map is "pca" or "umap" of the classifier's features, or with :data:`IDENTITY` before it of the identity
    network's.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def names(self) -> tuple[str, ...]:
        """The maps that this run can have."""
        identity = has_identity(self._tables.folder)
        return tuple(name for name in MAPS if identity or not name.startswith(IDENTITY))

    def done(self, name: str = "pca") -> bool:
        """Whether a map is computed."""
        self._tables.samples_key()
        return _stage(name).done(self._tables.folder)

    def compute(
        self, name: str = "pca"
    ) -> Job[Progress, tuple[NDArray[np.float32], list[float] | None]]:
        """Compute features and coordinates of every training sample; the result is :meth:`coordinates`."""
        return Job.of(self._compute(name), lambda: self.coordinates(name))

    def _compute(self, name: str) -> Iterator[Progress]:
        self._tables.samples_key()
        with self._tables.folder.lock():
            yield from _stage(name).compute(self._tables.folder)

    def coordinates(self, name: str = "pca") -> tuple[NDArray[np.float32], list[float] | None]:
        """Coordinates (N, 2), and the fraction of variance along each axis for PCA."""
        self._tables.samples_key()
        return read_map(self._tables.folder, _stage(name))


def _stage(name: str) -> Stage:
    if name not in MAPS:
        raise DiffInfError(f"Unknown map {name!r}; choose one of {', '.join(MAPS)}.")
    return MAPS[name]
