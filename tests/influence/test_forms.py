"""Every closed form against autograd in float64, over drawn shapes and settings."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from diffinf_core.influence import convolution
from diffinf_core.influence.convolution import (
    FORMS,
    conv_norm,
    counted_form,
    flat_convolution,
    gram_form,
    grouped_form,
    measured_form,
    row_dot,
    unfold_form,
)
from diffinf_core.influence.layers import any_norm, closed_form, layer_norm_of

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")


def truth(layer: nn.Module, x: Tensor, g: Tensor) -> Tensor:
    """One backward pass per sample."""
    out = []
    for i in range(len(x)):
        grads = torch.autograd.grad(layer(x[i : i + 1]), list(layer.parameters()), g[i : i + 1])
        out.append(torch.stack([v.square().sum() for v in grads]).sum())
    return torch.stack(out)


def compare(layer: nn.Module, x: Tensor, form: Callable[..., Tensor] | None = None) -> None:
    """The closed form, and nothing else, equals autograd."""
    layer = layer.double().eval()
    g = torch.randn_like(layer(x)).detach()
    assert closed_form(layer) is not None
    found = layer_norm_of(layer, x, g)
    torch.testing.assert_close(found, truth(layer, x, g), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(any_norm(layer, (x,), g), found, rtol=1e-9, atol=1e-12)


small = st.integers(1, 3)


@settings(max_examples=60)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(small, small),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 2, 4]),
    size=st.tuples(st.integers(8, 12), st.integers(8, 12)),
    bias=st.booleans(),
)
def test_every_convolution_form_equals_autograd(
    kernel, stride, padding, dilation, groups, size, bias
):
    torch.manual_seed(2)
    layer = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups, bias=bias).double()
    x = torch.randn(3, 4, *size).double()
    g = torch.randn_like(layer(x)).detach()
    want = truth(layer, x, g)
    if bias:
        want = want - row_dot(g.sum((2, 3)), g.sum((2, 3)))
    for form in FORMS:
        torch.testing.assert_close(form(*flat_convolution(layer, x, g)), want, rtol=1e-9, atol=1e-9)


@settings(max_examples=40)
@given(
    kernel=st.integers(1, 5),
    stride=small,
    padding=st.sampled_from([0, 1, 2, "same", "valid"]),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    mode=st.sampled_from(["zeros", "reflect", "circular", "replicate"]),
    length=st.integers(10, 15),
    bias=st.booleans(),
)
def test_conv1d_with_every_padding(kernel, stride, padding, dilation, groups, mode, length, bias):
    assume(padding != "same" or stride == 1)
    torch.manual_seed(3)
    layer = nn.Conv1d(4, 6, kernel, stride, padding, dilation, groups, bias=bias, padding_mode=mode)
    compare(layer, torch.randn(3, 4, length).double())


@pytest.mark.parametrize("mode", ["zeros", "reflect", "circular", "replicate"])
@pytest.mark.parametrize("padding", [(2, 1), "same"])
def test_conv2d_with_every_padding(mode: str, padding: object) -> None:
    torch.manual_seed(4)
    layer = nn.Conv2d(4, 6, (4, 3), padding=padding, padding_mode=mode)
    compare(layer, torch.randn(3, 4, 9, 8).double())


@pytest.mark.parametrize("shape", [(5,), (2, 5), (40, 5), (3, 2, 5)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_on_vectors_and_sequences(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(5)
    compare(nn.Linear(5, 7, bias=bias), torch.randn(4, *shape).double())


@settings(max_examples=30)
@given(
    tokens=st.integers(1, 12),
    rows=st.integers(2, 6),
    padding=st.sampled_from([None, 0, 1]),
    seed=st.integers(0, 99),
)
def test_embedding_adds_equal_tokens_before_it_squares(tokens, rows, padding, seed):
    torch.manual_seed(seed)
    layer = nn.Embedding(rows, 3, padding_idx=padding)
    compare(layer, torch.randint(0, rows, (4, tokens)))


@pytest.mark.parametrize(
    "layer,shape",
    [
        (nn.BatchNorm1d(6), (6,)),
        (nn.BatchNorm1d(6), (6, 4)),
        (nn.BatchNorm2d(6), (6, 3, 4)),
        (nn.BatchNorm3d(6), (6, 2, 3, 2)),
        (nn.LayerNorm(6), (6,)),
        (nn.LayerNorm(6), (5, 6)),
        (nn.LayerNorm((4, 6)), (3, 4, 6)),
        (nn.LayerNorm(6, bias=False), (5, 6)),
        (nn.RMSNorm(6), (5, 6)),
        (nn.GroupNorm(3, 6), (6, 4, 2)),
        (nn.GroupNorm(2, 6), (6,)),
        (nn.GroupNorm(3, 6, bias=False), (6, 4, 2)),
        (nn.BatchNorm1d(6, bias=False), (6, 4)),
        (nn.BatchNorm2d(6, bias=False), (6, 3, 4)),
    ],
)
def test_norms(layer: nn.Module, shape: tuple[int, ...]) -> None:
    torch.manual_seed(6)
    for p in layer.parameters():
        nn.init.normal_(p)
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        nn.init.normal_(layer.running_mean)
        nn.init.uniform_(layer.running_var, 0.5, 2)
    compare(layer, torch.randn(4, *shape).double())


class Standardised(nn.Conv2d):
    """Weight standardisation: a convolution whose gradient the plain form would get wrong."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / w.std((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, w, self.bias, self.stride, self.padding)


@pytest.mark.parametrize(
    "layer,x",
    [
        (Standardised(3, 4, 3), torch.randn(3, 3, 6, 6).double()),
        (nn.ConvTranspose2d(3, 4, 3), torch.randn(3, 3, 5, 5).double()),
        (nn.Conv3d(2, 3, 2), torch.randn(3, 2, 4, 4, 4).double()),
        (nn.PReLU(3), torch.randn(3, 3, 5).double()),
        (nn.InstanceNorm2d(3, affine=True), torch.randn(3, 3, 5, 5).double()),
        (nn.Embedding(6, 3, scale_grad_by_freq=True), torch.tensor([[1, 2, 2], [3, 3, 3]])),
    ],
    ids=lambda v: type(v).__name__,
)
def test_a_layer_without_a_form_goes_through_vmap(layer: nn.Module, x: Tensor) -> None:
    layer = layer.double()
    assert closed_form(layer) is None
    g = torch.randn_like(layer(x)).detach()
    torch.testing.assert_close(layer_norm_of(layer, x, g), truth(layer, x, g), rtol=1e-9, atol=1e-9)


def test_the_counted_choice_forms_weights_on_large_maps_and_grams_on_small_ones() -> None:
    for channels, size, want in ((64, 32, grouped_form), (512, 2, gram_form), (128, 8, gram_form)):
        layer = nn.Conv2d(channels, channels, 3, padding=1)
        x = torch.zeros(1, channels, size, size)
        assert counted_form(*flat_convolution(layer, x, x)) is want


def test_the_measured_choice_takes_the_fastest_and_survives_a_lack_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    clock = [0.0]

    def make(name: str, seconds: float) -> Callable[..., Tensor]:
        def form(*_: object) -> Tensor:
            calls.append(name)
            if seconds < 0:
                raise torch.OutOfMemoryError("no room")
            clock[0] += seconds
            return torch.zeros(1)

        return form

    slow, fast, greedy = make("slow", 2.0), make("fast", 1.0), make("greedy", -1)
    monkeypatch.setattr(convolution, "FORMS", (slow, greedy, fast))
    monkeypatch.setattr(convolution, "_measured", {})
    monkeypatch.setattr(convolution.time, "perf_counter", lambda: clock[0])
    layer, x = nn.Conv2d(2, 2, 1), torch.zeros(1, 2, 4, 4)
    job = flat_convolution(layer, x, x)
    assert measured_form(*job) is fast
    calls.clear()
    assert measured_form(*job) is fast
    assert not calls, "a layer is measured once"


def test_low_precision_sums_in_float32() -> None:
    torch.manual_seed(7)
    layer = nn.Conv2d(16, 16, 3, padding=1)
    x, g = torch.randn(4, 16, 8, 8), torch.randn(4, 16, 8, 8)
    exact = conv_norm(layer, x, g)
    low = layer_norm_of(layer, x.bfloat16(), g.bfloat16())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, exact, rtol=0.03, atol=0)
    assert unfold_form in FORMS
