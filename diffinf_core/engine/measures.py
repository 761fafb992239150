"""What is measured of the training pictures on request: quality of the originals, outliers, likeness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from diffinf_core.data.quality import QUALITY, high, read_quality
from diffinf_core.engine.tables import Tables
from diffinf_core.influence.embedding import FEATURES
from diffinf_core.influence.neighbours import OUTLIERS, read_outliers, similarity
from diffinf_core.records import DiffInfError, Job, Progress
from diffinf_core.report.explore import Measured

#: pictures that others can be compared with at once
MOST_LIKE = 50


class Measures:
    """Computes measures and reads them; everything raises before the ranking."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def done(self) -> bool:
        """Whether quality and outliers are measured."""
        self._tables.samples_key()
        folder = self._tables.folder
        return QUALITY.folder(folder).done and OUTLIERS.folder(folder).done

    def compute(self) -> Job[Progress, Measured | None]:
        """Measure quality and outliers of every training picture; the result is :meth:`table`."""
        return Job.of(self._compute(), self.table)

    def _compute(self) -> Iterator[Progress]:
        self._tables.samples_key()
        with self._tables.folder.lock():
            yield from QUALITY.compute(self._tables.folder)
            yield from OUTLIERS.compute(self._tables.folder)

    def table(self) -> Measured | None:
        """Measures and issues of every training sample; None where they are not measured."""
        if not self.done():
            return None
        folder = self._tables.folder

        def read() -> Measured:
            measures, issues = read_quality(folder)
            outliers = read_outliers(folder).astype(float)
            measures["outlier"], issues["outlier"] = outliers, high(outliers)
            return Measured(measures, issues)

        return self._tables.cache.get("measures", QUALITY.key(folder) + OUTLIERS.key(folder), read)

    def similarity(self, samples: Sequence[str]) -> NDArray[np.float32]:
        """Cosine similarity (N,) of every training sample to the nearest of some, by the features.

        Raises :class:`DiffInfError` for an unknown sample, for more than :data:`MOST_LIKE`, and where the
        features are not computed.
        """
        self._tables.samples_key()
        stage, train = FEATURES.folder(self._tables.folder), self._tables.training
        if not 0 < len(samples) <= MOST_LIKE:
            raise DiffInfError(f"Choose 1 to {MOST_LIKE} pictures to find others like them.")
        if not stage.done:
            raise DiffInfError(
                "Pictures cannot be compared yet: measure quality and outliers first, or make the map."
            )
        at = [train.position(sample) for sample in samples]
        key = f"{stage.key} {at}"
        return self._tables.cache.get("similarity", key, lambda: similarity(stage, len(train), at))
