"""Codes that do not tell the label: an adversary guesses it from z_sem, and the encoder makes the guess no
better than one from the side information alone.

A code that says the label leaves nothing for the label to add, so that guidance on it changes nothing (Lample
et al. 2017, "Fader Networks"; Ganin et al. 2016, "Domain-Adversarial Training of Neural Networks").
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

_WIDTH = 256


class _Prior(nn.Module):
    """Logits of the classes where there is no side information."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(len(x), -1)


def _guesser(width: int, classes: int) -> nn.Module:
    if not width:
        return _Prior(classes)
    return nn.Sequential(
        nn.Linear(width, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, _WIDTH), nn.ReLU(),
        nn.Linear(_WIDTH, classes),
    )  # fmt: skip


class LabelAdversary(nn.Module):
    """Two guessers of the label: from z_sem and side information, and from side information alone.

    z_sem is (B, z_dim), side information (B, side), labels (B,) with -1 where they are unknown.
    """

    def __init__(self, z_dim: int, side: int, classes: int) -> None:
        super().__init__()
        self.of_code = _guesser(z_dim + side, classes)
        self.of_side = _guesser(side, classes)

    def forward(self, z: Tensor, side: Tensor, label: Tensor) -> dict[str, Tensor]:
        """ "guess", the loss that trains the guessers and no encoder; "confusion", the loss that trains the
        encoder and no guesser; "adversary" and "side_alone", the guessers' cross-entropies. Scalars."""
        known = label >= 0
        if not bool(known.any()):
            nothing = z.sum() * 0
            return {"guess": nothing, "confusion": nothing}
        z, side, label = z[known], side[known], label[known]
        code = F.cross_entropy(self.of_code(torch.cat([z.detach(), side], 1)).float(), label)
        alone = self.of_side(side).float()
        side_alone = F.cross_entropy(alone, label)
        frozen = {name: value.detach() for name, value in self.of_code.named_parameters()}
        seen = functional_call(self.of_code, frozen, (torch.cat([z, side], 1),)).float()
        target = alone.detach().softmax(1)
        return {
            "guess": code + side_alone,
            "confusion": -(target * seen.log_softmax(1)).sum(1).mean(),
            "adversary": code.detach(),
            "side_alone": side_alone.detach(),
        }


def side_information(colour: Tensor | None, covariates: Tensor, classes: tuple[int, ...]) -> Tensor:
    """What is known of a picture beside its code (B, side): coarse colour (B, 3) and one-hot covariates.

    ``covariates`` (B, len(classes)) are indices, -1 for unknown.
    """
    parts = [] if colour is None else [colour]
    for i, count in enumerate(classes):
        known = covariates[:, i] >= 0
        parts.append(F.one_hot(covariates[:, i].clamp_min(0), count) * known[:, None])
    if not parts:
        return torch.zeros(len(covariates), 0, device=covariates.device)
    return torch.cat([part.float() for part in parts], 1)
