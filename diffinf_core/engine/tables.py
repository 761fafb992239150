"""What the services of an opened run read from its folder, each once per key."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import Part, open_training
from diffinf_core.engine.cache import Cache
from diffinf_core.engine.pipeline import status
from diffinf_core.influence.stage import INFLUENCE, ranking_key, read_scores, scores_key
from diffinf_core.records import Decision, DiffInfError
from diffinf_core.report.explore import Samples, read_samples
from diffinf_core.report.subgroups import shifts
from diffinf_core.report.summary import summarise
from diffinf_core.review.journal import Journal, LostJournalError
from diffinf_core.review.opening import open_journal
from diffinf_core.review.queue import build_queue, queue_key
from diffinf_core.runs.files import digest
from diffinf_core.runs.run import Run

#: seconds for which the queue counts as current: its key costs more than a decision
_FRESH = 1.0


class Tables:
    """The training split, the scores, the queue, the journal and the report of one run.

    What is returned is shared between callers and must not be changed.
    """

    def __init__(self, folder: Run, cache: Cache) -> None:
        self.folder, self.cache = folder, cache

    @property
    def data_key(self) -> str:
        """Names the data set as this run reads it: a sample id is one picture under it."""
        return DATA.key(self.folder)

    @property
    def training(self) -> Part:
        """The training split; :class:`DiffInfError` before the data stage."""
        return self.cache.get("training", self.data_key, lambda: open_training(self.folder))

    @cached_property
    def assigned(self) -> dict[str, str]:
        """The label of each training sample, which never changes within a run."""
        train = self.training
        return {str(s): train.classes[k] for s, k in zip(train.ids, train.labels, strict=True)}

    def forget(self) -> None:
        """Read anew what does not change within a data set, which is another one from here on."""
        self.__dict__.pop("assigned", None)

    @property
    def journal(self) -> Journal:
        """The journal of decisions, opened once; :class:`DiffInfError` before the data stage."""
        return self.cache.get("journal", self.data_key, lambda: open_journal(self.folder))

    def scores(self) -> pd.DataFrame:
        """Id and every computed score of each training sample, in training order; high is suspicious."""
        return self.cache.get("scores", scores_key(self.folder), lambda: read_scores(self.folder))

    def samples_key(self) -> str:
        """Changes with the ranking; :class:`DiffInfError` where there is none yet."""
        if not INFLUENCE.folder(self.folder).done:
            raise DiffInfError("Not ranked yet: start the run on the Run page.")
        return digest(*ranking_key(self.folder))

    def samples(self) -> Samples:
        """Every training sample with scores and subgroups."""
        return self.cache.get(
            "samples", self.samples_key(), lambda: read_samples(self.folder, self.scores())
        )

    def queue_key(self) -> str:
        """Changes with the repaired set; :class:`DiffInfError` where nothing is repaired yet."""
        if not status(self.folder)["repair"]:
            raise DiffInfError("Nothing to review yet: start the run on the Run page.")
        return queue_key(self.folder)

    def queue(self) -> pd.DataFrame:
        """The pairs to review by sample id, see :func:`diffinf_core.review.queue.build_queue`."""

        def read() -> pd.DataFrame:
            return build_queue(self.folder).set_index("id", drop=False).rename_axis(None)

        return self.cache.recent("queue", self.queue_key, read, _FRESH)

    def edits(self) -> pd.DataFrame | None:
        """The queue with its rows numbered, None where nothing is repaired."""
        if not status(self.folder)["repair"]:
            return None
        return self.queue().reset_index(drop=True)

    def shifts(self) -> pd.DataFrame:
        """Whether edits move a subgroup more than the others, tested; empty without edits."""
        edits = self.edits()
        if edits is None:
            edits = pd.DataFrame(columns=["id", "perceptual", "identity"])

        def test() -> pd.DataFrame:
            samples = self.samples()
            at = pd.Series(np.arange(len(samples)), samples.table["id"])
            return shifts(edits, samples.groups.iloc[at[edits["id"]].to_numpy(np.int64)])

        key = digest(self.samples_key(), " ".join(edits.get("version", ())))
        return self.cache.get("shifts", key, test)

    def decisions(self) -> tuple[dict[str, Decision], str]:
        """The standing decisions; none, and a sentence, where the journal is lost."""
        if not DATA.folder(self.folder).done:
            return {}, ""
        try:
            return self.journal.decisions(), ""
        except LostJournalError as error:
            return {}, str(error)

    def report(self) -> dict[str, Any]:
        """The run in figures, see :func:`diffinf_core.report.summary.summarise`."""
        folder, (decisions, lost) = self.folder, self.decisions()
        if lost:
            folder = Run(folder.root, folder.config)
            folder.without_decisions = True
        out = summarise(folder, self.cache.get, decisions)
        if lost:
            out["review"] = {**out["review"], "lost": lost}
        return out
