"""The map of a training split: every picture as a point, from the classifier's features."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diffinf_core.engine.tables import Tables
from diffinf_core.influence.embedding import embedding, read_map
from diffinf_core.records import Job, Progress


class FeatureMap:
    """Computes maps and reads them; everything raises before the ranking."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def done(self, method: str = "pca") -> bool:
        """Whether the map by a method is computed."""
        self._tables.samples_key()
        return embedding(method).folder(self._tables.folder).done

    def compute(
        self, method: str = "pca"
    ) -> Job[Progress, tuple[NDArray[np.float32], list[float] | None]]:
        """Compute features and coordinates of every training sample; the result is :meth:`coordinates`."""
        return Job.of(self._compute(method), lambda: self.coordinates(method))

    def _compute(self, method: str) -> Iterator[Progress]:
        self._tables.samples_key()
        with self._tables.folder.lock():
            yield from embedding(method).compute(self._tables.folder)

    def coordinates(self, method: str = "pca") -> tuple[NDArray[np.float32], list[float] | None]:
        """Coordinates (N, 2), and the fraction of variance along each axis for PCA."""
        self._tables.samples_key()
        return read_map(self._tables.folder, method)
