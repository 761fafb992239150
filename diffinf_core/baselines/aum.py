"""AUM, the area under the margin (Pleiss et al., NeurIPS 2020), with threshold samples."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.baselines.cross_entropy import CrossEntropy
from diffinf_core.baselines.method import Outcome
from diffinf_core.baselines.removal import Filtering, staged
from diffinf_core.baselines.task import Task
from diffinf_core.baselines.training import Batch, Fit, fit
from diffinf_core.classifier.subset import Subset
from diffinf_core.records import DiffInfError, Progress

RUNS = 2


def margin(z: Tensor, y: Tensor) -> Tensor:
    """The assigned logit less the largest other one (B,), of logits (B, C)."""
    hot = F.one_hot(y, z.shape[1]).bool()
    return z[hot] - z.masked_fill(hot, -torch.inf).amax(1)


def flagged(
    aum: NDArray[np.float64], threshold: NDArray[np.bool_], percentile: float = 99
) -> NDArray[np.bool_]:
    """Samples flagged by AUM, from areas (R, N) and who was a threshold sample in each run (R, N).

    A sample is flagged where its area is below the percentile of the threshold samples in every run
    in which it was none itself.
    """
    limits = [np.percentile(a[t], percentile) for a, t in zip(aum, threshold, strict=True)]
    below = aum < np.array(limits)[:, None]
    return np.asarray((below | threshold).all(0) & ~threshold.all(0))


@dataclass(frozen=True)
class _Margins(CrossEntropy):
    """Plain training that averages each sample's margin over the epochs before the first decay."""

    def start(self, fit: Fit) -> None:
        fit.state["margin"] = fit.table()

    def loss(self, fit: Fit, batch: Batch, networks: Sequence[int]) -> Tensor:
        z = fit.forward(batch.x)
        recipe = fit.task.recipe
        if recipe.schedule != "steps" or fit.epoch < max(1, recipe.milestones[0]):
            fit.state["margin"][batch.rows] += margin(z.detach(), batch.y)
        return F.cross_entropy(z, batch.y)

    def outcome(self, fit: Fit) -> Outcome:
        recipe = fit.task.recipe
        epochs = fit.epochs
        if recipe.schedule == "steps":
            epochs = min(epochs, max(1, recipe.milestones[0]))
        return Outcome(suspicion=-fit.state["margin"].double().cpu().numpy() / epochs)


@dataclass(frozen=True)
class AUM(Filtering):
    """Two trainings with a class of threshold samples, known to be mislabelled; drop what ranks below.

    ``poisoned``: N / (C + 1) threshold samples, as in the paper, or N / C, as in its code, which is a
    third of a set with three classes.
    """

    percentile: float = 99.0
    poisoned: Literal["paper", "code"] = "paper"

    name = "aum"
    title = "AUM"
    paper = "Pleiss et al., NeurIPS 2020"
    cost = 3.0
    source_options = {"poisoned": "code"}  # noqa: RUF012

    @property
    def stages(self) -> int:
        """Two runs, and the last."""
        return RUNS + 1

    def _count(self, task: Task) -> int:
        return len(task.data) // (task.classes + (self.poisoned == "paper"))

    def check(self, task: Task) -> None:
        """Threshold samples need company."""
        super().check(task)
        if self._count(task) < 2:
            raise DiffInfError(
                f"{self.title} needs at least {2 * (task.classes + 1)} samples for its threshold "
                f"samples; this set has {len(task.data)}."
            )

    def judge(self, task: Task, folder: Path) -> Generator[Progress, None, Outcome]:
        """Disjoint threshold samples in each run."""
        labels, count = task.labels, self._count(task)
        order = np.random.default_rng(task.seed).permutation(len(labels))
        areas = np.zeros((RUNS, len(labels)))
        threshold = np.zeros((RUNS, len(labels)), bool)
        first = _Margins()
        for run in range(RUNS):
            threshold[run, order[run * count : (run + 1) * count]] = True
            poisoned = np.where(threshold[run], task.classes, labels)
            data = Subset(task.data, np.arange(len(labels)), poisoned)
            part, where = task.on(data, 1 + run, task.classes + 1), folder / f"run-{run + 1}"
            note = f"{self.title}, run {run + 1} of {RUNS}"
            yield from staged(fit(first, part, where, note), self.name, run, self.stages)
            outcome = first.scores(where)
            assert outcome is not None and outcome.suspicion is not None
            areas[run] = -outcome.suspicion
        own = np.where(threshold, np.nan, areas)
        return Outcome(-np.nanmean(own, 0), ~flagged(areas, threshold, self.percentile))
