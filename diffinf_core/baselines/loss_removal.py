"""Loss removal: like removal by self-influence, but ranked by the loss. Its control."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from torch.nn import functional as F

from diffinf_core.baselines.cross_entropy import CrossEntropy
from diffinf_core.baselines.method import Outcome
from diffinf_core.baselines.removal import Filtering, most_suspicious, staged
from diffinf_core.baselines.task import Task
from diffinf_core.baselines.training import Fit, fit
from diffinf_core.records import Progress


@dataclass(frozen=True)
class _Tracked(CrossEntropy):
    """Plain training that sums each sample's loss over checkpoints at regular intervals."""

    checkpoints: int = 10

    def start(self, fit: Fit) -> None:
        fit.state["loss"] = fit.table()

    def end_epoch(self, fit: Fit) -> None:
        count = min(self.checkpoints, fit.epochs)
        epochs = {round((i + 1) * fit.epochs / count) for i in range(count)}
        if fit.epoch + 1 in epochs:
            loss = F.cross_entropy(fit.logits(), fit.labels, reduction="none")
            fit.state["loss"] += loss / count

    def outcome(self, fit: Fit) -> Outcome:
        return Outcome(suspicion=fit.state["loss"].double().cpu().numpy())


@dataclass(frozen=True)
class LossRemoval(Filtering):
    """Train, rank by the mean loss over ``checkpoints``, drop the top ``fraction``, train again."""

    fraction: float = 0.1
    checkpoints: int = 10
    per_class: bool = False

    name = "loss_removal"
    title = "Loss removal"
    cost = 2.0

    def judge(self, task: Task, folder: Path) -> Generator[Progress, None, Outcome]:
        """A training of its own, judged in evaluation mode without augmentation."""
        first = _Tracked(checkpoints=self.checkpoints)
        events = fit(first, task, folder / "first", f"{self.title}, ranking")
        yield from staged(events, self.name, 0, self.stages)
        outcome = first.scores(folder / "first")
        assert outcome is not None and outcome.suspicion is not None
        labels = task.labels if self.per_class else None
        return Outcome(
            outcome.suspicion, ~most_suspicious(outcome.suspicion, self.fraction, labels)
        )
