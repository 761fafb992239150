"""Co-teaching (Han et al., NeurIPS 2018): two networks, each trained on what the other selects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from diffinf_core.baselines.recipe import Recipe
from diffinf_core.baselines.small_loss import SmallLoss
from diffinf_core.baselines.training import Batch, Fit


@dataclass(frozen=True)
class CoTeaching(SmallLoss):
    """Two networks exchange their small-loss samples, batch by batch."""

    name = "coteaching"
    title = "Co-teaching"
    paper = "Han et al., NeurIPS 2018"
    cost = 2.0
    networks = 2
    turns = ((0, 1),)
    source_recipe = Recipe(
        epochs=200, batch_size=128, learning_rate=1e-3, schedule="linear", milestones=(80,),
        late_momentum=0.1,
    )  # fmt: skip

    def loss(self, fit: Fit, batch: Batch, networks: Sequence[int]) -> Tensor:
        """Each network's mean loss over the other's selection (algorithm 1, lines 4-7)."""
        a, b = (
            F.cross_entropy(fit.forward(batch.x, k), batch.y, reduction="none") for k in networks
        )
        return a[self.selection(fit, batch, b)].mean() + b[self.selection(fit, batch, a)].mean()
