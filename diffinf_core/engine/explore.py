"""The whole training split at once: filtered views, states of decision, subgroups.

Tables are read once per ranking, so a page of 70,000 samples costs milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.engine.duplicates import Duplicates
from diffinf_core.engine.feature_map import FeatureMap
from diffinf_core.engine.measures import Measures
from diffinf_core.engine.review import Review
from diffinf_core.engine.scores import Scores
from diffinf_core.engine.tables import Tables
from diffinf_core.engine.tags import Tags
from diffinf_core.records import DiffInfError, Subset
from diffinf_core.report.explore import Samples, View, positions, states
from diffinf_core.report.subgroups import group_table, warnings
from diffinf_core.review.unseen import Unseen, decide_unseen


class Explore:
    """Looks at every training sample; ``map``, ``duplicates``, ``scores`` and ``measures`` each
    serve one part of it.
    """

    def __init__(self, tables: Tables, review: Review, tags: Tags) -> None:
        self._tables, self._review, self._tags = tables, review, tags
        self.map = FeatureMap(tables)
        self.duplicates = Duplicates(tables)
        self.scores = Scores(tables)
        self.measures = Measures(tables)

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
        tagged = self._tags.standing().samples if view.tag is not None else None
        measured = self.measures.table() if self.measures.done() else None
        alike = self.measures.similarity(view.near) if view.near else None
        return positions(self.samples(), self._review.settled(), view, tagged, measured, alike)

    def subset(self, tag: str | None = None, view: str | None = None) -> Subset | None:
        """The samples that have a tag, or that a saved view shows now; None where neither is named.

        Raises :class:`DiffInfError` for a name that is not there, and where nothing has it.
        """
        if tag and view:
            raise DiffInfError("Give a tag or a view, not both.")
        if not tag and not view:
            return None
        if tag:
            chosen, name = View(tag=tag), f"tag {tag!r}"
        else:
            saved, name = self._tags.views(), f"view {view!r}"
            if view not in saved:
                known = f"there are {', '.join(saved)}" if saved else "none is saved"
                raise DiffInfError(f"There is no view {view!r}; {known}.")
            chosen = View.of(saved[view].definition.get("view", {}))
        ids = self.samples().table["id"].iloc[self.view(chosen)]
        if ids.empty:
            raise DiffInfError(f"The {name} has no samples.")
        return Subset(name, tuple(sorted(ids)))

    def unseen(
        self,
        samples: Iterable[str],
        action: str,
        new_label: str | None = None,
        comment: str = "",
        reviewer: str | None = None,
    ) -> Unseen:
        """What deciding samples without looking would do and how often it errs; nothing is written.

        For a ``reviewer``, decisions that they are not to know count as none.
        """
        review, tables = self._review, self._tables
        return decide_unseen(
            samples,
            action,
            tables.queue(),
            tables.assigned,
            review.decisions() if reviewer is None else review.decisions_for(reviewer),
            classes=tables.training.classes,
            new_label=new_label,
            comment=comment,
            differing=review.disagreements(),
        )

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
