"""SOP, sparse over-parameterisation (Liu et al., ICML 2022): each sample learns its own label noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.baselines.method import Method, Outcome
from diffinf_core.baselines.recipe import Recipe
from diffinf_core.baselines.training import Batch, Fit


def noise_terms(u: Tensor, v: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """U = u^2 y and V = v^2 (1 - y), in [0, 1], from u (B, 1), v (B, C), one-hot y (B, C)."""
    return (u**2 * y).clamp(0, 1), (v**2 * (1 - y)).clamp(0, 1)


def sop_prediction(p: Tensor, U: Tensor, V: Tensor) -> Tensor:
    """The prediction of the noisy label, p + U - V, clipped and normalised; V has no gradient here."""
    s = (p + U - V.detach()).clamp_min(1e-4)
    return s / s.sum(1, keepdim=True)


def square_term(p: Tensor, U: Tensor, V: Tensor, y: Tensor) -> Tensor:
    """|onehot(argmax p) + U - V - y|^2 of each sample (B,): what teaches v."""
    hard = F.one_hot(p.argmax(1), p.shape[1]).to(p.dtype)
    return ((hard + U - V - y) ** 2).sum(1)


@dataclass(frozen=True)
class SOP(Method):
    """Plain training with two extra vectors per sample that absorb its label noise.

    ``u_rate`` and ``v_rate`` are SGD rates for batches of 128, and scaled to others, because the loss
    is a mean. ``rate_epochs``: the rates are scaled so that u and v grow in this training as they do
    in one of so many epochs (None: not scaled).
    """

    u_rate: float = 1.0
    v_rate: float = 10.0
    rate_epochs: int | None = 300

    name = "sop"
    title = "SOP"
    paper = "Liu et al., ICML 2022"
    source_recipe = Recipe(
        epochs=300, batch_size=128, optimiser="sgd", learning_rate=0.02, weight_decay=1e-3,
        schedule="cosine",
    )  # fmt: skip
    source_options = {"rate_epochs": None}  # noqa: RUF012

    def start(self, fit: Fit) -> None:
        """At zero u and v would have no gradient."""
        fit.state["u"] = torch.randn_like(fit.table(1)) * 1e-8
        fit.state["v"] = torch.randn_like(fit.table(fit.classes)) * 1e-8

    def loss(self, fit: Fit, batch: Batch, networks: Sequence[int]) -> Tensor:
        """Cross-entropy of the noisy prediction, and the square term."""
        # Leaves of this step alone: their gradient is applied in after_step.
        self_u = fit.state["u"][batch.rows].requires_grad_()
        self_v = fit.state["v"][batch.rows].requires_grad_()
        fit.step_leaves = (self_u, self_v)
        p = F.softmax(fit.forward(batch.x), 1)
        y = F.one_hot(batch.y, fit.classes).to(p.dtype)
        U, V = noise_terms(self_u, self_v, y)
        likelihood = sop_prediction(p, U, V).gather(1, batch.y[:, None])
        return (square_term(p, U, V, y) - likelihood.log()[:, 0]).mean()

    def after_step(self, fit: Fit, batch: Batch, networks: Sequence[int]) -> None:
        """Plain SGD on u and v."""
        scale = len(batch.y) / 128
        if self.rate_epochs is not None:
            scale *= self.rate_epochs / fit.epochs
        rates = {"u": self.u_rate * scale, "v": self.v_rate * scale}
        for leaf, (name, rate) in zip(fit.step_leaves, rates.items(), strict=True):
            assert leaf.grad is not None
            fit.state[name][batch.rows] -= rate * leaf.grad

    def outcome(self, fit: Fit) -> Outcome:
        """Suspicion: the mass of noise that a sample has learnt."""
        y = F.one_hot(fit.labels, fit.classes).float()
        U, V = noise_terms(fit.state["u"], fit.state["v"], y)
        corrected = (F.softmax(fit.logits(), 1)).argmax(1)
        return Outcome(
            suspicion=(U + V).sum(1).double().cpu().numpy(),
            kept=(corrected == fit.labels).cpu().numpy(),
            corrected=corrected.cpu().numpy(),
        )
