"""The composite objective: one small function per term, its equation beside it.

Every term takes pictures x (B, 3, S, S) near [-1, 1] and gives (B,), zero for a perfect edit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.config import RepairConfig
from diffinf_core.correction.perceptors import Perceptors
from diffinf_core.weights.lpips import perceptual_distance

#: logit (B,) of h_omega and logits (B, C) of the classifier, for pictures
Predictor = Callable[[Tensor], Tensor]


def identity_loss(vector: Tensor, reference: Tensor) -> Tensor:
    """L_id = 1 - cos(F_id(x), F_id(x_i)), equation 10; unit vectors (B, D)."""
    return 1 - (vector * reference).sum(1)


def structure_loss(logits: Tensor, reference: Tensor) -> Tensor:
    """L_struct of equation 11: squared distance of soft face parsings, mean over pixels."""
    return (F.softmax(logits, 1) - reference).square().sum(1).mean((1, 2))


def reconstruction_loss(x: Tensor, reference: Tensor) -> Tensor:
    """The pixel part of L_perc in equation 11: mean absolute difference."""
    return (x - reference).abs().mean((1, 2, 3))


def influence_loss(logit: Tensor) -> Tensor:
    """L_si of equation 12 as -log(1 - h): the same minimum as h, without vanishing gradients near h = 1."""
    return F.softplus(logit)


def semantic_loss(logits: Tensor, label: Tensor) -> Tensor:
    """CE(f(x), y~): classifier guidance, which equation 9 does not have. A control, off by default."""
    return F.cross_entropy(logits, label, reduction="none")


@dataclass(frozen=True)
class Reference:
    """The terms' reference: everything about the originals that is computed once."""

    x: Tensor
    label: Tensor
    identity: Tensor | None
    parsing: Tensor | None
    perceptual: list[Tensor]


class Objective:
    """Equation 9 for a batch: w_id L_id + w_reg L_reg + w_si L_si, and the optional w_sem term."""

    def __init__(
        self,
        config: RepairConfig,
        perceptors: Perceptors,
        influence: Predictor,
        classifier: Predictor,
        x: Tensor,
        label: Tensor,
    ) -> None:
        self.config, self.perceptors = config, perceptors
        self.influence, self.classifier = influence, classifier
        with torch.no_grad():
            self.reference = Reference(
                x=x,
                label=label,
                identity=perceptors.identity(x) if perceptors.identity else None,
                parsing=F.softmax(perceptors.parsing(x), 1) if perceptors.parsing else None,
                perceptual=perceptors.perceptual(x),
            )

    def terms(self, x: Tensor, all_terms: bool = False) -> dict[str, Tensor]:
        """Each term, unweighted, (B,); only those with a weight unless ``all_terms``."""
        c, p, r = self.config, self.perceptors, self.reference
        x = x.clamp(-1.1, 1.1)
        out: dict[str, Tensor] = {}
        if p.identity and r.identity is not None and (all_terms or c.w_id):
            out["identity"] = identity_loss(p.identity(x), r.identity)
        if p.parsing and r.parsing is not None and (all_terms or c.w_reg * c.lambda_struct):
            out["structure"] = structure_loss(p.parsing(x), r.parsing)
        if all_terms or c.w_reg * c.lambda_perc:
            out["perceptual"] = perceptual_distance(p.perceptual(x), r.perceptual)
            out["reconstruction"] = reconstruction_loss(x, r.x)
        if all_terms or c.w_si:
            out["influence"] = influence_loss(self.influence(x))
        if c.w_sem:
            out["semantic"] = semantic_loss(self.classifier(x), r.label)
        return out

    def weight(self, term: str) -> float:
        """The weight of a term in equation 9, equation 11 multiplied out."""
        c = self.config
        return {
            "identity": c.w_id,
            "structure": c.w_reg * c.lambda_struct,
            "perceptual": c.w_reg * c.lambda_perc,
            "reconstruction": c.w_reg * c.lambda_perc,
            "influence": c.w_si,
            "semantic": c.w_sem,
        }[term]

    def loss(self, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum (B,)."""
        total = torch.zeros(len(self.reference.x), device=self.reference.x.device)
        for name, value in terms.items():
            total = total + self.weight(name) * value
        return total
