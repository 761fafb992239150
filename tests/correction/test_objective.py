"""Each term of equation 9: zero where it should be, right gradient, moves what it should."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from diffinf_core.config import RepairConfig
from diffinf_core.correction.objective import (
    Objective,
    identity_loss,
    influence_loss,
    perceptual_distance,
    reconstruction_loss,
    semantic_loss,
    structure_loss,
)
from diffinf_core.correction.perceptors import Perceptors


def net(out: int, seed: int) -> nn.Module:
    """A smooth little network, so that finite differences are meaningful."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.Tanh(), nn.Conv2d(6, out, 3, 1, 1)).double()


def perceptors() -> Perceptors:
    identity, parsing, trunk = net(5, 1), net(4, 2), net(6, 3)
    return Perceptors(
        identity=lambda x: nn.functional.normalize(identity(x).mean((2, 3)), dim=1),
        identity_name="tiny",
        parsing=parsing,
        parsing_name="tiny",
        perceptual=lambda x: [nn.functional.normalize(trunk(x), dim=1)],
        perceptual_name="tiny",
    )


def objective(config: RepairConfig, x: Tensor, y: Tensor) -> Objective:
    head, classifier = net(1, 4), net(3, 5)

    def influence(p: Tensor) -> Tensor:
        return 3 * head(p).mean((1, 2, 3))

    def classify(p: Tensor) -> Tensor:
        return 5 * classifier(p).mean((2, 3))

    return Objective(config, perceptors(), influence, classify, x, y)


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.rand(2, 3, 8, 8, dtype=torch.float64) * 1.6 - 0.8


Y = torch.tensor([0, 2])


def test_terms_that_compare_with_the_original_vanish_on_it(x: Tensor) -> None:
    terms = objective(RepairConfig(w_sem=1), x, Y).terms(x)
    for name in ("identity", "structure", "perceptual", "reconstruction"):
        torch.testing.assert_close(
            terms[name], torch.zeros(2, dtype=torch.float64), atol=1e-7, rtol=0
        )
    assert (terms["influence"] > 0).all() and (terms["semantic"] > 0).all()


def test_values_by_hand() -> None:
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    torch.testing.assert_close(identity_loss(a, a.flip(1)), torch.ones(2))
    torch.testing.assert_close(identity_loss(a, -a), torch.full((2,), 2.0))
    torch.testing.assert_close(
        influence_loss(torch.zeros(1)), torch.tensor([0.6931472])
    )  # h = 1/2: -log(1 - h)
    logits = torch.tensor([[2.0, 0.0, 0.0]])
    torch.testing.assert_close(semantic_loss(logits, torch.tensor([0])), torch.tensor([0.239545]))
    flat = torch.zeros(1, 2, 1, 1)
    sure = torch.tensor([[[[1.0]], [[0.0]]]])
    torch.testing.assert_close(structure_loss(flat, sure), torch.tensor([0.5]))
    features = [torch.tensor([[[[1.0]], [[0.0]]]])]
    reference = [torch.tensor([[[[0.0]], [[1.0]]]])]
    torch.testing.assert_close(perceptual_distance(features, reference), torch.tensor([2.0]))
    torch.testing.assert_close(
        reconstruction_loss(torch.full((1, 3, 2, 2), 0.25), torch.zeros(1, 3, 2, 2)),
        torch.tensor([0.25]),
    )


@pytest.mark.parametrize(
    "weights",
    [
        {"w_id": 1, "w_reg": 0, "w_si": 0},
        {"w_id": 0, "w_reg": 1, "lambda_perc": 0, "w_si": 0},
        {"w_id": 0, "w_reg": 1, "lambda_struct": 0, "w_si": 0},
        {"w_id": 0, "w_reg": 0, "w_si": 1},
        {"w_id": 0, "w_reg": 0, "w_si": 0, "w_sem": 1},
        {"w_id": 0.7, "w_reg": 1.3, "w_si": 0.4, "w_sem": 0.2},
    ],
)
def test_gradients_match_finite_differences(x: Tensor, weights: dict[str, float]) -> None:
    goal = objective(RepairConfig(**weights), x, Y)
    # Away from the original, where no term has a kink.
    point = (x + 0.1 * torch.randn_like(x)).clamp(-0.95, 0.95).requires_grad_(True)
    (g,) = torch.autograd.grad(goal.loss(goal.terms(point)).sum(), point)
    way = torch.randn_like(x)
    h = 1e-6
    with torch.no_grad():
        up, down = (goal.loss(goal.terms(point + s * h * way)).sum() for s in (1, -1))
    assert float((g * way).sum()) == pytest.approx(float((up - down) / (2 * h)), rel=1e-4)


@pytest.mark.parametrize(
    "name,weights",
    [
        ("identity", {"w_id": 1, "w_reg": 0, "w_si": 0}),
        ("structure", {"w_id": 0, "w_reg": 1, "lambda_perc": 0, "w_si": 0}),
        ("perceptual", {"w_id": 0, "w_reg": 1, "lambda_struct": 0, "w_si": 0}),
        ("influence", {"w_id": 0, "w_reg": 0, "w_si": 1}),
        ("semantic", {"w_id": 0, "w_reg": 0, "w_si": 0, "w_sem": 1}),
    ],
)
def test_each_term_alone_lowers_its_own_value(
    x: Tensor, name: str, weights: dict[str, float]
) -> None:
    goal = objective(RepairConfig(**weights), x, Y)
    moving = (x + 0.2 * torch.randn_like(x)).clamp(-1, 1)
    before = goal.terms(moving)[name].sum()
    for _ in range(20):
        p = moving.detach().requires_grad_(True)
        (g,) = torch.autograd.grad(goal.loss(goal.terms(p)).sum(), p)
        moving = p.detach() - 0.05 * g / g.norm()
    assert goal.terms(moving)[name].sum() < 0.95 * before


def test_a_zero_weight_costs_no_network_call(x: Tensor) -> None:
    config = RepairConfig(w_id=0, w_reg=0, w_si=1)
    assert set(objective(config, x, Y).terms(x)) == {"influence"}
