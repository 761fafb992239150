"""ProSelfLC (Wang et al., CVPR 2021): the label gives way to the network's own, confident prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from diffinf_core.baselines.method import Method, Outcome
from diffinf_core.baselines.recipe import Recipe
from diffinf_core.baselines.training import Batch, Fit

_TINY = 1e-6


def global_trust(t: float, B: float, theta: float = 0.5) -> float:
    """g(t) = 1 / (1 + exp(-B (t - theta))), with t the elapsed fraction of the training."""
    return 1 / (1 + exp(-B * (t - theta)))


def local_trust(p: Tensor) -> Tensor:
    """l(p) = 1 - H(p) / ln C (B,), of probabilities (B, C)."""
    return 1 - -(p * (p + _TINY).log()).sum(1) / log(p.shape[1])


def corrected_target(p: Tensor, q: Tensor, eps: Tensor) -> Tensor:
    """(1 - eps) q + eps p (eq. 5); the gradient flows through p."""
    return (1 - eps)[:, None] * q + eps[:, None] * p


@dataclass(frozen=True)
class ProSelfLC(Method):
    """Self label correction, trusted more as training goes on and as predictions get sharper.

    ``sharpness`` is B. ``target``: "coupled" lets the gradient flow through the target, as in the
    paper, which minimises entropy; "detached" does not, and only scales the cross-entropy.
    ``divergence`` of the prediction from the target: "cross_entropy" as in the paper (eq. 7), or
    "relative_entropy", KL(target || p), as the authors' later code offers.
    """

    sharpness: float = 10.0
    theta: float = 0.5
    target: Literal["coupled", "detached"] = "coupled"
    divergence: Literal["cross_entropy", "relative_entropy"] = "cross_entropy"

    name = "proselflc"
    title = "ProSelfLC"
    paper = "Wang et al., CVPR 2021"
    source_recipe = Recipe(
        epochs=153, batch_size=256, optimiser="sgd", learning_rate=0.1, weight_decay=5e-4,
        schedule="steps", milestones=(77, 112),
    )  # fmt: skip

    def loss(self, fit: Fit, batch: Batch, networks: Sequence[int]) -> Tensor:
        """Equation 7, at iteration t = step + 1 of G."""
        z = fit.forward(batch.x)
        return self.loss_at(z, batch.y, (batch.step + 1) / fit.total_steps)

    def loss_at(self, z: Tensor, y: Tensor, t: float) -> Tensor:
        """Mean loss of logits (B, C) and labels (B,) at the elapsed fraction t."""
        p = F.softmax(z, 1)
        target = self.targets(p, y, t)
        if self.target == "detached":
            target = target.detach()
        gap = -(p + _TINY).log()
        if self.divergence == "relative_entropy":
            gap = gap + (target + _TINY).log()
        return (target * gap).sum(1).mean()

    def targets(self, p: Tensor, y: Tensor, t: float) -> Tensor:
        """The corrected targets (B, C); the trust has no gradient."""
        eps = global_trust(t, self.sharpness, self.theta) * local_trust(p.detach())
        return corrected_target(p, F.one_hot(y, p.shape[1]).to(p.dtype), eps)

    def outcome(self, fit: Fit) -> Outcome:
        """One extra pass: the mass that the final target takes off the label."""
        target = self.targets(F.softmax(fit.logits(), 1), fit.labels, 1.0)
        on_label = target.gather(1, fit.labels[:, None])[:, 0]
        corrected = target.argmax(1)
        return Outcome(
            suspicion=(1 - on_label).double().cpu().numpy(),
            kept=(corrected == fit.labels).cpu().numpy(),
            corrected=corrected.cpu().numpy(),
        )
