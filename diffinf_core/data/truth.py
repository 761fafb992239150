"""The one door to the truth: which labels were made wrong, and the test split.

Whoever opens it says who reads, out of a closed list, and gets that reader's part of the truth and no
more. Under a seal (:mod:`diffinf_core.runs.seal`) nobody gets anything, however this module was reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.data.ingest import source_table, truth_file
from diffinf_core.data.part import Part, open_part, open_training
from diffinf_core.data.profile import profile_of
from diffinf_core.data.split import TEST
from diffinf_core.records import DiffInfError
from diffinf_core.runs.cells import readable
from diffinf_core.runs.run import Run
from diffinf_core.runs.seal import refuse

#: who may read, and what
READERS: Mapping[str, frozenset[str]] = {
    "classifier metrics": frozenset({"test"}),
    "arms": frozenset({"training", "test"}),
    "comparison": frozenset({"test", "test_columns"}),
    "overview": frozenset({"test"}),
    "ablation": frozenset({"training"}),
    "report": frozenset({"training"}),
    "export": frozenset({"test"}),
    "rounds": frozenset({"table"}),
    "benchmark": frozenset({"training", "test", "test_columns", "table"}),
}


@dataclass(frozen=True)
class Truth:
    """What one reader may know of a run; see :func:`open_truth`."""

    run: Run
    reader: str

    def _open(self, what: str) -> None:
        refuse(f"The truth about {self.run.root}")
        if what not in READERS[self.reader]:
            raise DiffInfError(f"The reader {self.reader!r} may not open {what!r} of the truth.")

    def test(self) -> Part:
        """The test split; its labels are as the source gave them."""
        self._open("test")
        return open_part(self.run, TEST)

    def test_columns(self) -> pd.DataFrame:
        """What else is known of each test picture, a row each, as text.

        Among it are the profile's ``test_columns``, which stay out of ``samples.csv`` because on the
        training split they tell which labels are wrong.
        """
        self._open("test_columns")
        test, source = open_part(self.run, TEST), profile_of(self.run)
        known = test.table.drop(columns=["id", "file", "label"])
        table = source_table(self.run)
        if source.test_columns and table.exists():
            rows = pd.read_csv(table, dtype=str, keep_default_na=False).set_index("file")
            for column in source.test_columns:
                known[column] = rows[column].loc[test.table["file"]].to_numpy()
        return known

    def training(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]] | None:
        """Clean labels (N,) and which assigned labels are wrong (N,), in training order.

        None for a data set whose labels were taken as they came: nobody knows which are wrong.
        """
        self._open("training")
        table = self._table()
        if table is None:
            return None
        train = open_training(self.run)
        table = table.set_index("id").loc[list(train.ids)]
        index = {name: i for i, name in enumerate(train.classes)}
        clean = np.array([index[c] for c in table["clean"]], np.int64)
        return clean, (table["flipped"] == "1").to_numpy()

    def table(self) -> pd.DataFrame | None:
        """id, clean label and flipped ("0" or "1") of every sample as text; None where not known."""
        self._open("table")
        return self._table()

    def _table(self) -> pd.DataFrame | None:
        file = truth_file(self.run)
        return (
            readable(pd.read_csv(file, dtype=str, keep_default_na=False)) if file.exists() else None
        )


def open_truth(run: Run, reader: str) -> Truth:
    """The truth for one of :data:`READERS`; :class:`DiffInfError` for another, and under a seal."""
    refuse(f"The truth about {run.root}")
    if reader not in READERS:
        raise DiffInfError(
            f"{reader!r} is not a reader of the truth; choose one of {', '.join(READERS)}."
        )
    return Truth(run, reader)
