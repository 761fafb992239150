"""Some rows of a training set, as a training set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diffinf_core.classifier.training import TrainingSet


class Subset:
    """The ``rows`` (n,) of a training set; ``labels`` (n,) may replace theirs."""

    def __init__(
        self,
        data: TrainingSet,
        rows: NDArray[np.int64],
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        self._data, self._rows = data, np.asarray(rows, np.int64)
        self.labels = np.asarray(data.labels)[self._rows] if labels is None else labels

    def __len__(self) -> int:
        return len(self._rows)

    def tensors(self, positions: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """Inputs at positions among the rows."""
        return self._data.tensors(self._rows[np.asarray(positions, np.int64)])
