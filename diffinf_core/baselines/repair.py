"""DiffInf's own row: plain training on a repaired set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diffinf_core.baselines.cross_entropy import CrossEntropy
from diffinf_core.baselines.method import Needs
from diffinf_core.baselines.task import Task
from diffinf_core.baselines.training import fit
from diffinf_core.records import Progress


@dataclass(frozen=True)
class Repair(CrossEntropy):
    """Cross-entropy on ``task.refined``; the repair itself happens elsewhere."""

    name = "repair"
    title = "DiffInf"
    paper = "the DiffInf paper, Table 1"
    needs = Needs(refined=True)
    cost = 2.0

    def train(self, task: Task, folder: Path, note: str = "") -> Iterator[Progress]:
        """Train plainly on the repaired set."""
        self.check(task)
        assert task.refined is not None
        yield from fit(self, task.on(task.refined), folder, note or self.title)
