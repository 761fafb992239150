"""The published linear classifier of attributes on z_sem, and the edit along its weights.

An edit moves the normalised code by a multiple of sqrt(d) along an attribute's weight, of length
one; x_T stays.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from diffinf_core.diffusion.loading import read_checkpoint
from diffinf_core.records import DiffInfError

#: order of the classifier's outputs: that of CelebA
CELEBA = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs",
    "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows",
    "Chubby", "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup",
    "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard",
    "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns",
    "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat",
    "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young",
)  # fmt: skip


class AttributeClassifier:
    """Independent sigmoids over normalised codes; z_sem is (B, d), weights (attributes, d)."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        deviation: Tensor,
        names: tuple[str, ...] = CELEBA,
    ) -> None:
        self.weight, self.bias, self.names = weight, bias, names
        self.mean, self.deviation = mean.reshape(1, -1), deviation.reshape(1, -1)

    @classmethod
    def load(cls, path: Path) -> AttributeClassifier:
        """Read a published classifier's ``last.ckpt``.

        Its plain weights are taken: the averaged ones still carry a third of their random start.
        """
        state = read_checkpoint(path)["state_dict"]
        try:
            weight, bias, mean, deviation = (
                state[key].float()
                for key in ("classifier.weight", "classifier.bias", "conds_mean", "conds_std")
            )
        except KeyError as error:
            raise DiffInfError(f"{path} is no attribute classifier: it has no {error}.") from error
        if weight.shape != (len(CELEBA), mean.numel()) or mean.numel() != deviation.numel():
            raise DiffInfError(
                f"{path} is no attribute classifier: its weights are {tuple(weight.shape)} and its "
                f"codes {mean.numel()} long."
            )
        return cls(weight, bias, mean, deviation)

    def normalise(self, z_sem: Tensor) -> Tensor:
        """Codes with mean 0 and deviation 1 over the data the autoencoder was trained on."""
        return (z_sem - self.mean) / self.deviation

    def logits(self, z_sem: Tensor) -> Tensor:
        """One logit per attribute, (B, attributes)."""
        return self.normalise(z_sem) @ self.weight.T + self.bias

    def edit(self, z_sem: Tensor, attribute: str, strength: float) -> Tensor:
        """z_sem with more (or, below 0, less) of an attribute; 0.3 is the authors' default.

        Raises :class:`DiffInfError` for an attribute that the classifier does not know.
        """
        if attribute not in self.names:
            raise DiffInfError(f"Unknown attribute {attribute!r}; one of {', '.join(self.names)}.")
        row = self.weight[self.names.index(attribute)]
        way = strength * math.sqrt(len(row)) * row / torch.linalg.vector_norm(row)
        return (self.normalise(z_sem) + way) * self.deviation + self.mean
