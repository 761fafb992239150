"""What the Explore page asks of a run: the map, the table of samples, subgroups, near-duplicates.

Tables are read once per ranking, and the figures of the edits once per repair; a page of 70,000 samples
then costs milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.config import RunConfig
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.duplicates import DUPLICATES, read_duplicates
from diffinf_core.engine.judging import Judging
from diffinf_core.influence.checkpoints import checkpoint_epochs, training_curve
from diffinf_core.influence.embedding import embedding, methods, read_map
from diffinf_core.influence.stage import INFLUENCE, ranking_key
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.report import plots
from diffinf_core.report.explore import Samples, View, disagreement, positions, read_samples, states
from diffinf_core.report.subgroups import group_table, shifts, warnings
from diffinf_core.report.summary import influence_figures
from diffinf_core.runs.files import digest

T = TypeVar("T")


class Exploring(Judging):
    """Looks at the whole training split at once."""

    def __init__(self, root: Path, config: RunConfig | None = None) -> None:
        super().__init__(root, config)
        self._kept: dict[str, tuple[str, Any]] = {}

    def _once(self, name: str, key: str, make: Callable[[], T]) -> T:
        """What ``make`` gives, made once per key."""
        if self._kept.get(name, ("", None))[0] != key:
            self._kept[name] = (key, make())
        return self._kept[name][1]

    def samples_key(self) -> str:
        """Changes with the ranking; :class:`DiffInfError` where there is none yet."""
        if not INFLUENCE.folder(self.run).done:
            raise DiffInfError("Not ranked yet: start the run on the Run page.")
        return digest(*ranking_key(self.run))

    def samples(self) -> Samples:
        """Every training sample with scores and subgroups."""
        return self._once("samples", self.samples_key(), lambda: read_samples(self.run))

    def states(self) -> NDArray[np.uint8]:
        """The state (N,) of each training sample, an index into ``STATES``.

        What waits for a second opinion counts as undecided: whoever gives it may look here.
        """
        return states(self.samples(), self.settled())

    def view(self, view: View) -> NDArray[np.int64]:
        """Positions of the samples of a view, in its order."""
        return positions(self.samples(), self.settled(), view)

    # ------------------------------------------------------------ map

    @staticmethod
    def map_methods() -> tuple[str, ...]:
        """How a map can be made here."""
        return methods()

    def has_map(self, method: str = "pca") -> bool:
        """Whether there is a map by a method."""
        self.samples_key()
        return embedding(method).folder(self.run).done

    def make_map(self, method: str = "pca") -> Iterator[Progress]:
        """Features and coordinates of every training sample."""
        self.samples_key()
        with self.run.lock():
            yield from embedding(method).compute(self.run)

    def map(self, method: str = "pca") -> tuple[NDArray[np.float32], list[float] | None]:
        """Coordinates (N, 2), and the share of variance along each axis for PCA."""
        self.samples_key()
        return read_map(self.run, method)

    # ------------------------------------------------------------ subgroups

    def _edits(self) -> tuple[str, pd.DataFrame | None]:
        """The review queue, None where nothing is repaired; with the key it was made from."""
        stage = REPAIR.folder(self.run) if self.status()["repair"] else None
        if stage is None:
            return "none", None
        return stage.key, self._once("edits", stage.key, self.queue)

    def subgroups(self) -> dict[str, pd.DataFrame]:
        """A table per class and per column of subgroups, by the name of the column."""
        samples, edits, standing = self.samples(), self._edits()[1], self.settled()
        return {
            str(name): group_table(cells, samples.table, edits, standing)
            for name, cells in samples.groups.items()
        }

    def subgroup_shifts(self) -> pd.DataFrame:
        """Whether edits change a subgroup more than the others, tested; empty without edits."""
        key, edits = self._edits()
        if edits is None:
            edits = pd.DataFrame(columns=["id", "perceptual", "identity"])

        def test() -> pd.DataFrame:
            samples = self.samples()
            at = pd.Series(np.arange(len(samples)), samples.table["id"])
            return shifts(edits, samples.groups.iloc[at[edits["id"]].to_numpy(np.int64)])

        return self._once("shifts", key, test)

    def subgroup_warnings(self) -> list[str]:
        """A sentence for each subgroup that edits change more than the others."""
        return warnings(self.subgroup_shifts())

    # ------------------------------------------------------------ near-duplicates

    def has_duplicates(self) -> bool:
        """Whether somebody has looked for near-duplicates."""
        return self.status()["data"] and DUPLICATES.folder(self.run).done

    def find_duplicates(self) -> Iterator[Progress]:
        """Look for training pictures that are nearly the same."""
        with self.run.lock():
            yield from DUPLICATES.compute(self.run)

    def duplicates(self, differing: bool = False) -> pd.DataFrame:
        """Pairs of positions first and second, with correlation, those of different labels first.

        ``differing`` keeps only those. Column differ says whether the labels do.
        """
        key = DUPLICATES.key(self.run)

        def read() -> pd.DataFrame:
            train = self.training
            at = pd.Series(np.arange(len(train)), train.ids)
            found = read_duplicates(self.run)
            found["first"] = at[found["first"]].to_numpy(np.int64)
            found["second"] = at[found["second"]].to_numpy(np.int64)
            found["differ"] = train.labels[found["first"]] != train.labels[found["second"]]
            return found.sort_values("differ", ascending=False, kind="stable", ignore_index=True)

        pairs = self._once("duplicates", key, read)
        return pairs[pairs["differ"]] if differing else pairs

    # ------------------------------------------------------------ scores

    def disagreement(self, first: str, second: str) -> pd.DataFrame:
        """Samples in the top tau % by one score and not by the other, the widest apart first."""
        return disagreement(self.samples(), first, second, self.config.influence.tau)

    def ranking_figures(self) -> dict[str, Any]:
        """What the ranking was made from, and what each score finds where truth is known."""
        found = self._once("influence", self.samples_key(), lambda: influence_figures(self.run))
        assert found is not None  # samples_key has seen to it
        return found

    def ranking_plots(self) -> dict[str, Any]:
        """Plotly figures of the ranking: curve, estimators and, where truth is known, signals."""

        def draw() -> dict[str, Any]:
            curve, chosen = training_curve(self.run), checkpoint_epochs(self.run)
            out = {
                "curve": plots.training_curve(curve, chosen),
                "estimators": plots.estimators_agree(self.agreement()[1]),
            }
            found = self.ranking_figures()["by_signal"]
            return out | ({"signals": plots.signals(found)} if found else {})

        return self._once("plots", self.samples_key(), draw)
