"""Inverse-curvature self-influence against dense linear algebra where that is possible."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.classifier.network import build_classifier
from diffinf_core.influence.curvature import Curvature, _gradients, _sides
from diffinf_core.influence.gradients import GradientNorms
from diffinf_core.records import DiffInfError


def gradients(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """(N, P): every sample's gradient, flattened."""
    out = []
    for i in range(len(x)):
        loss = F.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        parts = torch.autograd.grad(loss, list(model.parameters()))
        out.append(torch.cat([p.flatten() for p in parts]))
    return torch.stack(out)


def fitted(model: nn.Module, x: Tensor, damping: float = 0.1) -> Curvature:
    found = Curvature(model, damping, seed=0)
    found.fit_covariances(x)
    assert list(found.eigendecompose())
    found.fit_eigenvalues(x)
    return found


def test_equals_the_dense_inverse_where_a_kronecker_product_is_exact() -> None:
    # With zero weights the prediction is (1/2, 1/2) whatever the input, so the output gradient is
    # +-(1/2, -1/2) and F = E[a a^T] (x) S exactly.
    torch.manual_seed(0)
    model = nn.Linear(4, 2).double()
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    x = torch.randn(60, 4).double()
    curvature = fitted(model, x)
    inputs = torch.cat([x, torch.ones(60, 1).double()], 1)
    s = torch.tensor([[0.25, -0.25], [-0.25, 0.25]]).double()
    fisher = torch.kron(s, inputs.mT @ inputs / 60)
    damped = fisher + 0.1 * torch.diagonal(fisher).mean() * torch.eye(10).double()
    y = torch.randint(0, 2, (60,))
    error = F.one_hot(y, 2).double() - 0.5
    g = torch.einsum("no,ni->noi", -error, inputs).flatten(1)
    want = (g * torch.linalg.solve(damped, g.mT).mT).sum(1)
    torch.testing.assert_close(curvature.score(x, y), want, rtol=1e-9, atol=1e-12)


def test_much_damping_leaves_the_squared_norm_of_a_layer() -> None:
    torch.manual_seed(1)
    model = nn.Conv2d(3, 4, 3, groups=1).double()
    net = nn.Sequential(model, nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    x, y = torch.randn(12, 3, 8, 8).double(), torch.randint(0, 4, (12,))
    curvature = fitted(net, x, damping=1e9)
    values = curvature.states["0"]["values"] / 12
    with GradientNorms(net) as norms:
        want = norms(x, y) / (1e9 * values.mean())
    torch.testing.assert_close(curvature.score(x, y), want, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "layer,shape",
    [
        (nn.Linear(5, 3), (5,)),
        (nn.Linear(5, 3, bias=False), (7, 5)),
        (nn.Conv1d(4, 6, 3, 2, 1, groups=2), (4, 9)),
        (nn.Conv2d(4, 6, 3, padding="same", groups=2), (4, 6, 5)),
        (nn.Conv2d(4, 6, 3, bias=False), (4, 6, 5)),
        (nn.BatchNorm2d(4), (4, 3, 3)),
        (nn.BatchNorm2d(4, bias=False), (4, 3, 3)),
    ],
)
def test_gradients_of_a_layer_equal_autograd(layer: nn.Module, shape: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    layer = layer.double().eval()
    if isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.running_mean)
        nn.init.uniform_(layer.running_var, 0.5, 2)
    x = torch.randn(3, *shape).double()
    g = torch.randn_like(layer(x)).detach()
    found = _gradients(layer, x, g).flatten(1)
    for i in range(3):
        parts = torch.autograd.grad(layer(x[i : i + 1]), list(layer.parameters()), g[i : i + 1])
        want = sum(p.square().sum() for p in parts)
        assert float(found[i].square().sum()) == pytest.approx(float(want), rel=1e-9)
    if not isinstance(layer, nn.BatchNorm2d):
        a, b = _sides(layer, x, g)
        torch.testing.assert_close((b @ a.mT).flatten(1), found)


def test_a_steep_direction_counts_less_than_a_flat_one() -> None:
    """What the inverse is for: two samples with equal gradient norms, one along a common direction."""
    torch.manual_seed(3)
    model = nn.Linear(2, 2, bias=False).double()
    nn.init.zeros_(model.weight)
    x = torch.randn(200, 2).double() * torch.tensor([5.0, 0.1]).double()
    curvature = fitted(model, x, damping=1e-3)
    pair = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).double()
    common, rare = curvature.score(pair, torch.tensor([0, 0]))
    assert rare > 100 * common


def test_scores_of_the_classifier_are_repeatable_and_survive_storage() -> None:
    torch.manual_seed(4)
    net = build_classifier("small", 3).eval()
    x, y = torch.randn(24, 3, 32, 32), torch.randint(0, 3, (24,))
    first, second = fitted(net, x), fitted(net, x)
    scores = first.score(x, y)
    assert torch.isfinite(scores).all() and (scores > 0).all()
    torch.testing.assert_close(second.score(x, y), scores)
    again = Curvature(net, 0.1, seed=0)
    again.load(first.state())
    torch.testing.assert_close(again.score(x, y), scores)
    torch.testing.assert_close(first.score(x[:5], y[:5]), scores[:5], rtol=1e-3, atol=0)


def test_a_state_saved_by_an_earlier_version_resumes_with_the_same_labels() -> None:
    torch.manual_seed(6)
    net, x = nn.Linear(4, 3), torch.randn(64, 4)
    first = Curvature(net, 0.1, seed=0)
    first.fit_covariances(x)
    state = first.state()
    state["draw"] = state.pop("rng")  # its name in earlier versions
    again = Curvature(net, 0.1, seed=1)
    again.load(state)
    for curvature in (first, again):
        assert list(curvature.eigendecompose())
        curvature.fit_eigenvalues(x)
    torch.testing.assert_close(again.states, first.states, rtol=0, atol=0)


def test_a_network_without_a_form_is_one_sentence() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    with pytest.raises(DiffInfError, match="does not support LayerNorm layers"):
        Curvature(net, 0.1, 0).fit_covariances(torch.randn(3, 4))


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1, 4))
        self.out = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x + self.shift)


def test_a_parameter_outside_a_layer_is_one_sentence() -> None:
    with pytest.raises(DiffInfError, match="outside a layer"):
        Curvature(Bare(), 0.1, 0).fit_covariances(torch.randn(3, 4))


def test_shared_weights_are_one_sentence() -> None:
    a, b = nn.Linear(4, 4), nn.Linear(4, 4)
    b.weight = a.weight
    with pytest.raises(DiffInfError, match="share a weight"):
        Curvature(nn.Sequential(a, b), 0.1, 0).fit_covariances(torch.randn(3, 4))
