"""Removal: judge the samples, drop the suspicious ones, train plainly on the rest.

The row "Self inf removal" of Table 1 is :class:`Removal` with the ranking by self-influence.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffinf_core.baselines.cross_entropy import CrossEntropy
from diffinf_core.baselines.method import Needs, Outcome
from diffinf_core.baselines.task import Task
from diffinf_core.baselines.training import fit
from diffinf_core.classifier.subset import Subset
from diffinf_core.records import DiffInfError, Progress


def most_suspicious(
    suspicion: NDArray[np.floating], fraction: float, labels: NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """A mask (N,) of the round(fraction N) highest scores, ties by position; per class given labels."""
    if not 0 <= fraction < 1:
        raise DiffInfError(f"A removal of {fraction} of the samples is not in [0, 1).")
    groups = [np.arange(len(suspicion))]
    if labels is not None:
        groups = [np.flatnonzero(labels == c) for c in np.unique(labels)]
    out = np.zeros(len(suspicion), bool)
    for group in groups:
        count = int(np.floor(fraction * len(group) + 0.5))
        out[group[np.argsort(-suspicion[group], kind="stable")[:count]]] = True
    return out


def staged(events: Iterator[Progress], name: str, stage: int, stages: int) -> Iterator[Progress]:
    """The events of one of several trainings as those of the whole, in thousandths of a training.

    The trainings are on more and on fewer samples, so that their steps cannot be added.
    """
    for event in events:
        done = stage * 1000 + 1000 * event.done // event.total
        yield Progress(name, done, stages * 1000, event.note, event.values)


@dataclass(frozen=True)
class Filtering(CrossEntropy):
    """Judge the samples, then train plainly on those that are kept; a subclass gives :meth:`judge`."""

    @property
    def stages(self) -> int:
        """How many trainings there are, the last one included."""
        return 2

    @abstractmethod
    def judge(self, task: Task, folder: Path) -> Generator[Progress, None, Outcome]:
        """Train what it takes below ``folder`` and return suspicion and ``kept``."""

    def train(self, task: Task, folder: Path, note: str = "") -> Iterator[Progress]:
        """Judge, drop, train; each of them goes on where it was stopped."""
        self.check(task)
        if (folder / "final.pt").exists():
            return
        outcome = yield from self.judge(task, folder)
        assert outcome.kept is not None
        rows = np.flatnonzero(outcome.kept)
        left = len(np.unique(task.labels[rows]))
        if left < len(np.unique(task.labels)):
            raise DiffInfError(
                f"{self.title} would remove every sample of a class; use a lower fraction, removal "
                "per class, or a network that learns the classes first."
            )
        outcome.write(folder)
        events = fit(CrossEntropy(), task.on(Subset(task.data, rows)), folder, note or self.title)
        yield from staged(events, self.name, self.stages - 1, self.stages)


@dataclass(frozen=True)
class Removal(Filtering):
    """Drop the ``fraction`` of samples that a given ranking suspects most."""

    fraction: float = 0.1
    per_class: bool = False

    name = "removal"
    title = "Self-influence removal"
    paper = "the DiffInf paper, Table 1"
    needs = Needs(ranking=True)
    cost = 2.0

    @property
    def stages(self) -> int:
        """The ranking comes from elsewhere."""
        return 1

    def judge(self, task: Task, folder: Path) -> Generator[Progress, None, Outcome]:
        """The ranking's top."""
        yield from ()
        assert task.ranking is not None
        suspicion = np.asarray(task.ranking, float)
        labels = task.labels if self.per_class else None
        return Outcome(suspicion, ~most_suspicious(suspicion, self.fraction, labels))
