"""ELR, early-learning regularisation (Liu et al., NeurIPS 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.baselines.method import Method, Outcome
from diffinf_core.baselines.recipe import Recipe
from diffinf_core.baselines.training import Batch, Fit

#: probabilities are kept this far from 0 and 1
CLAMP = 1e-4


def update_target(target: Tensor, p: Tensor, beta: float) -> Tensor:
    """The running target (B, C) after a prediction p (B, C): beta t + (1 - beta) p / sum p."""
    p = p.detach()
    return beta * target + (1 - beta) * p / p.sum(1, keepdim=True)


def regulariser(p: Tensor, target: Tensor) -> Tensor:
    """log(1 - <t, p>) of each sample; minimising it draws p towards the target."""
    return (1 - (target * p).sum(1)).log()


def suspicion_of(target: Tensor, labels: Tensor) -> Outcome:
    """Suspicion and corrected label from targets (N, C): the mass that is not on the label."""
    share = target.gather(1, labels[:, None])[:, 0] / target.sum(1).clamp_min(1e-12)
    corrected = target.argmax(1)
    return Outcome(
        suspicion=(1 - share).double().cpu().numpy(),
        kept=(corrected == labels).cpu().numpy(),
        corrected=corrected.cpu().numpy(),
    )


@dataclass(frozen=True)
class ELR(Method):
    """Cross-entropy, and a pull towards each sample's early predictions.

    ``weight`` is lambda, ``beta`` the memory of the targets. The loss may be negative.
    """

    weight: float = 3.0
    beta: float = 0.7

    name = "elr"
    title = "ELR"
    paper = "Liu et al., NeurIPS 2020"
    source_recipe = Recipe(
        epochs=150, batch_size=128, optimiser="sgd", learning_rate=0.02, weight_decay=1e-3,
        schedule="restarts", milestones=(10,), floor=0.05,
    )  # fmt: skip

    def start(self, fit: Fit) -> None:
        """Targets start at zero."""
        fit.state["target"] = fit.table(fit.classes)

    def loss(self, fit: Fit, batch: Batch, networks: Sequence[int]) -> Tensor:
        """CE + lambda log(1 - <t, p>); the target is updated before it is used."""
        z = fit.forward(batch.x)
        p = F.softmax(z, 1).clamp(CLAMP, 1 - CLAMP)
        target = update_target(fit.state["target"][batch.rows], p, self.beta)
        fit.state["target"][batch.rows] = target
        return F.cross_entropy(z, batch.y) + self.weight * regulariser(p, target).mean()

    def outcome(self, fit: Fit) -> Outcome:
        """A label is suspicious where the target puts little on it."""
        with torch.no_grad():
            return suspicion_of(fit.state["target"], fit.labels)
