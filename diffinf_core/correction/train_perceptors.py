"""Training of the shipped perceptors and the judge on rendered scenes; one loss per network.

Every training is a generator of progress events. Its final validation figures are measured on people
that no training batch contained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.correction.networks import IdentityNet, JudgeNet, ParsingNet, PerceptualTrunk
from diffinf_core.data.part import to_tensor
from diffinf_core.data.rendered import faces
from diffinf_core.data.rendered.scenes import SCENES_PER_PERSON, Scenes
from diffinf_core.records import Progress
from diffinf_core.runs.divergence import check_loss

HELD_OUT_SCENES = 600


@dataclass(frozen=True)
class NetworkTraining:
    """Steps, batch size and peak rate of one network's training."""

    steps: int
    batch: int
    rate: float = 2e-3


RECIPES = {
    "identity": NetworkTraining(steps=4000, batch=128),
    "parsing": NetworkTraining(steps=2000, batch=48),
    "perceptual": NetworkTraining(steps=1000, batch=96, rate=1e-3),
    "judge": NetworkTraining(steps=3000, batch=96, rate=1.5e-3),
}


class _WithHead(nn.Module):
    """The perceptual trunk under the head it is trained with; only the trunk is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = PerceptualTrunk()
        self.project = nn.Linear(self.trunk.width * 16, 128)

    def forward(self, x: Tensor) -> Tensor:
        last = F.adaptive_avg_pool2d(self.trunk(x)[-1], 4)
        return F.normalize(self.project(last.flatten(1)), dim=1)


class _Pool:
    """Random pictures of the training scenes, or of the held-out ones."""

    def __init__(self, scenes: Scenes, held_out: bool, rng: np.random.Generator) -> None:
        self.s, self.rng = scenes, rng
        # The last scenes are held out; whole persons, because persons own consecutive scenes.
        cut = len(scenes) - HELD_OUT_SCENES
        self.rows = np.arange(cut, len(scenes)) if held_out else np.arange(cut)

    def sample(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = np.sort(self.rng.choice(self.rows, n))
        return rows, self.rng.integers(0, 2, n), self.rng.integers(0, 2, n)

    def images(self, rows: np.ndarray, e: np.ndarray, a: np.ndarray) -> Tensor:
        return to_tensor(self.s.images[rows, e, a])


def _soften(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Augment by random blur and noise: a generator's pictures are a little soft."""
    if rng.random() < 0.4:
        blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), "replicate"), 3, 1)
        weight = rng.uniform(0.2, 0.8)
        x = blurred * weight + x * (1 - weight)
    if rng.random() < 0.4:
        x = x + rng.uniform(0.01, 0.06) * torch.randn_like(x)
    return x


def _contrast(a: Tensor, b: Tensor, temperature: float = 0.1) -> Tensor:
    """Symmetric InfoNCE: row i of ``a`` matches row i of ``b``."""
    logits = a @ b.T / temperature
    target = torch.arange(len(a))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _identity_loss(net: nn.Module, pool: _Pool, n: int) -> Tensor:
    # Two different photographs of each of n / 2 persons.
    rows, e, a = pool.sample(4 * n)
    person = pool.s.person[rows]
    _, first = np.unique(person, return_index=True)
    first = pool.rng.permutation(first)[: n // 2]
    rows, e, a = rows[first], e[first], a[first]
    other = pool.s.person[rows] * SCENES_PER_PERSON
    other = other + pool.rng.integers(0, SCENES_PER_PERSON, len(rows))
    other = np.minimum(other, pool.rows[-1])
    e2, a2 = pool.rng.integers(0, 2, (2, len(rows)))
    x = torch.cat([pool.images(rows, e, a), pool.images(other, e2, a2)])
    one, two = net(_soften(x, pool.rng)).chunk(2)
    return _contrast(one, two)


def _parsing_loss(net: nn.Module, pool: _Pool, n: int) -> Tensor:
    where = pool.sample(n)
    target = torch.from_numpy(pool.s.parts[where].astype(np.int64))
    logits = net(_soften(pool.images(*where), pool.rng))
    # Eyes and brows are one pixel in a hundred: without weights they are learned last.
    weight = torch.tensor([0.5, 0.7, 0.7, 3.0, 3.0, 1.5, 3.0, 2.0])
    p = F.softmax(logits, 1)
    hot = F.one_hot(target, logits.shape[1]).permute(0, 3, 1, 2)
    overlap = (p * hot).sum((0, 2, 3))
    dice = 1 - (2 * overlap + 1) / (p.sum((0, 2, 3)) + hot.sum((0, 2, 3)) + 1)
    return F.cross_entropy(logits, target, weight) + dice.mean()


def _perceptual_loss(net: nn.Module, pool: _Pool, n: int) -> Tensor:
    x = pool.images(*pool.sample(n))
    views: list[Tensor] = []
    for _ in range(2):
        dx, dy = pool.rng.integers(-3, 4, 2)
        moved = F.pad(x, (3, 3, 3, 3), "replicate")
        moved = moved[:, :, 3 + dy : 3 + dy + x.shape[2], 3 + dx : 3 + dx + x.shape[3]]
        gain = 1 + 0.1 * torch.randn(len(x), 3, 1, 1)
        views.append(net(_soften(moved * gain, pool.rng)))
    return _contrast(views[0], views[1])


def _judge_loss(net: nn.Module, pool: _Pool, n: int) -> Tensor:
    rows, e, a = pool.sample(n)
    x = _soften(pool.images(rows, e, a), pool.rng)
    if pool.rng.random() < 0.5:
        x = x.flip(3)
    expression, age = net(x)
    return F.cross_entropy(
        expression, torch.from_numpy(pool.s.expression[rows, e]), label_smoothing=0.02
    ) + 0.5 * F.cross_entropy(age, torch.from_numpy(pool.s.age[rows, a]), label_smoothing=0.02)


@torch.no_grad()
def _identity_figures(net: nn.Module, pool: _Pool) -> dict[str, float]:
    from sklearn.metrics import roc_auc_score

    rows, e, a = pool.sample(800)
    vectors = torch.cat([net(x) for x in pool.images(rows, e, a).split(200)])
    cosine = (vectors @ vectors.T).numpy()
    same = pool.s.person[rows][:, None] == pool.s.person[rows][None]
    pairs = np.triu(np.ones_like(same), 1).astype(bool)
    return {
        "auc": float(roc_auc_score(same[pairs], cosine[pairs])),
        "same_person_cosine": float(cosine[pairs & same].mean()),
        "stranger_cosine": float(cosine[pairs & ~same].mean()),
        "stranger_cosine_p99": float(np.percentile(cosine[pairs & ~same], 99)),
    }


@torch.no_grad()
def _parsing_figures(net: nn.Module, pool: _Pool) -> dict[str, float]:
    where = pool.sample(400)
    truth = pool.s.parts[where]
    parsed = torch.cat([net(x).argmax(1) for x in pool.images(*where).split(100)]).numpy()
    return {
        f"iou_{name}": float(
            ((parsed == i) & (truth == i)).sum() / max(1, ((parsed == i) | (truth == i)).sum())
        )
        for i, name in enumerate(faces.PARTS)
    }


@torch.no_grad()
def _perceptual_figures(net: nn.Module, pool: _Pool) -> dict[str, float]:
    x = pool.images(*pool.sample(200))
    one, two = (net(x + 0.05 * torch.randn_like(x)) for _ in range(2))
    return {"retrieval_top1": float(((one @ two.T).argmax(1) == torch.arange(200)).float().mean())}


@torch.no_grad()
def _judge_figures(net: nn.Module, pool: _Pool) -> dict[str, float]:
    rows, e, a = pool.sample(1200)
    outs = [net(x) for x in pool.images(rows, e, a).split(200)]
    expression = torch.cat([o[0] for o in outs]).argmax(1).numpy()
    age = torch.cat([o[1] for o in outs]).argmax(1).numpy()
    true_e, true_a = pool.s.expression[rows, e], pool.s.age[rows, a]
    figures = {
        "expression_accuracy": float((expression == true_e).mean()),
        "age_accuracy": float((age == true_a).mean()),
    }
    for i, name in enumerate(faces.EXPRESSIONS):
        figures[f"recall_{name}"] = float((expression == true_e)[true_e == i].mean())
    return figures


_Loss = Callable[[nn.Module, _Pool, int], Tensor]
_Figures = Callable[[nn.Module, _Pool], dict[str, float]]
_PARTS: dict[str, tuple[Callable[[], nn.Module], _Loss, _Figures]] = {
    "identity": (IdentityNet, _identity_loss, _identity_figures),
    "parsing": (ParsingNet, _parsing_loss, _parsing_figures),
    "perceptual": (_WithHead, _perceptual_loss, _perceptual_figures),
    "judge": (
        lambda: JudgeNet((len(faces.EXPRESSIONS), len(faces.AGES))),
        _judge_loss,
        _judge_figures,
    ),
}


def train_network(
    name: str,
    scenes: Scenes,
    done: Callable[[nn.Module, dict[str, float]], None],
    recipe: NetworkTraining | None = None,
    seed: int = 0,
) -> Iterator[Progress]:
    """Train one of "identity", "parsing", "perceptual", "judge" on scenes.

    ``done`` receives the network in evaluation mode and its figures on held-out persons.
    """
    build, loss_of, figures_of = _PARTS[name]
    recipe = recipe or RECIPES[name]
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = build().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), recipe.rate, weight_decay=1e-3)
    pool = _Pool(scenes, False, rng)
    for step in range(recipe.steps):
        cosine = 0.5 * (1 + np.cos(np.pi * step / recipe.steps))
        rate = recipe.rate * min(1.0, (step + 1) / 50) * max(0.01, cosine)
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = loss_of(net, pool, recipe.batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        check_loss(
            loss.item(),
            f"The {name} network's training",
            f"step {step + 1}",
            "train it with a lower rate",
        )
        yield Progress(f"train-{name}", step + 1, recipe.steps, values={"loss": loss.item()})
    net.eval().requires_grad_(False)
    figures = figures_of(net, _Pool(scenes, True, rng))
    done(net.trunk if isinstance(net, _WithHead) else net, figures)
