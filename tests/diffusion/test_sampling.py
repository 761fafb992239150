"""Schedule and DDIM: closed forms, and inversion as the opposite of decoding."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from diffinf_core.diffusion.architecture import Architecture, Attribute, LatentSpace
from diffinf_core.diffusion.autoencoder import ON_LATENTS_WITHOUT_CODE, DiffusionAutoencoder
from diffinf_core.diffusion.sampling import Guidance, decode, eps_for, from_v, invert, step_to
from diffinf_core.diffusion.schedule import abar, times


def small() -> DiffusionAutoencoder:
    """An untrained generator whose output layer is not the zero it starts with."""
    torch.manual_seed(0)
    model = DiffusionAutoencoder(
        Architecture(
            image_size=32,
            z_dim=16,
            widths=(8, 16),
            embed=16,
            encoder_width=8,
            attributes=(Attribute(name="a", classes=("x", "y", "z")),),
        )
    )
    for parameter in model.unet.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return model.double().eval()


def test_schedule_ends_where_the_linear_betas_do() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    assert float(abar(0, like)) == pytest.approx(1 - 1e-4)
    assert float(abar(1, like)) == pytest.approx((1 - 1e-4) * (1 - 1e-4 - 0.0199 / 999))
    assert float(abar(999, like)) == pytest.approx(4.0358e-5, rel=1e-3)


def test_times_ascend_from_zero_to_t0() -> None:
    assert times(8, 600, 1) == [0, 75, 150, 225, 300, 375, 450, 525, 600]
    assert times(4, 100, 2) == [0, 6, 25, 56, 100]
    for steps, t0, spacing in (
        (1, 1, 1.75),
        (8, 600, 1.75),
        (50, 60, 3.0),
        (999, 999, 1.75),
        (20, 999, 0.5),
    ):
        found = times(steps, t0, spacing)
        assert found[0] == 0 and found[-1] == t0 and len(found) == steps + 1
        assert all(b > a for a, b in pairwise(found))
    with pytest.raises(ValueError, match="t0"):
        times(10, 5)


@pytest.mark.parametrize("t", [0, 1, 500, 999])
def test_v_eps_and_x0_are_one_thing(t: int) -> None:
    torch.manual_seed(1)
    x0, eps = torch.randn(2, 2, 3, 8, 8, dtype=torch.float64)
    a = abar(t, x0)
    x_t = a.sqrt() * x0 + (1 - a).sqrt() * eps
    v = a.sqrt() * eps - (1 - a).sqrt() * x0
    found_x0, found_eps = from_v(x_t, v, t)
    torch.testing.assert_close(found_x0, x0)
    torch.testing.assert_close(found_eps, eps)
    torch.testing.assert_close(eps_for(x_t, x0, t), eps)
    torch.testing.assert_close(step_to(x0, eps, t) if t else x_t, x_t)


def test_inversion_and_decoding_are_opposite_for_a_perfect_predictor() -> None:
    """A predictor that knows the picture must get it back exactly, whatever the steps."""
    torch.manual_seed(2)
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64) * 2 - 1

    def predict(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        return x, eps_for(x_t, x, t)

    for steps, t0 in ((3, 600), (20, 999)):
        noise = invert(predict, x, steps, t0)
        assert noise.shape == x.shape
        torch.testing.assert_close(decode(predict, noise, steps, t0), x)


def test_callback_moves_the_estimate_and_sees_every_step() -> None:
    seen: list[tuple[int, int]] = []

    def predict(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(x_t), eps_for(x_t, torch.zeros_like(x_t), t)

    def callback(i: int, t: int, x_t: Tensor, x0: Tensor) -> Tensor:
        seen.append((i, t))
        return x0 + 0.5 if t == 53 else x0

    out = decode(predict, torch.randn(1, 3, 8, 8), 4, 600, callback)
    assert seen == [(0, 600), (1, 363), (2, 178), (3, 53)]
    torch.testing.assert_close(out, torch.full_like(out, 0.5))


def test_guidance_one_is_the_label_alone_and_zero_is_none() -> None:
    model, x = small(), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    z = model.encode(x).double()
    label = torch.tensor([[0], [2]])
    with torch.no_grad():
        conditional = model.decode(x, z, 3, 600, label)
        unconditional = model.decode(x, z, 3, 600)
        torch.testing.assert_close(model.decode(x, z, 3, 600, label, guidance=1.0), conditional)
        torch.testing.assert_close(model.decode(x, z, 3, 600, label, guidance=0.0), unconditional)
        assert (conditional - unconditional).abs().max() > 1e-6
        strong = model.decode(x, z, 3, 600, label, guidance=3.0)
    assert (strong - unconditional).norm() > (conditional - unconditional).norm()


def test_after_conditioning_dropout_guidance_takes_its_direction_without_the_code() -> None:
    model, x = small(), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    z = model.encode(x).double()
    model.architecture = model.architecture.model_copy(update={"label_alone": True})
    label, negative = torch.tensor([[0], [2]]), torch.tensor([[1], [-1]])
    x0, eps = model.guide(x, 300, z, label, negative, Guidance(2.0))
    dropped = torch.zeros_like(z)
    towards, origin = (model.predict(x, 300, dropped, k)[0] for k in (label, negative))
    want = model.predict(x, 300, z, negative)[0] + 2.0 * (towards - origin)
    torch.testing.assert_close(x0, want)
    torch.testing.assert_close(eps, eps_for(x, want, 300))


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0])
def test_a_fraction_of_the_direction_is_predicted_without_the_code(fraction: float) -> None:
    model, x = small(), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    z = model.encode(x).double()
    label, negative = torch.tensor([[0], [2]]), torch.tensor([[1], [-1]])
    dropped = torch.zeros_like(z)
    given = model.predict(x, 300, z, label)[0] - model.predict(x, 300, z, negative)[0]
    alone = model.predict(x, 300, dropped, label)[0] - model.predict(x, 300, dropped, negative)[0]
    assert (given - alone).abs().max() > 1e-6
    plain = model.predict(x, 300, z, negative)[0]
    want = plain + 2.0 * ((1 - fraction) * given + fraction * alone)
    x0, eps = model.guide(x, 300, z, label, negative, Guidance(2.0, fraction))
    torch.testing.assert_close(x0, want)
    torch.testing.assert_close(eps, eps_for(x, want, 300))


def test_covariates_are_kept_by_guidance_of_their_own() -> None:
    torch.manual_seed(0)
    kinds = (
        Attribute(name="a", classes=("x", "y")),
        Attribute(name="b", classes=("p", "q"), covariate=True),
    )
    architecture = small().architecture.model_copy(
        update={"attributes": kinds, "label_alone": True}
    )
    model = DiffusionAutoencoder(architecture)
    for parameter in model.unet.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    model, x = model.double().eval(), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    z = model.encode(x).double()
    label, negative = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[1, 1], [-1, 0]])
    dropped = torch.zeros_like(z)
    kept, unknown = torch.tensor([[-1, 1], [-1, 0]]), torch.full((2, 2), -1)
    towards, origin = (model.predict(x, 300, dropped, k)[0] for k in (kept, unknown))
    assert (towards - origin).abs().max() > 1e-6
    for fraction in (0.0, 0.3, 1.0):
        usual = model.guide(x, 300, z, label, negative, Guidance(2.0, fraction))[0]
        x0, eps = model.guide(x, 300, z, label, negative, Guidance(2.0, fraction, 3.0))
        torch.testing.assert_close(x0, usual + 3.0 * (towards - origin))
        torch.testing.assert_close(eps, eps_for(x, x0, 300))


def test_what_is_usual_depends_on_how_the_generator_was_trained() -> None:
    model = small()
    assert model.usual_without_code == 0 and not model.needs_guiding(Guidance(1.0))
    assert model.needs_guiding(Guidance(1.0, 0.2)) and model.needs_guiding(Guidance(2.0, 0.0))
    architecture = model.architecture.model_copy(update={"label_alone": True})
    model.architecture = architecture
    assert model.usual_without_code == 1 and model.needs_guiding(Guidance(1.0))
    assert not model.needs_guiding(Guidance(1.0, 0.0))
    space = LatentSpace(first_stage="0", name="tiny", factor=8, mean=(0.0,), deviation=(1.0,))
    model.architecture = architecture.model_copy(update={"latent": space})
    assert model.usual_without_code == ON_LATENTS_WITHOUT_CODE
    assert not model.needs_guiding(
        Guidance(1.0)
    )  # an inversion asks for the label once, with the code


def test_unknown_label_and_no_label_are_the_same() -> None:
    model, x = small(), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    z = model.encode(x).double()
    unknown = torch.full((2, 1), -1)
    torch.testing.assert_close(model.eps(x, 300, z, unknown), model.eps(x, 300, z))


def test_code_has_a_fixed_norm() -> None:
    z = small().encode(torch.randn(4, 3, 32, 32, dtype=torch.float64))
    torch.testing.assert_close(z.mean(1), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.var(1, unbiased=False), torch.ones(4), atol=1e-2, rtol=0)


def test_gradient_through_decoding_matches_finite_differences() -> None:
    model, x = small(), torch.randn(1, 3, 32, 32, dtype=torch.float64)
    z = model.encode(x).double().detach()
    weight = torch.randn_like(x)

    def loss(code: Tensor) -> Tensor:
        return (model.decode(x, code, 3, 600) * weight).sum()

    code = z.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(loss(code), code)
    way = torch.randn_like(z)
    h = 1e-5
    with torch.no_grad():
        numeric = (loss(z + h * way) - loss(z - h * way)) / (2 * h)
    assert float((g * way).sum()) == pytest.approx(float(numeric), rel=1e-5)


def test_gradient_checkpointing_has_the_same_gradient_and_keeps_less() -> None:
    model = small().requires_grad_(True)
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    z = model.encode(x).double().detach().requires_grad_(True)
    label = torch.tensor([[1]])

    def through(checkpointing: bool) -> tuple[Tensor, Tensor, int]:
        kept = 0

        def count(t: Tensor) -> Tensor:
            nonlocal kept
            kept += t.numel()
            return t

        with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
            out = model.decode(x, z, 6, 600, label, 2.0, gradient_checkpointing=checkpointing)
        saved = kept
        (g,) = torch.autograd.grad(out.square().sum(), z)
        return out, g, saved

    plain, g, much = through(False)
    again, h, little = through(True)
    torch.testing.assert_close(again, plain, rtol=0, atol=0)
    torch.testing.assert_close(h, g, rtol=1e-10, atol=1e-12)
    assert little < 0.25 * much
    with torch.no_grad():
        torch.testing.assert_close(
            model.decode(x, z, 2, 600, gradient_checkpointing=True), model.decode(x, z, 2, 600)
        )


def test_lower_precision_is_near_and_only_of_the_unet() -> None:
    model = small().float()
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    z = model.encode(x)
    x_T = model.invert(x, z, 4, 600)
    wide = model.decode(x_T, z, 4, 600)
    model.precision = torch.bfloat16
    half = model.decode(x_T, z, 4, 600)
    assert half.dtype == torch.float32 and model.encode(x).dtype == torch.float32
    apart = (half - wide).abs().max()
    assert 0 < apart < 0.1
