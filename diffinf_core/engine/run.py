"""One opened run: computing it, its tables, and a service for each thing that is done with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from diffinf_core.config import RunConfig
from diffinf_core.data.ingest import preflight
from diffinf_core.data.part import Part
from diffinf_core.engine import pipeline
from diffinf_core.engine.ablation import Ablation
from diffinf_core.engine.assignment import Assignment
from diffinf_core.engine.benchmark import Benchmarks
from diffinf_core.engine.cache import Cache
from diffinf_core.engine.compare import Compare
from diffinf_core.engine.describe import describe
from diffinf_core.engine.explore import Explore
from diffinf_core.engine.pictures import Pictures
from diffinf_core.engine.predictions import Predictions
from diffinf_core.engine.refined import Refined
from diffinf_core.engine.repair import Repair
from diffinf_core.engine.review import Review
from diffinf_core.engine.reviewers import Reviewers
from diffinf_core.engine.rounds import run_rounds
from diffinf_core.engine.scores import ranked_by
from diffinf_core.engine.source import Source
from diffinf_core.engine.tables import Tables
from diffinf_core.engine.tags import Tags
from diffinf_core.engine.unrecorded import refuse_unrecorded_damage
from diffinf_core.experiments.retrain import RETRAIN
from diffinf_core.export.dataset import Export, read_export
from diffinf_core.export.folder import export_folder
from diffinf_core.influence.planted import PLANTED
from diffinf_core.influence.stage import ranking, request, requested
from diffinf_core.records import DiffInfError, Job, Progress
from diffinf_core.runs.files import write_json
from diffinf_core.runs.inventory import refuse_damaged
from diffinf_core.runs.run import Run

#: is called with every progress event
Callback = Callable[[Progress], object] | None


class OpenRun:
    """A run folder, and by attribute what can be done with it.

    ``review`` writes decisions, ``reviewers`` says who made them, ``refined`` what an export would hold;
    ``assignment`` hands pairs to reviewers, ``pictures`` reads pictures and edits, ``predictions`` judges
    originals, ``repair`` edits one picture again, ``explore`` looks at the whole training split, ``tags``
    keeps tags and saved views, ``compare`` looks at the retrained arms, ``ablation`` takes the repair apart,
    ``benchmark`` trains rivals, ``source`` follows changes of the data set. What is slow returns a job:
    iterate over its events, or ask for its result. Make one with :func:`open_run`.
    """

    def __init__(self, folder: Run) -> None:
        self.folder = folder
        self._tables = tables = Tables(folder, Cache())
        self.pictures = Pictures(tables)
        self.predictions = Predictions(tables)
        self.review = Review(tables)
        self.reviewers = Reviewers(tables)
        self.assignment = Assignment(tables)
        self.repair = Repair(tables)
        self.tags = Tags(tables)
        self.explore = Explore(tables, self.review, self.tags)
        self.refined = Refined(folder, self.review, self.explore)
        self.compare = Compare(tables)
        self.ablation = Ablation(folder)
        self.benchmark = Benchmarks(folder)
        self.source = Source(tables)

    @property
    def config(self) -> RunConfig:
        """The run's configuration."""
        return self.folder.config

    #: sentences about the data set of a run that is not computed yet
    remarks: tuple[str, ...] = ()

    # ------------------------------------------------------------ computing

    def status(self) -> dict[str, bool]:
        """Which stages are complete for the present configuration, by name and in order."""
        return pipeline.status(self.folder)

    def steps(self) -> dict[str, bool]:
        """:meth:`status`, with the training of a generator where the run does that by itself."""
        return pipeline.steps(self.folder)

    def outdated(self) -> str | None:
        """One sentence where another version of DiffInf computed the run; None where none did."""
        return pipeline.outdated(self.folder)

    def compute(
        self, until: str = "repair", callback: Callback = None
    ) -> Job[Progress, dict[str, bool]]:
        """Run every stage up to ``until`` that is not complete; the result is :meth:`status`."""
        return Job.of(pipeline.compute(self.folder, until), self.status, callback)

    def score(
        self, by: str | None = None, callback: Callback = None
    ) -> Job[Progress, pd.DataFrame]:
        """Compute what a ranking by ``by`` needs beyond every run's scores; the result is that ranking."""
        return Job.of(self._score(by), lambda: self.ranking(by), callback)

    def plant(self, callback: Callback = None) -> Job[Progress, dict[str, Any]]:
        """Train once more with planted errors; the result is ``explore.scores.precision()``."""
        return Job.of(self._plant(), self.explore.scores.precision, callback)

    def _plant(self) -> Iterator[Progress]:
        if not self.status()["influence"]:
            yield from self.compute("influence")
        if not PLANTED.done(self.folder):
            with self.folder.lock():
                yield from PLANTED.compute(self.folder)

    def _score(self, by: str | None) -> Iterator[Progress]:
        folder = Run(self.folder.root, ranked_by(self.config, by))
        # To look at what is there must work while another process computes.
        if not self.status()["influence"]:
            yield from self.compute("influence")
        wanted = requested(folder.config.influence)
        missing = [name for name in wanted if not request(name).folder(folder).done]
        if missing:
            with self.folder.lock():
                for name in missing:
                    yield from request(name).compute(folder)

    def retrain(
        self, workers: int | None = None, callback: Callback = None
    ) -> Job[Progress, dict[str, Any]]:
        """Retrain and evaluate the arms that are missing; the result is the arms' part of :meth:`report`."""
        return Job.of(self._retrain(workers), lambda: self.report()["arms"], callback)

    def _retrain(self, workers: int | None) -> Iterator[Progress]:
        if not self.status()["influence"]:
            raise DiffInfError(f"{self.folder.root} is not ranked yet; run it first.")
        with self.folder.lock():
            yield from RETRAIN.compute(self.folder, workers=workers)
            write_json(self.folder.root / "report.json", self.report())

    def rounds(self, most: int, callback: Callback = None) -> Job[Progress, list[dict[str, Any]]]:
        """Repair, rank again on the refined set, and so on: at most ``most`` rounds in all.

        Each is a run of its own under ``rounds/``; it ends early where nothing is left to take over, or
        where half of the high-influence set was in the one before. Decisions of reviewers are followed;
        undecided edits are taken over where they have no flag. The result is :meth:`Compare.rounds`.
        """
        return Job.of(run_rounds(self.folder, most), self.compare.rounds, callback)

    # ------------------------------------------------------------ reading

    @property
    def training(self) -> Part:
        """The training split; :class:`DiffInfError` before the data stage."""
        return self._tables.training

    @property
    def queue(self) -> pd.DataFrame:
        """The pairs to review by sample id, most suspicious first; shared, so do not change it.

        Columns: see :func:`diffinf_core.review.queue.build_queue`.
        """
        return self._tables.queue()

    def queue_key(self) -> str:
        """Changes with the repaired set; :class:`DiffInfError` where nothing is repaired yet."""
        return self._tables.queue_key()

    def ranking(self, by: str | None = None) -> pd.DataFrame:
        """Columns id, score, rank, percentile, high of every training sample, in training order.

        ``by`` is another estimator than the run's, or several joined by "+" for their mean rank.
        """
        influence = ranked_by(self.config, by).influence
        return ranking(self.folder, influence, self._tables.scores())

    def report(self) -> dict[str, Any]:
        """The run in figures, None where a thing was not run; JSON-able."""
        return self._tables.report() | {"subgroups": self.compare.audit().as_dict()}

    def dataset(self, each: int = 6) -> dict[str, Any] | None:
        """The data set in figures; None before the data stage.

        ``name``, ``size`` (side in pixels), ``classes`` (name, and pictures of train, val and test),
        ``noise`` (fraction of training labels made wrong, None where that is not known), ``unlabelled``,
        ``round``, and ``sheet``: for each class up to ``each`` training samples, spread over the split.
        """
        return describe(self.folder, self.training, each) if self.status()["data"] else None

    # ------------------------------------------------------------ the refined data set

    def export(
        self,
        target: str | Path,
        undecided: str = "original",
        callback: Callback = None,
        tag: str | None = None,
        view: str | None = None,
        **options: Any,
    ) -> Job[Progress, Export]:
        """Write the refined data set to a new folder; the result is the export, read back.

        ``undecided`` is what becomes of samples that nobody decided on, see
        :func:`diffinf_core.review.refine.refine`. ``options``: ``format`` is one of :data:`FORMATS`,
        ``splits`` train or all, ``edits`` full (the change on the original at its size, lossless),
        like-original (encoded as the original was) or working (the edit at the run's size), ``audit``
        whether the shortcut audit is made first, ``comments`` whether reviewers' comments are written.
        ``tag`` or ``view`` names the only samples to write, see :meth:`Explore.subset`.
        """
        options["subset"] = self.explore.subset(tag, view)
        events = export_folder(self.folder, target, undecided, **options)
        return Job.of(events, lambda: read_export(target), callback)


def open_run(
    root: str | Path, config: RunConfig | None = None, without_decisions: bool = False
) -> OpenRun:
    """Open the run in a folder, with a configuration also a new run or the run under other settings.

    Nothing is written: settings are stored when the run computes, or by ``run.folder.save()``. With
    ``without_decisions`` it is a run that nobody has reviewed, whatever its journal says, as where that is
    lost. Raises :class:`DiffInfError` where there is no run, or one of another data set, and where a file of
    a complete stage is missing or cut.
    """
    root = Path(root)
    remarks = preflight(config) if config is not None and not Run.begun(root) else ()
    folder = Run.open(root) if config is None else Run.prepare(root, config)
    refuse_damaged(root)
    refuse_unrecorded_damage(root)
    folder.without_decisions = without_decisions
    opened = OpenRun(folder)
    opened.remarks = remarks
    return opened
