"""Small-loss selection: each batch trains on the samples whose loss is smallest.

The selection rule and its schedule are those of Co-teaching (Han et al., NeurIPS 2018, algorithm 1);
here one network selects for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.baselines.method import Method, Needs, Outcome
from diffinf_core.baselines.task import Task
from diffinf_core.baselines.training import Batch, Fit

#: the last epochs over which it is counted how often a sample is selected
COUNTED = 10


def drop_fraction(t: int, r: float, T_k: int = 10, c: float = 1.0) -> float:
    """d(t) of epoch t = 0, 1, ...: linear from 0 to r^c over the first T_k epochs, then r."""
    return r if t >= T_k else r**c * t / max(1, T_k - 1)


def kept_count(d: float, B: int) -> int:
    """How many of B samples stay, at least 1; floor((1 - d) B) without its floating-point error."""
    return max(1, int(round((1 - d) * B, 9)))


def small_loss_rows(losses: Tensor, d: float, labels: Tensor | None = None) -> Tensor:
    """Positions of the smallest losses (B,), smallest first; within each class where labels are given."""
    losses = losses.detach()
    if labels is None:
        return losses.argsort(stable=True)[: kept_count(d, len(losses))]
    parts = []
    for c in labels.unique():
        inside = (labels == c).nonzero()[:, 0]
        order = losses[inside].argsort(stable=True)
        parts.append(inside[order[: kept_count(d, len(inside))]])
    return torch.cat(parts)


@dataclass(frozen=True)
class SmallLoss(Method):
    """One network that trains on its own small-loss samples.

    ``forget_rate`` r is the fraction dropped in the end, None for the noise rate; ``ramp`` is T_k.
    ``per_class`` selects within each class of a batch, which keeps rare classes in training.
    """

    forget_rate: float | None = None
    ramp: int = 10
    exponent: float = 1.0
    per_class: bool = False

    name = "small_loss"
    title = "Small_loss"
    paper = "selection rule of Han et al., NeurIPS 2018"
    needs = Needs(noise_rate=True)

    def check(self, task: Task) -> None:
        """A given forget rate stands for the noise rate."""
        if self.forget_rate is None:
            super().check(task)
        else:
            task.check(self.title)

    def start(self, fit: Fit) -> None:
        """How often each sample was selected over the last epochs."""
        fit.state["selected"] = fit.table()

    def selection(self, fit: Fit, batch: Batch, losses: Tensor) -> Tensor:
        """The positions in a batch that one network's losses (B,) choose; counts them."""
        r = self.forget_rate
        if r is None:
            r = fit.task.known_noise_rate(self.title)
        d = drop_fraction(fit.epoch, r, self.ramp, self.exponent)
        rows = small_loss_rows(losses, d, batch.y if self.per_class else None)
        if fit.epoch >= fit.epochs - COUNTED:
            fit.state["selected"][batch.rows[rows]] += 1 / self.networks
        return rows

    def loss(self, fit: Fit, batch: Batch, networks: Sequence[int]) -> Tensor:
        """Mean over the selected samples."""
        losses = F.cross_entropy(fit.forward(batch.x), batch.y, reduction="none")
        return losses[self.selection(fit, batch, losses)].mean()

    def outcome(self, fit: Fit) -> Outcome:
        """Suspicion: how often a sample was not selected in the last epochs."""
        rate = fit.state["selected"].double().cpu().numpy() / min(COUNTED, fit.epochs)
        return Outcome(suspicion=1 - rate, kept=rate > 0.5)
