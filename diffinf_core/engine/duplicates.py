"""Near-duplicates in the training split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from diffinf_core.data.duplicates import DUPLICATES, read_duplicates
from diffinf_core.engine.pipeline import status
from diffinf_core.engine.tables import Tables
from diffinf_core.records import Job, Progress


class Duplicates:
    """Computes pairs of nearly equal training pictures and reads them."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def done(self) -> bool:
        """Whether near-duplicates are computed."""
        folder = self._tables.folder
        return status(folder)["data"] and DUPLICATES.folder(folder).done

    def compute(self) -> Job[Progress, pd.DataFrame]:
        """Compare every training picture with every other one; the result is :meth:`pairs`."""
        return Job.of(self._compute(), self.pairs)

    def _compute(self) -> Iterator[Progress]:
        with self._tables.folder.lock():
            yield from DUPLICATES.compute(self._tables.folder)

    def pairs(self, differing: bool = False) -> pd.DataFrame:
        """Pairs of positions first and second, with correlation, those of different labels first.

        ``differing`` keeps only those. Column differ says whether the labels do.
        """
        folder = self._tables.folder

        def read() -> pd.DataFrame:
            train = self._tables.training
            at = pd.Series(np.arange(len(train)), train.ids)
            pairs = read_duplicates(folder)
            pairs["first"] = at[pairs["first"]].to_numpy(np.int64)
            pairs["second"] = at[pairs["second"]].to_numpy(np.int64)
            pairs["differ"] = train.labels[pairs["first"]] != train.labels[pairs["second"]]
            return pairs.sort_values("differ", ascending=False, kind="stable", ignore_index=True)

        pairs = self._tables.cache.get("duplicates", DUPLICATES.key(folder), read)
        return pairs[pairs["differ"]] if differing else pairs
