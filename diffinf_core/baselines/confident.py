"""Confident learning (Northcutt et al., JAIR 2021): cleanlab judges out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffinf_core.baselines.cross_entropy import CrossEntropy
from diffinf_core.baselines.method import Outcome
from diffinf_core.baselines.removal import Filtering, staged
from diffinf_core.baselines.task import Task
from diffinf_core.baselines.training import fit
from diffinf_core.classifier.subset import Subset
from diffinf_core.records import DiffInfError, Progress

#: below so many classes cleanlab's plain count is too low, says its documentation
_FEW_CLASSES = 4


def label_issues(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Suspicion (N,), one minus self-confidence, and which labels are issues (N,), by cleanlab.

    ``probabilities`` (N, C) must be of networks that did not see the sample. With fewer than four
    classes the number of issues is cleanlab's calibrated estimate, of the lowest self-confidence.
    """
    from cleanlab.count import num_label_issues
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    quality = np.asarray(get_label_quality_scores(labels, probabilities, method="self_confidence"))
    if probabilities.shape[1] < _FEW_CLASSES:
        count = int(
            num_label_issues(
                labels, pred_probs=probabilities, estimation_method="off_diagonal_calibrated"
            )
        )
        issues = np.zeros(len(labels), bool)
        issues[np.argsort(quality, kind="stable")[:count]] = True
    else:
        issues = find_label_issues(labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1)
    return 1 - quality, np.asarray(issues, bool)


def estimated_noise_rate(labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> float:
    """The fraction of wrong labels that confident learning estimates from out-of-fold probabilities."""
    return float(label_issues(labels, probabilities)[1].mean())


@dataclass(frozen=True)
class ConfidentLearning(Filtering):
    """Drop what cleanlab calls a label issue, train on the rest."""

    folds: int = 5

    name = "cleanlab"
    title = "Confident learning"
    paper = "Northcutt et al., JAIR 2021"
    cost = 5.0

    @property
    def stages(self) -> int:
        """A training for each fold, and the last."""
        return self.folds + 1

    def check(self, task: Task) -> None:
        """Each class needs a sample in every fold."""
        super().check(task)
        counts = np.bincount(task.labels, minlength=task.classes)
        if counts.min() < self.folds:
            raise DiffInfError(
                f"{self.title} needs {self.folds} samples of every class for its {self.folds} folds, "
                f"but class number {int(counts.argmin())} has {counts.min()}; use fewer folds."
            )

    def judge(self, task: Task, folder: Path) -> Generator[Progress, None, Outcome]:
        """A plain training without each fold, which it then predicts."""
        from scipy.special import softmax
        from sklearn.model_selection import StratifiedKFold

        labels, plain = task.labels, CrossEntropy()
        splitter = StratifiedKFold(self.folds, shuffle=True, random_state=task.seed)
        probabilities = np.zeros((len(labels), task.classes))
        for k, (inside, outside) in enumerate(splitter.split(labels, labels)):
            fold, where = task.on(Subset(task.data, inside), 1 + k), folder / f"fold-{k}"
            note = f"{self.title}, fold {k + 1} of {self.folds}"
            yield from staged(fit(plain, fold, where, note), self.name, k, self.stages)
            z = plain.predictions(fold, where, Subset(task.data, outside))
            probabilities[outside] = softmax(z, 1)
        suspicion, issues = label_issues(labels, probabilities)
        return Outcome(suspicion, ~issues, probabilities.argmax(1))
