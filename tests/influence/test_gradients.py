"""Exactness of the per-sample gradient norms against autograd, in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.classifier.network import build_classifier
from diffinf_core.influence.gradients import GradientNorms, gradient_norms_by_vmap
from diffinf_core.influence.layers import _conv_direct, _conv_gram, row_dot
from diffinf_core.records import DiffInfError


def naive(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """One backward pass per sample."""
    model.eval()
    out = []
    for i in range(len(x)):
        loss = F.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        grads = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
        out.append(sum(g.square().sum() for g in grads))
    return torch.stack(out)


def shake(model: nn.Module) -> nn.Module:
    """Give BatchNorm statistics that are not the identity."""
    for m in model.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(m.running_mean)
            nn.init.uniform_(m.running_var, 0.5, 2.0)
            nn.init.normal_(m.weight)
    return model.double()


@pytest.mark.parametrize("name,size", [("small", 64), ("small", 96), ("resnet18", 64)])
def test_equals_autograd_on_the_classifiers(name: str, size: int) -> None:
    torch.manual_seed(0)
    model = shake(build_classifier(name, 4))
    x, y = torch.randn(3, 3, size, size).double(), torch.tensor([0, 3, 1])
    with GradientNorms(model) as norms:
        found = norms(x, y)
        assert norms.fallback is None
    torch.testing.assert_close(found, naive(model, x, y), rtol=1e-6, atol=0)


class Mixed(nn.Module):
    """Layers without a closed form, and a sequence through Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 12, 4, 4)
        self.group = nn.GroupNorm(3, 12)
        self.norm = nn.LayerNorm(12)
        self.mix = nn.Linear(12, 10, bias=False)
        self.act = nn.PReLU()
        self.out = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.group(self.embed(x)).flatten(2).mT
        return self.out(self.act(self.mix(self.norm(tokens))).mean(1))


def test_equals_autograd_with_sequences_and_layers_without_a_form() -> None:
    torch.manual_seed(1)
    model, x, y = Mixed().double(), torch.randn(4, 3, 16, 16).double(), torch.tensor([0, 1, 2, 3])
    with GradientNorms(model) as norms:
        found = norms(x, y)
        assert norms.fallback is None
    torch.testing.assert_close(found, naive(model, x, y), rtol=1e-6, atol=0)


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 2, 4]),
    size=st.tuples(st.integers(8, 12), st.integers(8, 12)),
)
def test_both_convolution_forms_equal_autograd(kernel, stride, padding, dilation, groups, size):
    torch.manual_seed(2)
    layer = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups, bias=False).double()
    x = torch.randn(3, 4, *size).double()
    out = layer(x)
    g = torch.randn_like(out)
    truth = []
    for i in range(len(x)):
        (w,) = torch.autograd.grad(layer(x[i : i + 1]), layer.weight, g[i : i + 1])
        truth.append(w.square().sum())
    for form in (_conv_gram, _conv_direct):
        torch.testing.assert_close(form(layer, x, g), torch.stack(truth), rtol=1e-9, atol=1e-12)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.tanh(self.layer(x)))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)
        self.b.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.a(x)))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.tanh(self.a(x)), self.b.weight, self.b.bias)


@pytest.mark.parametrize("kind", [Twice, Tied, Functional])
def test_falls_back_where_taps_would_miscount(kind: type[nn.Module]) -> None:
    torch.manual_seed(3)
    model, x, y = kind().double(), torch.randn(5, 6).double(), torch.tensor([0, 1, 2, 3, 4])
    with GradientNorms(model) as norms:
        found = norms(x, y)
        assert norms.fallback
    torch.testing.assert_close(found, naive(model, x, y), rtol=1e-6, atol=0)


def test_leaves_the_model_as_it_was_even_after_an_error() -> None:
    model = build_classifier("small", 4).train()
    model.trunk.stem[1].eval()
    model.output.bias.requires_grad_(False)
    before = {n: m.training for n, m in model.named_modules()}
    with pytest.raises(DiffInfError, match="4 classes"), GradientNorms(model) as norms:
        norms(torch.randn(2, 3, 64, 64), torch.tensor([0, 9]))
    assert {n: m.training for n, m in model.named_modules()} == before
    assert not model.output.bias.requires_grad and model.output.weight.requires_grad
    assert not any(m._forward_hooks for m in model.modules())


def test_vmap_reference_is_itself_right() -> None:
    torch.manual_seed(4)
    model = shake(build_classifier("small", 3)).eval()
    x, y = torch.randn(2, 3, 64, 64).double(), torch.tensor([2, 0])
    torch.testing.assert_close(gradient_norms_by_vmap(model, x, y), naive(model, x, y))


def test_linear_closed_form_by_hand() -> None:
    model = nn.Linear(2, 2).double()
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    x, y = torch.tensor([[3.0, 4.0]]).double(), torch.tensor([0])
    with GradientNorms(model) as norms:
        # softmax is (1/2, 1/2), so g = (-1/2, 1/2): ||g||^2 (||x||^2 + 1) = 1/2 * 26
        assert norms(x, y).item() == pytest.approx(13.0)
    assert row_dot(x, x).item() == 25
