"""The whole training split at once: filtered views, states of decision, subgroups.

Tables are read once per ranking, so a page of 70,000 samples costs milliseconds.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.engine.duplicates import Duplicates
from diffinf_core.engine.feature_map import FeatureMap
from diffinf_core.engine.review import Review
from diffinf_core.engine.scores import Scores
from diffinf_core.engine.tables import Tables
from diffinf_core.report.explore import Samples, View, positions, states
from diffinf_core.report.subgroups import group_table, warnings


class Explore:
    """Looks at every training sample; ``map``, ``duplicates`` and ``scores`` each serve one part of it."""

    def __init__(self, tables: Tables, review: Review) -> None:
        self._tables, self._review = tables, review
        self.map = FeatureMap(tables)
        self.duplicates = Duplicates(tables)
        self.scores = Scores(tables)

    def samples_key(self) -> str:
        """Changes with the ranking; :class:`DiffInfError` where there is none yet."""
        return self._tables.samples_key()

    def samples(self) -> Samples:
        """Every training sample with scores and subgroups."""
        return self._tables.samples()

    def states(self) -> NDArray[np.uint8]:
        """The state (N,) of each training sample, an index into ``STATES``.

        What waits for a second opinion counts as undecided: whoever gives it may look here.
        """
        return states(self.samples(), self._review.settled())

    def view(self, view: View) -> NDArray[np.int64]:
        """Positions of the samples of a view, in its order."""
        return positions(self.samples(), self._review.settled(), view)

    def subgroups(self) -> dict[str, pd.DataFrame]:
        """A table per class and per column of subgroups, by the name of the column."""
        samples, edits, standing = self.samples(), self._tables.edits(), self._review.settled()
        return {
            str(name): group_table(cells, samples.table, edits, standing)
            for name, cells in samples.groups.items()
        }

    def subgroup_shifts(self) -> pd.DataFrame:
        """Whether edits change a subgroup more than the others, tested; empty without edits."""
        return self._tables.shifts()

    def subgroup_warnings(self) -> list[str]:
        """A sentence for each metric by which edits change subgroups more than the others."""
        return warnings(self.subgroup_shifts())
