"""A training recipe: optimiser, learning-rate schedule, epochs and batch size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import cos, pi
from typing import Literal

import torch
from torch import nn

from diffinf_core.records import DiffInfError

Schedule = Literal["constant", "cosine", "restarts", "steps", "linear"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, whatever its loss. The defaults are the paper's protocol.

    ``momentum`` is SGD's momentum or Adam's beta_1. ``milestones`` are epochs, counted from 0:
    "steps" multiplies the rate by ``decay`` at each, "linear" decays to zero from the first one on,
    "restarts" starts a cosine anew every ``milestones[0]`` epochs. ``floor`` is the lowest rate as a
    fraction of the peak. ``late_momentum`` replaces ``momentum`` from the first milestone on.
    Raises :class:`DiffInfError` for values that cannot be trained with.
    """

    epochs: int = 100
    batch_size: int = 64
    optimiser: Literal["adam", "sgd"] = "adam"
    learning_rate: float = 1e-4
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    floor: float = 0.0
    late_momentum: float | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or not self.learning_rate > 0:
            raise DiffInfError(
                f"epochs = {self.epochs}, batch_size = {self.batch_size}, learning_rate = "
                f"{self.learning_rate}: need at least 1 epoch, 2 samples a batch and a rate above 0."
            )
        if self.schedule in ("restarts", "steps", "linear") and not self.milestones:
            raise DiffInfError(
                f"The schedule {self.schedule!r} needs milestones; give their epochs."
            )

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        low = self.floor
        if self.schedule == "cosine":
            factor = low + (1 - low) * (1 + cos(pi * epoch / self.epochs)) / 2
        elif self.schedule == "restarts":
            period = self.milestones[0]
            factor = low + (1 - low) * (1 + cos(pi * (epoch % period) / period)) / 2
        elif self.schedule == "steps":
            factor = self.decay ** sum(epoch >= m for m in self.milestones)
        elif self.schedule == "linear":
            start = self.milestones[0]
            factor = min(1.0, (self.epochs - epoch) / max(1, self.epochs - start))
        else:
            factor = 1.0
        return self.learning_rate * max(low, factor)

    def build_optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimiser of one network."""
        if self.optimiser == "sgd":
            return torch.optim.SGD(
                parameters, self.learning_rate, self.momentum, weight_decay=self.weight_decay
            )
        betas = (self.momentum, 0.999)
        return torch.optim.Adam(
            parameters, self.learning_rate, betas, weight_decay=self.weight_decay
        )

    def tune(self, optimiser: torch.optim.Optimizer, epoch: int) -> None:
        """Set an optimiser to the rate and momentum of an epoch."""
        late = self.late_momentum is not None and epoch >= self.milestones[0]
        momentum = self.late_momentum if late else self.momentum
        for group in optimiser.param_groups:
            group["lr"] = self.rate(epoch)
            if self.optimiser == "sgd":
                group["momentum"] = momentum
            else:
                group["betas"] = (momentum, 0.999)
