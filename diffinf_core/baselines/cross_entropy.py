"""Plain training on the labels as they are: the row "original noisy" of Table 1 (eq. 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from diffinf_core.baselines.method import Method
from diffinf_core.baselines.training import Batch, Fit


@dataclass(frozen=True)
class CrossEntropy(Method):
    """Cross-entropy on the assigned labels."""

    name = "noisy"
    title = "Noisy"

    def loss(self, fit: Fit, batch: Batch, networks: Sequence[int]) -> Tensor:
        """Mean cross-entropy."""
        return F.cross_entropy(fit.forward(batch.x), batch.y)
