"""Editing batches by the chosen executor: what a worker of another machine is sent, and what comes back.

Only the process of the run stores edits; it also keeps the workers' inversions, so that a re-edit starts from
the same codes wherever a picture was edited.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffinf_core.classifier.stage import CLASSIFIER
from diffinf_core.config import ON_REQUEST, RepairConfig
from diffinf_core.correction.cache import MemoryCache
from diffinf_core.correction.edits import NewEdit
from diffinf_core.correction.judge import JUDGE
from diffinf_core.correction.repairer import Repairer, generator_file, outside_files
from diffinf_core.data.ingest import DATA
from diffinf_core.data.overlay import SentPictures
from diffinf_core.diffusion.first_stage import BESIDE
from diffinf_core.influence.predictor import PREDICTOR
from diffinf_core.influence.stage import INFLUENCE, request
from diffinf_core.records import DiffInfError, Edit
from diffinf_core.runs.executor import (
    Call,
    Computing,
    Done,
    ParallelMap,
    Workers,
    executor,
)
from diffinf_core.runs.mirror import Mirror, added_weights_at, below, mirror
from diffinf_core.runs.stages import Stage
from diffinf_core.weights.files import added_weights, assets_folder

_GENERATOR, _WEIGHTS = "generator", "weights"
#: the files of each stage that an edit reads; pictures are sent apart
_READS: Mapping[Stage, Sequence[str]] = {
    DATA: ("samples.csv", "classes.json"),
    CLASSIFIER: ("history.json", "epoch-*.pt"),
    INFLUENCE: ("scores.csv",),
    PREDICTOR: ("fold-*.pt",),
    JUDGE: ("fold-*.pt", "ages.json"),
}


@dataclass(frozen=True)
class Batch:
    """Training positions (B,) that are edited together."""

    positions: NDArray[np.int64]
    config: RepairConfig


@dataclass(frozen=True)
class Parcel:
    """A batch with the pictures (B', S, S, 3) that it reads, at ``rows`` (B',) of the run's, and with
    what the run's cache of inversions holds of them."""

    batch: Batch
    rows: NDArray[np.int64]
    pictures: NDArray[np.uint8]
    cached: Mapping[str, bytes]


@dataclass(frozen=True)
class RepairTask:
    """Editing on workers of other machines. ``key`` is what every edit depends on, see :attr:`Repairer.key`,
    ``generator`` the generator's path in the mirrored run; None for a shipped one."""

    mirror: Mirror
    side: int
    key: str
    generator: str | None

    @contextmanager
    def open(self) -> Iterator[Call]:
        """The networks, on the worker's device."""
        with self.mirror.open() as run, added_weights_at(run.root / _WEIGHTS):
            run.pictures, cache = SentPictures(self.side), MemoryCache()
            if self.generator is not None:
                repair = run.config.repair.model_copy(
                    update={"generator": run.root / self.generator}
                )
                run.config = run.config.model_copy(update={"repair": repair})
            repairer = Repairer(run, cache)
            if repairer.key != self.key:
                raise DiffInfError(
                    "A worker's shipped weights are not those of the run's machine; install the same version "
                    "of diffinf-core on every node."
                )

            def call(parcel: Parcel) -> tuple[list[NewEdit], dict[str, bytes]]:
                run.pictures.hold(parcel.rows, parcel.pictures)
                cache.stored = dict(parcel.cached)
                edits = _result(repairer.edit(parcel.batch.positions, parcel.batch.config))
                return edits, {k: v for k, v in cache.stored.items() if k not in parcel.cached}

            yield call


def _result(work: Computing) -> Any:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def repair_task(repairer: Repairer) -> RepairTask:
    """The task of a run whose repairer is prepared."""
    run = repairer.run
    extra = below(run.root, [*run.root.glob("stages/people-*"), *run.root.glob("stages/probe-*")])
    generator, sent = generator_file(run), None
    if not generator.is_relative_to(assets_folder()):
        sent = f"{_GENERATOR}/{generator.name}"
        beside = generator.parent / BESIDE
        extra |= {f"{_GENERATOR}/{f.name}": f for f in _with_cards([generator, beside])}
    home = added_weights()
    own = [f for f in (*outside_files(run), *JUDGE.files(run)) if f.is_relative_to(home)]
    extra |= {f"{_WEIGHTS}/{f.relative_to(home).as_posix()}": f for f in _with_cards(own)}
    scores = {stage: ("score.npy",) for stage in map(request, ON_REQUEST) if stage.done(run)}
    sent_mirror = mirror(run, {**_READS, **scores}, extra)
    return RepairTask(sent_mirror, repairer.train.size, repairer.key, sent)


def _with_cards(files: Iterable[Path]) -> list[Path]:
    return [f for file in files for f in (file, file.with_suffix(".json")) if f.is_file()]


def _pack(repairer: Repairer, batch: Batch) -> Parcel:
    reads = repairer.reads(batch.positions, batch.config)
    cached = repairer.cached(batch.positions, batch.config)
    return Parcel(batch, repairer.train.rows[reads], repairer.train.images(reads), cached)


@contextmanager
def editors(repairer: Repairer) -> Iterator[Workers]:
    """Workers that edit a run's pictures, for :func:`edited`."""

    def here(batch: Batch) -> Computing:
        edits = yield from repairer.edit(batch.positions, batch.config)
        return edits, {}

    def name(batch: Batch) -> str:
        ids = [str(repairer.train.ids[p]) for p in batch.positions]
        return f"the edit of sample{'s' if len(ids) > 1 else ''} {', '.join(ids)}"

    parallel = ParallelMap(
        here,
        lambda: repair_task(repairer),
        lambda batch: _pack(repairer, batch),
        name,
        lambda batch: len(batch.positions),
    )
    with executor().workers(parallel) as workers:
        yield workers


def edited(
    workers: Workers, repairer: Repairer, batches: Iterable[Batch]
) -> Iterator[list[Edit] | Any]:
    """Edit batches and store the edits: the records of each batch as it is done, and events between."""
    for event in workers.map(batches):
        if isinstance(event, Done):
            edits, cached = event.result
            repairer.keep_cached(cached)
            yield repairer.publish(edits)
        else:
            yield event
