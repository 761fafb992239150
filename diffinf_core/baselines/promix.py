"""ProMix (Xiao et al., IJCAI 2023): select clean samples class by class, then match and mix them.

Written from the paper's equations and the schedule of its experiments. The two networks choose for
themselves; they meet in guessed labels and in the prediction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.baselines.method import Method, Needs, Outcome
from diffinf_core.baselines.mixing import fmix_mask, mix, mixing_weight, permutation
from diffinf_core.baselines.recipe import Recipe
from diffinf_core.baselines.task import Task
from diffinf_core.baselines.training import Batch, Fit, forward
from diffinf_core.records import DiffInfError

#: the last epochs over which it is counted how often a sample is selected
COUNTED = 10
#: selected samples fill at most this fraction of a batch by label guessing
EXPANDED = 0.9


def ramp(e: float, R: float) -> float:
    """min(1, e / R), epochs counted from 0."""
    return min(1.0, e / R) if R else 1.0


def class_wise_selection(
    losses: Tensor, labels: Tensor, rho: float, classes: int, per_class: bool = False
) -> Tensor:
    """CSS: a mask (N,) of the samples of smallest loss in each class.

    The quota of a class with n_j samples is max(1, min(ceil(rho N / C), n_j)); with ``per_class``
    n_j stands for N / C, for classes of unequal size.
    """
    mask = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
    for j in range(classes):
        inside = (labels == j).nonzero()[:, 0]
        size = len(inside) if per_class else len(labels) / classes
        quota = max(1, min(ceil(round(size * rho, 9)), len(inside)))
        mask[inside[losses[inside].argsort(stable=True)[:quota]]] = True
    return mask


def margin_adjusted(z: Tensor, prior: Tensor, a: float) -> Tensor:
    """DML: logits z + a log prior, for every logit that enters a loss."""
    return z + a * prior.log()


def debiased(z: Tensor, prior: Tensor, b: float) -> Tensor:
    """DPL: softmax(z - b log prior), for guessed labels."""
    return F.softmax(z - b * prior.log(), 1)


def sharpened(p: Tensor, T: float = 0.5) -> Tensor:
    """p^(1/T), normalised."""
    q = p ** (1 / T)
    return q / q.sum(1, keepdim=True)


def updated_prior(prior: Tensor, p: Tensor, momentum: float) -> Tensor:
    """The running class prior (C,) after predictions p (B, C); unchanged after none."""
    return prior if len(p) == 0 else momentum * prior + (1 - momentum) * p.mean(0)


def label_guessing(p1: Tensor, p2: Tensor, selected: Tensor, tau: float) -> Tensor:
    """LGA: which samples of a batch (B,) join the selected ones, because both networks agree.

    Most confident first, until the selected ones are int(0.9 B).
    """
    (c1, k1), (c2, k2) = p1.max(1), p2.max(1)
    candidate = ~selected & (c1 > tau) & (c2 > tau) & (k1 == k2)
    room = max(0, int(EXPANDED * len(selected)) - int(selected.sum()))
    confidence = torch.where(candidate, (c1 + c2) / 2, -torch.inf)
    joining = torch.zeros_like(selected)
    joining[confidence.argsort(descending=True, stable=True)[:room]] = True
    return joining & candidate


def unreliable_weight(e: int, window: int) -> float:
    """beta_e: 0.1 ramp(e, window), and 0 from ``window`` on."""
    return 0.1 * ramp(e, window) if e < window else 0.0


class TwoHeads(nn.Module):
    """A classifier and an auxiliary pseudo head on the input of its last linear layer."""

    def __init__(self, net: nn.Module, classes: int) -> None:
        super().__init__()
        self.net = net
        last = [m for m in net.modules() if isinstance(m, nn.Linear)]
        if not last:
            raise DiffInfError("ProMix needs a network whose last layer is linear.")
        self.pseudo = nn.Linear(last[-1].in_features, classes)
        self._features: Tensor | None = None
        last[-1].register_forward_pre_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._features = inputs[0]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 2, C): of the primary head, of the pseudo head."""
        z = self.net(x)
        assert self._features is not None
        features, self._features = self._features, None
        return torch.stack([z, self.pseudo(features)], 1)


@dataclass(frozen=True)
class ProMix(Method):
    """Class-wise small-loss and high-confidence selection, debiased semi-supervised learning.

    ``rho`` is the fraction of each class that is selected (None: 1 - noise rate - 0.1), ramped to
    ``rho_end`` (None: ``rho``). Epoch counts of None are those of the authors' 600 epochs in
    proportion, with room for short trainings. ``confidence_penalty`` is for asymmetric noise.
    """

    rho: float | None = None
    rho_end: float | None = None
    tau: float = 0.99
    bias: float = 0.8
    temperature: float = 0.5
    prior_momentum: float = 0.99
    per_class: bool = True
    warm_up: int | None = None
    ramp_epochs: int | None = None
    unreliable_epochs: int | None = None
    expand_epochs: int | None = None
    confidence_penalty: bool = False

    name = "promix"
    title = "ProMix"
    paper = "Xiao et al., IJCAI 2023"
    needs = Needs(noise_rate=True)
    cost = 10.5
    networks = 2
    turns = ((0, 1),)
    source_recipe = Recipe(
        epochs=600, batch_size=256, optimiser="sgd", learning_rate=0.05, weight_decay=5e-4,
        schedule="cosine", floor=1e-3,
    )  # fmt: skip
    source_options = {  # noqa: RUF012
        "prior_momentum": 0.9999, "per_class": False, "warm_up": 10, "ramp_epochs": 50,
        "unreliable_epochs": 100, "expand_epochs": 250,
    }  # fmt: skip

    def check(self, task: Task) -> None:
        """A given rho stands for the noise rate."""
        if self.rho is None:
            super().check(task)
        else:
            task.check(self.title)

    def build(self, task: Task) -> nn.Module:
        """A network with both heads."""
        return TwoHeads(task.network(task.classes), task.classes)

    def logits(self, nets: list[nn.Module], x: Tensor) -> Tensor:
        """The mean of the primary heads' logits."""
        return torch.stack([forward(net, x)[:, 0] for net in nets]).mean(0)

    def _epochs(self, fit: Fit, value: int | None, fraction: float) -> int:
        return max(1, round(fraction * fit.epochs)) if value is None else value

    def _rho(self, fit: Fit) -> float:
        start = self.rho
        if start is None:
            start = max(0.1, 1 - fit.task.known_noise_rate(self.title) - 0.1)
        end = start if self.rho_end is None else self.rho_end
        length = self._epochs(fit, self.ramp_epochs, 0.1)
        return start + (end - start) * ramp(fit.epoch, length)

    def start(self, fit: Fit) -> None:
        """Selections, counts, and uniform priors."""
        for k in range(2):
            fit.state[f"selected{k}"] = fit.table().bool()
            for name in ("prior", "unreliable"):
                fit.state[f"{name}{k}"] = torch.full(
                    (fit.classes,), 1 / fit.classes, device=fit.where
                )
        fit.state["count"] = fit.table()
        fit.state["label"] = fit.labels.clone()

    def _warming(self, fit: Fit) -> bool:
        return fit.epoch < self._epochs(fit, self.warm_up, 0.05)

    def begin_epoch(self, fit: Fit) -> None:
        """CSS by each network's losses in evaluation mode, without augmentation."""
        if self._warming(fit):
            return
        for k in range(2):
            z = fit.logits(k)[:, 0]
            losses = F.cross_entropy(z, fit.labels, reduction="none")
            fit.state[f"selected{k}"] = class_wise_selection(
                losses, fit.labels, self._rho(fit), fit.classes, self.per_class
            )

    def loss(self, fit: Fit, batch: Batch, networks: Sequence[int]) -> Tensor:
        """The sum over both networks."""
        heads = [fit.forward(batch.x, k) for k in networks]
        if self._warming(fit):
            primary = [z[:, 0] for z in heads]
            loss = sum((F.cross_entropy(z, batch.y) for z in primary), torch.zeros(()))
            if self.confidence_penalty:
                for z in primary:
                    loss = loss + (F.softmax(z, 1) * F.log_softmax(z, 1)).sum(1).mean()
            return loss
        strong = batch.strong()
        p = [F.softmax(z[:, 0].detach(), 1) for z in heads]
        terms = [self._network_loss(fit, batch, k, heads[k], p, strong) for k in networks]
        return terms[0] + terms[1]

    def _network_loss(
        self, fit: Fit, batch: Batch, k: int, z: Tensor, p: list[Tensor], strong: Tensor
    ) -> Tensor:
        """Steps 2 to 9 for network k: logits z (B, 2, C), softmax p of both, strong view (B, ...)."""
        prior, unreliable = fit.state[f"prior{k}"], fit.state[f"unreliable{k}"]
        chosen = fit.state[f"selected{k}"][batch.rows]
        chosen = chosen | (p[k].gather(1, batch.y[:, None])[:, 0] > self.tau)  # MHCS
        guess = debiased(z[:, 0].detach(), prior, self.bias).argmax(1)
        label = torch.where(chosen, batch.y, guess)
        if fit.epoch >= fit.epochs - COUNTED:
            fit.state["count"][batch.rows[chosen]] += 0.5
            fit.state["label"][batch.rows] = label
        selected = chosen
        if fit.epoch >= fit.epochs - self._epochs(fit, self.expand_epochs, 0.4):
            selected = chosen | label_guessing(p[0], p[1], chosen, self.tau)
        S, U = selected.nonzero()[:, 0], (~selected).nonzero()[:, 0]
        w_e = ramp(fit.epoch, self._epochs(fit, self.ramp_epochs, 0.1))
        beta_e = unreliable_weight(fit.epoch, self._epochs(fit, self.unreliable_epochs, 0.2))
        # the strong view is worth its forward only where a term has weight; BatchNorm needs two
        z_strong = fit.forward(strong, k) if w_e > 0 else z
        loss = 0 * z.sum()
        for head in range(2):
            if len(S):
                y = label[S]
                loss = loss + F.cross_entropy(margin_adjusted(z[S, head], prior, self.bias), y)
                if w_e > 0:
                    adjusted = margin_adjusted(z_strong[S, head], prior, self.bias)
                    loss = loss + w_e * F.cross_entropy(adjusted, y)
                if w_e > 0 and len(S) > 1:
                    loss = loss + w_e * self._mixed(fit, batch.x[S], y, k, head, prior)
        if len(U) and beta_e > 0:
            t = sharpened(debiased(z[U, 0].detach(), unreliable, self.bias), self.temperature)
            weak = F.cross_entropy(margin_adjusted(z[U, 1], unreliable, self.bias), t)
            hard = F.cross_entropy(margin_adjusted(z_strong[U, 1], unreliable, self.bias), t)
            loss = loss + beta_e * (weak + w_e * hard)
        m = self.prior_momentum
        fit.state[f"prior{k}"] = updated_prior(prior, p[k][S], m)
        fit.state[f"unreliable{k}"] = updated_prior(unreliable, p[k][U], m)
        return loss

    def _mixed(self, fit: Fit, x: Tensor, y: Tensor, k: int, head: int, prior: Tensor) -> Tensor:
        """Mixup and, of pictures, FMix among the selected samples."""
        m, partner = mixing_weight(4.0), permutation(len(y), x)
        z = fit.forward(mix(x, m, partner), k)[:, head]
        soft = mix(F.one_hot(y, fit.classes).float(), m, partner)
        loss = F.cross_entropy(margin_adjusted(z, prior, self.bias), soft)
        if x.dim() != 4:
            return loss
        m, partner = float(torch.rand(())), permutation(len(y), x)  # Beta(1, 1)
        mask = fmix_mask((x.shape[2], x.shape[3]), m).to(x.device)
        z = margin_adjusted(
            fit.forward(mask * x + (1 - mask) * x[partner], k)[:, head], prior, self.bias
        )
        return loss + m * F.cross_entropy(z, y) + (1 - m) * F.cross_entropy(z, y[partner])

    def outcome(self, fit: Fit) -> Outcome:
        """Suspicion: how often a sample was not selected in the last epochs."""
        rate: NDArray[np.float64] = fit.state["count"].double().cpu().numpy()
        rate = rate / min(COUNTED, fit.epochs)
        return Outcome(1 - rate, rate > 0.5, fit.state["label"].cpu().numpy())
