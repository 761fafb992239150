"""Exactness of the per-sample gradient norms against autograd, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.vision_transformer import VisionTransformer

from diffinf_core.classifier.network import build_classifier
from diffinf_core.influence.convolution import row_dot
from diffinf_core.influence.gradients import GradientNorms, NotFiniteError, gradient_norms_by_vmap
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


# ---------------------------------------------------------------- networks of other kinds


def small_vit() -> nn.Module:
    """Class token, position embedding, attention, LayerNorm."""
    return VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=4)


def small_convnext() -> nn.Module:
    """Depthwise convolution, layer scale, a LayerNorm over channels with a forward of its own."""
    return ConvNeXt(
        [CNBlockConfig(8, 16, 2), CNBlockConfig(16, None, 1)], num_classes=4, layer_scale=0.5
    )


class Text(nn.Module):
    """A text classifier: Embedding, a transformer layer, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8, padding_idx=0)
        self.mix = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.out = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.mix(self.embed(x)).mean(1))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 9), nn.GELU(), nn.Linear(9, 4))


pictures = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
tokens = torch.randint(0, 20, (3, 7), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "make,x",
    [
        (small_vit, pictures),
        (small_convnext, pictures),
        (Text, tokens),
        (mlp, pictures[:, :, :4, :4]),
    ],
    ids=["vit", "convnext", "text", "mlp"],
)
def test_equals_autograd_on_other_kinds_of_network(make, x) -> None:
    torch.manual_seed(5)
    model = make().double()
    y = torch.tensor([0, 3, 1])
    with GradientNorms(model) as norms:
        found = norms(x, y)
        assert norms.fallback is None
    torch.testing.assert_close(found, naive(model, x, y), rtol=1e-6, atol=0)
    assert all(isinstance(p, nn.Parameter) for p in model.parameters())


def test_resnet18_at_128_pixels() -> None:
    torch.manual_seed(6)
    model = shake(build_classifier("resnet18", 3))
    x, y = torch.randn(2, 3, 128, 128).double(), torch.tensor([0, 2])
    with GradientNorms(model) as norms:
        found = norms(x, y)
        assert norms.fallback is None
    torch.testing.assert_close(found, naive(model, x, y), rtol=1e-6, atol=0)


class Scaled(nn.Module):
    """A parameter that is not used by broadcasting over the batch: copies per sample do not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.randn(6, 6))
        self.out = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x @ self.mix)


class Temperature(Scaled):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x) * self.mix


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None].expand(-1, 3, -1)
        mask = torch.zeros(3, 3, dtype=x.dtype)
        return self.attend(x, x, x, attn_mask=mask, need_weights=False)[0].mean(1)


class Frozen(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 6)
        self.a.bias.requires_grad_(False)
        self.b = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.a(x)))


@pytest.mark.parametrize("kind", [Scaled, Temperature, Masked, Frozen])
@pytest.mark.parametrize("n", [1, 4, 6])
def test_what_taps_cannot_count_falls_back_and_stays_exact(kind: type[nn.Module], n: int) -> None:
    torch.manual_seed(7)
    model, x = kind().double(), torch.randn(n, 6).double()
    y = torch.arange(n) % 4
    with GradientNorms(model) as norms:
        found = norms(x, y)
        # with one sample a matrix per sample happens to be right
        assert norms.fallback or n == 1
    torch.testing.assert_close(found, naive(model, x, y), rtol=1e-6, atol=0)


def test_a_frozen_trunk_counts_only_what_is_trained() -> None:
    torch.manual_seed(8)
    model = shake(build_classifier("small", 4))
    model.trunk.requires_grad_(False)
    x, y = torch.randn(3, 3, 64, 64).double(), torch.tensor([0, 3, 1])
    with GradientNorms(model) as norms:
        found = norms(x, y)
        assert norms.fallback is None
    torch.testing.assert_close(found, naive(model, x, y), rtol=1e-6, atol=0)


def test_batchnorm_without_running_statistics_is_refused() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2))
    with pytest.raises(DiffInfError, match="running statistics"), GradientNorms(model):
        pass


@pytest.mark.parametrize("labels", [[0, 4], [-1, 0], [-100, 1]])
def test_labels_out_of_range_are_refused_in_any_batch(labels: list[int]) -> None:
    model, x = nn.Linear(3, 4), torch.randn(2, 3)
    with GradientNorms(model) as norms:
        norms(x, torch.tensor([0, 3]))
        with pytest.raises(DiffInfError, match="has 4 classes"):
            norms(x, torch.tensor(labels))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_gradient_that_is_no_number_names_its_row(bad: float) -> None:
    model, x = nn.Linear(3, 4), torch.randn(4, 3)
    x[2, 1] = bad
    with GradientNorms(model) as norms, pytest.raises(NotFiniteError, match="sample 2") as caught:
        norms(x, torch.tensor([0, 1, 2, 3]))
    assert caught.value.row == 2


def test_bfloat16_is_close_and_says_nothing_else() -> None:
    torch.manual_seed(9)
    model = build_classifier("small", 4).eval()
    x, y = torch.randn(16, 3, 64, 64), torch.arange(16) % 4
    with GradientNorms(model) as norms:
        exact = norms(x, y)
    with GradientNorms(model, low=torch.bfloat16) as norms:
        low = norms(x, y)
        assert norms.fallback is None
    error = ((low - exact).abs() / exact).median()
    assert 0 < error < 0.06


class Sideways(nn.Module):
    """p is added over the tokens, not over the batch; with as many samples as tokens its copies fit."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.randn(6))
        self.out = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(x[:, None].expand(-1, 4, -1) + self.p)).mean(1)


@pytest.mark.parametrize("first", [0, 1])
def test_only_the_self_check_sees_samples_mixed_up(first: int) -> None:
    torch.manual_seed(10)
    model, x, y = Sideways().double(), torch.randn(4, 6).double(), torch.arange(4)
    with GradientNorms(model) as norms:
        if first:  # a batch of one cannot show it
            norms(x[:1], y[:1])
            assert norms.fallback is None
        found = norms(x, y)
        assert norms.fallback == "the self-check against autograd failed"
    torch.testing.assert_close(found, naive(model, x, y), rtol=1e-6, atol=0)
    with GradientNorms(model, check=False) as norms:
        wrong = norms(x, y)
    assert ((wrong - found).abs() > 1e-3 * found).any(), "without the check it would be wrong"
