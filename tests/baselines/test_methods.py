"""Toy numbers through the methods themselves: their losses, hooks, defaults and schedules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.baselines import METHODS, Method, Recipe, make_method
from diffinf_core.baselines import elr_plus as elr_plus_module
from diffinf_core.baselines.aum import AUM, _Margins
from diffinf_core.baselines.coteaching import CoTeaching
from diffinf_core.baselines.cross_entropy import CrossEntropy
from diffinf_core.baselines.elr import ELR
from diffinf_core.baselines.elr_plus import ELRPlus
from diffinf_core.baselines.mixing import mixing_weight
from diffinf_core.baselines.promix import ProMix, label_guessing
from diffinf_core.baselines.proselflc import ProSelfLC
from diffinf_core.baselines.removal import most_suspicious
from diffinf_core.baselines.small_loss import SmallLoss
from diffinf_core.baselines.sop import SOP
from diffinf_core.baselines.training import Batch, Fit
from diffinf_core.classifier.training import snapshot_epochs
from diffinf_core.config import ClassifierConfig
from diffinf_core.data.noise import add_inclusive_noise
from diffinf_core.influence.self_influence import self_influence
from tests.baselines.blobs import blob_task
from tests.baselines.formulas import P, Y, gradient, logits, near, two_logits


def fitted(
    method: Method, z: Tensor | Sequence[Tensor], y: Tensor, step: int = 0, epochs: int = 20
) -> tuple[Fit, Batch]:
    """A training whose networks predict logits ``z`` (B, C), one for each, for one batch."""
    each = [z] * method.networks if isinstance(z, Tensor) else list(z)
    classes = each[0].shape[1]
    task, _, _ = blob_task(max(12, len(y)), classes, recipe=Recipe(epochs=epochs))
    fit = Fit(method, task)
    fit.forward = lambda x, k=0: each[k]  # type: ignore[method-assign]
    rows, x = torch.arange(len(y)), torch.zeros(len(y), 2)
    return fit, Batch(rows, x, y, step, x, task)


def test_plain_training_is_cross_entropy() -> None:
    z = torch.tensor([[2.0, 0, 0]], dtype=torch.float64)
    for label, loss in ((0, 0.239545), (1, 2.239545)):
        fit, batch = fitted(CrossEntropy(), z, torch.tensor([label]))
        assert float(CrossEntropy().loss(fit, batch, (0,))) == pytest.approx(loss, abs=1e-6)


def test_small_loss_divides_by_what_it_keeps_once() -> None:
    z = two_logits(torch.tensor([0.1, 2.0, 0.3, 0.05, 1.2]))
    method = SmallLoss(forget_rate=0.4, ramp=1)
    fit, batch = fitted(method, z, torch.zeros(5, dtype=torch.long))
    fit.epoch = 19
    assert float(method.loss(fit, batch, (0,))) == pytest.approx(0.15, abs=1e-6)


def test_coteaching_gives_each_network_the_gradient_of_the_others_choice() -> None:
    a, b = torch.tensor([0.1, 0.9, 0.7, 0.2]), torch.tensor([0.8, 0.1, 0.4, 0.6])
    za, zb = (two_logits(losses).requires_grad_() for losses in (a, b))
    method = CoTeaching(forget_rate=0.5, ramp=1)
    fit, batch = fitted(method, (za, zb), torch.zeros(4, dtype=torch.long))
    fit.epoch = 19
    found = torch.autograd.grad(method.loss(fit, batch, (0, 1)), (za, zb))
    for g, z, rows in zip(found, (za, zb), ([1, 2], [0, 3]), strict=True):
        wanted = torch.zeros(4, 2)
        wanted[rows] = (F.softmax(z, 1) - torch.tensor([1.0, 0]))[rows].detach() / 2
        torch.testing.assert_close(g, wanted)


def test_elr_plus_mixes_labels_and_targets_with_one_partner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """-.554031 for the first sample, and for the second, by hand, 1.050724 + 3 log(1 - .337)."""
    target = torch.tensor([[0.6, 0.2, 0.2], [0.1, 0.8, 0.1]])
    monkeypatch.setattr(elr_plus_module, "mixing_weight", lambda alpha: 0.7)
    monkeypatch.setattr(elr_plus_module, "permutation", lambda n, like: torch.tensor([1, 0]))
    monkeypatch.setattr(elr_plus_module, "forward", lambda net, x: target.log())
    method = ELRPlus()
    z = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]).log()
    fit, batch = fitted(method, z, torch.tensor([0, 1]))
    fit.state["target0"][:2] = target
    found = float(method.loss(fit, batch, (0,)))
    assert found == pytest.approx((-0.554031 + 1.050724 + 3 * np.log(1 - 0.337)) / 2, abs=1e-5)


def average_of_one_and_zero(method: Method, fit: Fit, batch: Batch) -> None:
    """Average networks of ones with trained ones of zeros: what is left is the factor."""
    pairs = zip(fit.modules["ema0"].parameters(), fit.nets[0].parameters(), strict=True)
    with torch.no_grad():
        for average, now in pairs:
            average.fill_(1)
            now.zero_()
        method.after_step(fit, batch, (0,))


@pytest.mark.parametrize(
    "settings,step,factor",
    [
        ({"ema_steps": 1000}, -1, 0.006718),
        ({"ema_steps": 1000}, 499, 0.285645),
        ({"ema_steps": 1000}, 999, 0.997),
        # 57 % of 2,400 steps
        ({}, 683, 0.285645),
        ({}, 1367, 0.997),
    ],
)
def test_elr_plus_averages_by_its_ramp(settings: dict[str, int], step: int, factor: float) -> None:
    method = ELRPlus(**settings)
    fit, batch = fitted(method, torch.zeros(1, 3), Y, step, epochs=2400)
    assert fit.total_steps == 2400
    average_of_one_and_zero(method, fit, batch)
    for average in fit.modules["ema0"].parameters():
        torch.testing.assert_close(average, torch.full_like(average, factor), atol=1e-6, rtol=0)


def test_the_authors_ramp_averages_nothing_in_a_short_training() -> None:
    method = make_method("elr_plus", "source")
    fit, batch = fitted(method, torch.zeros(1, 3), Y, step=2849)
    average_of_one_and_zero(method, fit, batch)
    assert float(next(fit.modules["ema0"].parameters()).mean()) == pytest.approx(0.01335, abs=1e-5)


def test_a_mixing_weight_below_one_half_is_turned_round(monkeypatch: pytest.MonkeyPatch) -> None:
    for drawn, weight in ((0.3, 0.7), (0.8, 0.8)):
        monkeypatch.setattr(
            torch.distributions.Beta, "sample", lambda self, drawn=drawn: torch.tensor(drawn)
        )
        assert mixing_weight(1.0) == pytest.approx(weight)


def test_proselflc_counts_its_steps_from_one() -> None:
    p = torch.tensor([[0.95, 0.01, 0.04]], dtype=torch.float64)
    method = ProSelfLC()
    fit, batch = fitted(method, logits(p), torch.tensor([2]), step=17, epochs=20)
    assert fit.total_steps == 20
    loss = method.loss(fit, batch, (0,))
    assert loss.item() == pytest.approx(0.875912, abs=2e-5), "t = 18 / 20"


def test_promix_epochs_and_selected_fraction_follow_the_training() -> None:
    task, _, _ = blob_task(12, recipe=Recipe(epochs=100))
    fit, method = Fit(ProMix(), task), ProMix()
    assert [method._epochs(fit, None, f) for f in (0.05, 0.1, 0.2, 0.4)] == [5, 10, 20, 40]
    warming = []
    for fit.epoch in range(8):
        warming.append(method._warming(fit))
    assert warming == [True] * 5 + [False] * 3
    fit.epoch = 0
    ramped = ProMix(rho=0.5, rho_end=0.7)
    for fit.epoch, rho in ((0, 0.5), (5, 0.6), (10, 0.7), (99, 0.7)):
        assert ramped._rho(fit) == pytest.approx(rho)
    for rate, rho in ((0.3, 0.6), (0.2, 0.7)):
        fit.task = replace(task, noise_rate=rate)
        assert method._rho(fit) == pytest.approx(rho)


def test_promix_guesses_by_the_mean_of_both_confidences() -> None:
    selected = torch.tensor([True] * 5 + [False] * 3)
    p1, p2 = torch.zeros(8, 3), torch.zeros(8, 3)
    for p, confidences in ((p1, (0.9999, 0.9920, 0.9945)), (p2, (0.9920, 0.9999, 0.9945))):
        for i, c in zip((5, 6, 7), confidences, strict=True):
            p[i] = torch.tensor([c, 1 - c, 0])
    assert label_guessing(p1, p2, selected, 0.99).nonzero()[:, 0].tolist() == [5, 6]


def test_aum_averages_margins_over_epochs() -> None:
    method, y = _Margins(), torch.tensor([0])
    fit, batch = fitted(method, torch.zeros(1, 3), y, epochs=2)
    for fit.epoch, z in enumerate(([3.0, 1, 0], [0.5, 1, 0])):  # margins 2 and -.5
        fit.forward = lambda x, k=0, z=z: torch.tensor([z])  # type: ignore[method-assign,misc]
        method.loss(fit, batch, (0,))
    suspicion = method.outcome(fit).suspicion
    assert suspicion is not None and suspicion[0] == pytest.approx(-0.75)


def test_threshold_samples_are_a_class_more_and_in_the_authors_code_a_third() -> None:
    task, _, _ = blob_task(12, 3)
    assert AUM()._count(task) == 3 and AUM(poisoned="code")._count(task) == 4
    assert make_method("aum", "source")._count(task) == 4  # type: ignore[attr-defined]


def test_sop_adds_cross_entropy_and_square_term() -> None:
    method = SOP()
    fit, batch = fitted(method, P.log(), Y)
    fit.state["u"] = torch.full((12, 1), 0.5, dtype=torch.float64)
    fit.state["v"] = torch.tensor([[0.4, 0.1, 0.3]], dtype=torch.float64).repeat(12, 1)
    loss = method.loss(fit, batch, (0,))
    assert loss.item() == pytest.approx(0.798508 + 1.2762, abs=1e-6)


def test_constants_of_the_papers_are_the_defaults() -> None:
    assert (ELR().weight, ELR().beta, ELRPlus().weight, ELRPlus().beta) == (3, 0.7, 3, 0.7)
    assert (ProMix().bias, ProMix().tau) == (0.8, 0.99)
    assert (ProSelfLC().sharpness, ProSelfLC().theta, ProSelfLC().target) == (10, 0.5, "coupled")


def test_costs_are_those_of_the_passes() -> None:
    """A forward pass is 1, with backward 3; relative to plain training."""
    passes = {
        "noisy": 1, "small_loss": 1, "coteaching": 2, "elr": 1, "elr_plus": 2 * (3 + 1) / 3,
        "proselflc": 1, "removal": 2, "repair": 2, "sop": 1, "aum": 3, "cleanlab": 5,
        # of each network two passes on all and four on the selected .8, with backward; two to select
        "promix": (12 + 24 * 0.8) / 3,
    }  # fmt: skip
    for name, cost in passes.items():
        assert METHODS[name].cost == pytest.approx(cost, rel=0.02), name


@pytest.mark.parametrize("classes,rate,wrong", [(3, 0.3, 0.2), (4, 0.2, 0.15), (10, 0.2, 0.18)])
def test_inclusive_noise_is_wrong_less_often_than_its_rate(
    classes: int, rate: float, wrong: float
) -> None:
    n = 100_000
    found = add_inclusive_noise(np.arange(n) % classes, classes, rate, 0)[1].mean()
    spread = np.sqrt(rate * (1 / classes) * (1 - 1 / classes) / n)
    assert abs(found - wrong) < 4 * spread


@pytest.mark.parametrize("rate", [0.3, 0.2])
def test_a_perfect_edit_of_a_tenth_leaves_the_rest_wrong(rate: float) -> None:
    wrong = np.arange(1000) < rate * 1000
    edited = most_suspicious(wrong.astype(float), 0.1)
    assert (wrong & ~edited).mean() == pytest.approx(rate - 0.1)


def test_ten_checkpoints_of_a_hundred_epochs() -> None:
    config = ClassifierConfig(epochs=100, checkpoints=10)
    assert snapshot_epochs(config) == list(range(10, 101, 10))


@pytest.mark.parametrize("bias,score", [(True, 6.84), (False, 5.70)])
def test_self_influence_of_a_linear_layer(bias: bool, score: float) -> None:
    """||p - y||^2 ||h||^2 = 1.14 (1 + 4), and 1.14 more with a bias; twice at eta 1e-4: 1.368e-3."""
    h = torch.tensor([1.0, 2.0])
    net = nn.Linear(2, 3, bias=bias)
    with torch.no_grad():
        net.weight.copy_(torch.zeros(3, 2) if bias else torch.outer(P[0].log().float(), h) / 5)
        if bias:
            net.bias.copy_(P[0].log())
    data = [(h, int(Y))]
    assert float(self_influence(net, data).result()["score"][0]) == pytest.approx(score, abs=1e-5)
    weights = net.state_dict()
    twice = self_influence(net, data, checkpoints=[weights, weights], learning_rates=1e-4).result()
    assert float(twice["score"][0]) == pytest.approx(2e-4 * score, abs=1e-9)
    p_y = gradient(F.cross_entropy(z := logits(P), Y), z)
    assert np.square(p_y).sum() == pytest.approx(1.14)
    assert p_y == near(0.7, -0.8, 0.1)
