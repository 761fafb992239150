"""Edits on latents: detail transfer, the soft mask, covariates, and what "smallest" raises."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from diffinf_core.config import RepairConfig
from diffinf_core.correction.colour import coloured, colours_by_light
from diffinf_core.correction.editing import LabelCondition, label_condition
from diffinf_core.correction.guidance import Inversion, Task, strongly_changed, transfer
from diffinf_core.correction.search import strengths
from diffinf_core.diffusion.architecture import Architecture, Attribute, LatentSpace
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder, grey
from diffinf_core.diffusion.first_stage import FirstStage
from diffinf_core.diffusion.tiny import tiny_decoder, tiny_encoder

ABOUT = {"family": "tiny", "name": "own", "channels": 4, "factor": 8, "pool": False}


def generator(of_grey: bool = False) -> DiffusionAutoencoder:
    torch.manual_seed(0)
    stage = FirstStage(tiny_encoder(4, False), tiny_decoder(4, False), ABOUT, "sum")
    space = LatentSpace(
        first_stage="sum", name="own", factor=8, mean=(0.1,) * 4, deviation=(0.5,) * 4
    )
    architecture = Architecture(
        image_size=64, z_dim=16, patch=1, widths=(16, 16), embed=16, encoder_width=8, latent=space,
        grey=of_grey,
        attributes=(
            Attribute(name="label", classes=("a", "b")),
            Attribute(name="sex", classes=("a", "b"), covariate=True),
        ),
    )  # fmt: skip
    return DiffusionAutoencoder(architecture, stage).eval().requires_grad_(False)


def task(how: str, of_grey: bool = False) -> tuple[Task, torch.Tensor]:
    model = generator(of_grey)
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    rebuilt = model.latent(x) + 0.3
    objective: Any = SimpleNamespace(
        reference=SimpleNamespace(x=x), terms=lambda made: {"made": made}
    )
    codes = Inversion(torch.zeros(2, 16), rebuilt, rebuilt)
    config = RepairConfig(transfer=cast(Any, how))
    return Task(model, codes, None, None, objective, config), x


@pytest.mark.parametrize("how", ["delta", "masked", "gated"])
def test_an_edit_that_changes_nothing_is_the_original_to_the_last_detail(how: str) -> None:
    here, x = task(how)
    torch.testing.assert_close(here.pictures(here.inversion.reconstruction), x, atol=1e-5, rtol=0)


def test_a_change_is_added_in_latents_and_decoded_once() -> None:
    here, x = task("delta")
    change = torch.zeros_like(here.original)
    change[:, :, 2, 2] = 1.0
    want = here.generator.pixels(here.original + change) + x - here.generator.pixels(here.original)
    torch.testing.assert_close(here.pictures(here.inversion.reconstruction + change), want)
    plain, _ = task("none")
    edit = plain.inversion.reconstruction + change
    torch.testing.assert_close(plain.pictures(edit), plain.generator.pixels(edit))


def test_the_objective_sees_pictures_and_its_gradient_reaches_latents() -> None:
    here, _ = task("masked")
    moving = (here.inversion.reconstruction + torch.randn(2, 4, 8, 8)).requires_grad_(True)
    made = here.objective.terms(here.pictures(moving))["made"]
    assert made.shape == (2, 3, 64, 64)
    (slope,) = torch.autograd.grad(made.square().sum(), moving)
    assert slope.shape == moving.shape and bool(slope.abs().sum() > 0)


def test_the_mask_is_soft_and_each_picture_has_its_own() -> None:
    change = torch.zeros(2, 4, 16, 16)
    change[:, :, 4:12, 4:12] = torch.tensor([1.0, 100.0])[:, None, None, None]
    mask = strongly_changed(change, torch.zeros_like(change), 0.6)
    # its threshold is a quantile of the picture's own changes
    torch.testing.assert_close(mask[0], mask[1])
    assert mask.min() == 0 and mask.max() == 1
    assert not mask[:, :, :3].any() and bool((mask[:, :, 5:11, 5:11] == 1).all())


def test_a_masked_edit_leaves_the_rest_of_a_picture_as_it_was() -> None:
    x, rebuilt = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    edit = rebuilt.clone()
    edit[..., 4:8, 4:8] += 1
    made = transfer(x, edit, rebuilt, "masked", 0.6)
    assert torch.equal(made[..., 10:, :], x[..., 10:, :])
    torch.testing.assert_close(made[..., 5:7, 5:7], x[..., 5:7, 5:7] + 1)


def test_no_detail_of_the_original_shows_through_what_is_drawn_anew() -> None:
    rebuilt = torch.rand(1, 3, 16, 16)
    at = torch.arange(16)
    detail = 0.2 * (1 - 2 * ((at[:, None] + at) % 2)).float()
    colour = 0.3
    x = rebuilt + colour + detail
    edit = rebuilt.clone()
    edit[..., 4:8, 4:8] += 1
    made = transfer(x, edit, rebuilt, "gated", on_pixels=False)
    # the block, what is smoothed over, and a cell beside that
    new = slice(2, 10)
    torch.testing.assert_close(made[..., new, new], edit[..., new, new] + colour, atol=0.01, rtol=0)
    torch.testing.assert_close(made[..., 10:, :], x[..., 10:, :])
    here, pictures = task("gated")
    change = torch.zeros_like(here.original)
    change[:, :, 2, 2] = 1.0
    latents = here.inversion.reconstruction + change
    moved = transfer(
        here.original, latents, here.inversion.reconstruction, "gated", on_pixels=False
    )
    shown, decoded = here.pictures(latents), here.generator.pixels(moved)
    torch.testing.assert_close(shown[..., 16:24, 16:24], decoded[..., 16:24, 16:24])
    assert (decoded - pictures)[..., 48:, 48:].abs().mean() > 0.01
    torch.testing.assert_close(shown[..., 48:, 48:], pictures[..., 48:, 48:], atol=5e-3, rtol=0)


def test_covariates_stand_beside_the_label_and_are_no_label() -> None:
    condition = label_condition(generator(), ("b", "a"))
    assert condition == LabelCondition(2, 0, (1, 0))
    label = condition.of(torch.tensor([0, 1, 1]))
    kept = torch.tensor([[1], [0], [-1]])
    assert cast(torch.Tensor, condition.with_covariates(label, kept)).tolist() == [
        [1, 1],
        [0, 0],
        [0, -1],
    ]
    assert condition.with_covariates(None, kept) is None
    assert condition.with_covariates(label, None) is label


def test_smallest_raises_the_noise_level_or_the_guidance() -> None:
    by_t0 = strengths(RepairConfig(t0=600))
    assert [c.t0 for c in by_t0] == [498, 552, 600]
    by_guidance = strengths(RepairConfig(guidance=5, strength="guidance"))
    assert [c.guidance for c in by_guidance] == [2.0, 3.5, 5.0]
    assert {c.t0 for c in by_guidance} == {600}


def test_settings_that_came_later_leave_the_keys_of_earlier_runs_alone() -> None:
    names = {"objective_every", "mask_quantile", "strength"}
    assert not names & RepairConfig().provenance().keys()
    changed = RepairConfig(objective_every=2, mask_quantile=0.5, strength="guidance")
    assert names <= changed.provenance().keys()


def test_a_generator_of_grey_pictures_sees_and_draws_lightness_and_colours_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, x = task("gated", of_grey=True)
    model = here.generator
    torch.testing.assert_close(model.latent(x), model.latent(grey(x)))
    torch.testing.assert_close(model.encode(x), model.encode(grey(x)))
    assert (generator().latent(x) - model.latent(x)).abs().max() > 1e-3
    drawn = model.pixels(here.original)
    torch.testing.assert_close(drawn, grey(drawn))
    assert torch.equal(here.drawn(here.original), x)
    # an edit that changes nothing has every colour
    torch.testing.assert_close(here.pictures(here.inversion.reconstruction), x, atol=1e-5, rtol=0)
    light = drawn.clone()
    light[..., 20:40, 20:40] += 0.7
    monkeypatch.setattr(model, "pixels", lambda x0: light)
    got = here.drawn(here.original)
    assert torch.equal(got[..., :8, :], x[..., :8, :])
    assert (got - x)[..., 24:36, 24:36].abs().mean() > 0.2
    lit = coloured(light, colours_by_light(x))
    # what is drawn anew has the generator's light in the original's colours, and fades into the original
    assert bool(((got - x) * (got - lit) <= 1e-5).all())


def test_grey_is_for_generators_on_latents() -> None:
    with pytest.raises(ValueError, match="grey is for a generator on latents"):
        Architecture(image_size=16, patch=1, widths=(16, 16), grey=True)
