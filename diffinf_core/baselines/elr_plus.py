"""ELR+ (Liu et al., NeurIPS 2020): two networks, weight averaging and mixup around ELR."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import exp

import torch
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.baselines.elr import CLAMP, regulariser, suspicion_of, update_target
from diffinf_core.baselines.method import Method, Outcome
from diffinf_core.baselines.mixing import mix, mixing_weight, permutation
from diffinf_core.baselines.recipe import Recipe
from diffinf_core.baselines.training import Batch, Fit, forward


def sigmoid_ramp(step: float, length: float) -> float:
    """exp(-5 (1 - step / length)^2), 1 from ``length`` on and where it is 0."""
    if length == 0:
        return 1.0
    return exp(-5 * (1 - min(step, length) / length) ** 2)


def mixed_loss(z: Tensor, soft: Tensor, q: Tensor, weight: float) -> Tensor:
    """Soft cross-entropy plus weight * log(1 - <q, p>), mean over the batch: ELR's loss on mixtures."""
    p = F.softmax(z, 1).clamp(CLAMP, 1 - CLAMP)
    return F.cross_entropy(z, soft) + weight * regulariser(p, q).mean()


@dataclass(frozen=True)
class ELRPlus(Method):
    """Two networks; the targets of each come from the weight average of the other.

    ``ema_steps`` is the length of the ramp of the averaging, None for 57 % of the training, which is
    what the authors' 40 000 steps are of theirs. ``coefficient_steps`` ramps the regulariser.
    """

    weight: float = 3.0
    beta: float = 0.7
    mixup_alpha: float = 1.0
    ema: float = 0.997
    ema_steps: int | None = None
    coefficient_steps: int = 0

    name = "elr_plus"
    title = "ELR+"
    paper = "Liu et al., NeurIPS 2020"
    cost = 2.7
    networks = 2
    turns = ((0,), (1,))
    source_recipe = Recipe(
        epochs=200, batch_size=128, optimiser="sgd", learning_rate=0.02, weight_decay=5e-4,
        schedule="steps", milestones=(150,),
    )  # fmt: skip
    source_options = {"ema_steps": 40_000}  # noqa: RUF012

    def start(self, fit: Fit) -> None:
        """A table of targets and a weight average for each network."""
        for k in range(2):
            fit.state[f"target{k}"] = fit.table(fit.classes)
            fit.modules[f"ema{k}"] = deepcopy(fit.nets[k]).requires_grad_(False)

    def loss(self, fit: Fit, batch: Batch, networks: Sequence[int]) -> Tensor:
        """Steps 1 to 5: the mixed batch, and the other average's view of the unmixed one."""
        (k,) = networks
        m, partner = mixing_weight(self.mixup_alpha), permutation(len(batch.y), batch.x)
        z = fit.forward(mix(batch.x, m, partner), k)
        with torch.no_grad():
            s = F.softmax(forward(fit.modules[f"ema{1 - k}"], batch.x), 1)
            table = fit.state[f"target{k}"]
            target = update_target(table[batch.rows], s, self.beta)
            table[batch.rows] = target
        hot = F.one_hot(batch.y, fit.classes).float()
        weight = self.weight * sigmoid_ramp(batch.step, self.coefficient_steps)
        return mixed_loss(z, mix(hot, m, partner), mix(target, m, partner), weight)

    def after_step(self, fit: Fit, batch: Batch, networks: Sequence[int]) -> None:
        """Step 6: average the parameters; the buffers are the average network's own."""
        (k,) = networks
        length = round(0.57 * fit.total_steps) if self.ema_steps is None else self.ema_steps
        a = self.ema * sigmoid_ramp(batch.step + 1, length)
        pairs = zip(fit.modules[f"ema{k}"].parameters(), fit.nets[k].parameters(), strict=True)
        for average, now in pairs:
            average.lerp_(now, 1 - a)

    def outcome(self, fit: Fit) -> Outcome:
        """From the mean of both tables."""
        return suspicion_of((fit.state["target0"] + fit.state["target1"]) / 2, fit.labels)
