"""DivideMix (Li, Socher and Hoi, ICLR 2020): what a mixture model calls noisy becomes unlabelled.

Two networks divide the data for each other; each is trained by MixMatch on clean labels, refined, and on
the rest, guessed.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.baselines.method import Method, Needs, Outcome
from diffinf_core.baselines.mixing import mix, mixing_weight, permutation
from diffinf_core.baselines.recipe import Recipe
from diffinf_core.baselines.task import Task
from diffinf_core.baselines.training import Batch, Fit, forward

_WEIGHT, _LOW_NOISE = 25.0, 0.2


def clean_probability(losses: NDArray[np.floating], seed: int = 0) -> NDArray[np.float64]:
    """P(clean) of each sample (N,): the component of smaller mean of two Gaussians over its loss.

    The losses are scaled to [0, 1] first; equal losses are all clean.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    spread = losses.max() - losses.min()
    if not spread > 0:
        return np.ones(len(losses))
    scaled = ((losses - losses.min()) / spread).astype(np.float64).reshape(-1, 1)
    mixture = GaussianMixture(2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ten iterations are the algorithm's
        mixture.fit(scaled)
    return mixture.predict_proba(scaled)[:, mixture.means_.argmin()]


def sharpen(p: Tensor, T: float) -> Tensor:
    """p^(1/T), normalised."""
    q = p ** (1 / T)
    return q / q.sum(1, keepdim=True)


def refined_label(y: Tensor, p: Tensor, w: Tensor, T: float) -> Tensor:
    """Co-refinement: the label (B, C) trusted by w (B,), else the prediction p (B, C)."""
    return sharpen(w[:, None] * y + (1 - w)[:, None] * p, T)


def prior_penalty(p: Tensor, prior: Tensor) -> Tensor:
    """KL(prior || mean prediction), against one class taking all."""
    mean = p.mean(0).clamp_min(1e-12)
    return (prior * (prior / mean).clamp_min(1e-12).log()).sum()


@dataclass(frozen=True)
class DivideMix(Method):
    """Two networks, a mixture model and MixMatch.

    ``unlabelled_weight`` is lambda_u, None for 25, or 0 up to 20 % noise. ``warm_up`` and ``ramp``
    are epochs, None for a tenth and a twentieth of the training. ``balanced`` holds predictions to
    equal classes; without it, to the frequencies of the labels.
    """

    threshold: float = 0.5
    temperature: float = 0.5
    alpha: float = 4.0
    unlabelled_weight: float | None = None
    warm_up: int | None = None
    ramp: int | None = None
    balanced: bool = True

    name = "dividemix"
    title = "DivideMix"
    paper = "Li et al., ICLR 2020"
    needs = Needs(noise_rate=True)
    cost = 10.0
    networks = 2
    turns = ((0,), (1,))
    source_recipe = Recipe(
        epochs=300, batch_size=64, optimiser="sgd", learning_rate=0.02, weight_decay=5e-4,
        schedule="steps", milestones=(150,),
    )  # fmt: skip
    source_options = {"warm_up": 10, "ramp": 16}  # noqa: RUF012

    def check(self, task: Task) -> None:
        """A given weight stands for the noise rate."""
        if self.unlabelled_weight is None:
            super().check(task)
        else:
            task.check(self.title)

    def _warm_up(self, fit: Fit) -> int:
        return max(1, round(0.1 * fit.epochs)) if self.warm_up is None else self.warm_up

    def start(self, fit: Fit) -> None:
        """Everything is clean at first."""
        for k in range(2):
            fit.state[f"clean{k}"] = fit.table(fill=1.0)
        prior = torch.ones(fit.classes, device=fit.where)
        if not self.balanced:
            prior = torch.bincount(fit.labels, minlength=fit.classes).float()
        fit.state["prior"] = prior / prior.sum()

    def _divide(self, fit: Fit) -> None:
        for k in range(2):
            losses = F.cross_entropy(fit.logits(k), fit.labels, reduction="none")
            found = clean_probability(losses.cpu().numpy(), fit.task.seed)
            fit.state[f"clean{k}"] = torch.from_numpy(found).float().to(fit.where)

    def begin_epoch(self, fit: Fit) -> None:
        """Co-divide: each network's losses are modelled."""
        if fit.epoch >= self._warm_up(fit):
            self._divide(fit)

    def _labelled(self, fit: Fit, k: int) -> Tensor:
        """Which samples network k trains on with their label (N,), by the other network's losses."""
        mask = fit.state[f"clean{1 - k}"] > self.threshold
        return mask if int(mask.sum()) > 1 else torch.ones_like(mask)

    def order(self, fit: Fit, networks: Sequence[int]) -> Tensor:
        """The labelled samples; as many unlabelled ones are drawn with each batch."""
        rows = self._labelled(fit, networks[0]).nonzero()[:, 0].cpu()
        return rows[torch.randperm(len(rows))]

    def loss(self, fit: Fit, batch: Batch, networks: Sequence[int]) -> Tensor:
        """MixMatch for one network: on refined labels, on guessed ones, and the penalty."""
        (k,) = networks
        if fit.epoch < self._warm_up(fit):
            return F.cross_entropy(fit.forward(batch.x, k), batch.y)
        inputs, targets = self._labelled_part(fit, batch, k)
        labelled = len(inputs)
        rest = (~self._labelled(fit, k)).nonzero()[:, 0].cpu()
        if len(rest):
            drawn = rest[torch.randperm(len(rest))[: len(batch.y)]]
            more, guessed = self._unlabelled_part(fit, fit.batch(drawn, batch.step), k)
            inputs, targets = torch.cat([inputs, more]), torch.cat([targets, guessed])
        m, partner = mixing_weight(self.alpha), permutation(len(inputs), inputs)
        z = fit.forward(mix(inputs, m, partner), k)
        soft, p = mix(targets, m, partner), F.softmax(z, 1)
        loss = F.cross_entropy(z[:labelled], soft[:labelled])
        weight = self._weight(fit)
        if len(rest) and weight > 0:
            loss = loss + weight * F.mse_loss(p[labelled:], soft[labelled:])
        return loss + prior_penalty(p, fit.state["prior"])

    def _weight(self, fit: Fit) -> float:
        length = max(1, round(0.05 * fit.epochs)) if self.ramp is None else self.ramp
        weight = self.unlabelled_weight
        if weight is None:
            low = fit.task.known_noise_rate(self.title) <= _LOW_NOISE
            weight = 0.0 if low else _WEIGHT
        return weight * min(1.0, (fit.epoch - self._warm_up(fit)) / length)

    @torch.no_grad()
    def _labelled_part(self, fit: Fit, batch: Batch, k: int) -> tuple[Tensor, Tensor]:
        """Two views (2B, ...) and their refined labels (2B, C)."""
        views = [batch.x, batch.weak()]
        p = torch.stack([F.softmax(fit.forward(x, k), 1) for x in views]).mean(0)
        y = F.one_hot(batch.y, fit.classes).float()
        target = refined_label(y, p, fit.state[f"clean{1 - k}"][batch.rows], self.temperature)
        return torch.cat(views), torch.cat([target, target])

    @torch.no_grad()
    def _unlabelled_part(self, fit: Fit, batch: Batch, k: int) -> tuple[Tensor, Tensor]:
        """Two views and the labels that both networks guess over both (co-guessing)."""
        views = [batch.x, batch.weak()]
        other = fit.nets[1 - k].eval()
        guesses = [F.softmax(forward(net, x), 1) for net in (fit.nets[k], other) for x in views]
        other.train()
        target = sharpen(torch.stack(guesses).mean(0), self.temperature)
        return torch.cat(views), torch.cat([target, target])

    def outcome(self, fit: Fit) -> Outcome:
        """Suspicion: the probability of being noisy, mean of both networks."""
        self._divide(fit)
        clean = ((fit.state["clean0"] + fit.state["clean1"]) / 2).double().cpu().numpy()
        corrected = (fit.logits(0) + fit.logits(1)).argmax(1).cpu().numpy()
        return Outcome(1 - clean, clean > self.threshold, corrected)
