"""Trainings that begin with the weights of another generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffinf_core.diffusion.architecture import Architecture, Attribute, LatentSpace
from diffinf_core.diffusion.assets import make_settings, train_on_pictures
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder
from diffinf_core.diffusion.loading import load_autoencoder
from diffinf_core.diffusion.start import keep_start, start_from
from diffinf_core.records import DiffInfError

CHANNELS = 4
USUAL = Architecture(
    image_size=64, z_dim=16, patch=1, widths=(16, 16), embed=16, encoder_width=8,
    attributes=(
        Attribute(name="label", classes=("a", "b", "c")),
        Attribute(name="sex", classes=("f", "m"), covariate=True),
    ),
    latent=LatentSpace(
        first_stage="0", name="tiny", factor=8, mean=(0.0,) * CHANNELS, deviation=(1.0,) * CHANNELS
    ),
    colour=True, inpaints=True,
)  # fmt: skip


def untrained(of: Architecture) -> DiffusionAutoencoder:
    torch.manual_seed(1)
    model = DiffusionAutoencoder(of)
    for p in model.parameters():  # fresh networks end in zeros
        torch.nn.init.normal_(p, 0, 0.08)
    return model.eval()


def started(given: DiffusionAutoencoder, of: Architecture) -> DiffusionAutoencoder:
    model = untrained(of)
    start_from(model, given)
    return model


@torch.no_grad()
def test_a_training_that_inpaints_begins_as_the_one_that_did_not() -> None:
    before = untrained(USUAL.model_copy(update={"inpaints": False}))
    after = started(before, USUAL)
    x, z = torch.randn(2, CHANNELS, 8, 8), torch.randn(2, 19)
    around = torch.randn(2, CHANNELS + 1, 8, 8)
    t, label = torch.full((2,), 500), torch.tensor([[0, 1], [2, -1]])
    want = before.unet(x, t, z, label)
    torch.testing.assert_close(after.unet(x, t, z, label), want)
    torch.testing.assert_close(after.unet(x, t, z, label, around), want)
    after.unet.stem.weight[:, CHANNELS:] = 1
    assert not torch.allclose(after.unet(x, t, z, label, around), want)


@torch.no_grad()
def test_a_training_begins_with_what_means_the_same_under_other_labels() -> None:
    """The code is read as before; a colour that was not read begins without effect, a label at random."""
    label, sex = USUAL.attributes
    other = USUAL.model_copy(update={"attributes": (label,), "colour": False})
    before, after = untrained(other), started(untrained(other), USUAL)
    for name in ("code.0.weight", "layout.weight"):
        was, now = (dict(net.unet.named_parameters())[name] for net in (before, after))
        assert torch.equal(now[:, :16], was[:, :16]) and not now[:, 16:19].any()
        assert bool(now[:, 19:].any()) and not torch.equal(now[:, 16 : was.shape[1]], was[:, 16:])
    tables = [dict(net.unet.named_parameters())["labels.0.weight"] for net in (before, after)]
    assert torch.equal(*tables)
    # of another name or other classes: not taken
    renamed = USUAL.model_copy(update={"attributes": (sex, label)})
    fresh, given = untrained(renamed), untrained(USUAL)
    for p in given.parameters():
        p.add_(1)
    left = start_from(model := untrained(renamed), given)
    assert left == 4  # both tables, and the inputs of two layers in part
    for i in range(2):
        name = f"labels.{i}.weight"
        mine, new = (dict(net.unet.named_parameters())[name] for net in (model, fresh))
        assert torch.equal(mine, new)
    assert torch.equal(model.unet.code[0].weight[:, 19:], fresh.unet.code[0].weight[:, 19:])
    assert torch.equal(model.unet.code[0].weight[:, :19], given.unet.code[0].weight[:, :19])


@torch.no_grad()
def test_a_fraction_of_the_start_is_kept_where_it_means_the_same() -> None:
    given = untrained(USUAL)
    for p in given.parameters():
        p.add_(1)
    model, trained = untrained(USUAL), untrained(USUAL)
    keep_start(model, given, 0.25)
    for name, value in model.named_parameters():
        was, start = (dict(net.named_parameters())[name] for net in (trained, given))
        torch.testing.assert_close(value, 0.75 * was + 0.25 * start)
    # a label of other classes, and what reads it, stays as it is trained
    label, sex = USUAL.attributes
    other = USUAL.model_copy(
        update={"attributes": (label.model_copy(update={"classes": ("x", "y")}), sex)}
    )
    model, trained = untrained(other), untrained(other)
    keep_start(model, given, 0.25)
    mine, was = (dict(net.unet.named_parameters()) for net in (model, trained))
    assert torch.equal(mine["labels.0.weight"], was["labels.0.weight"])
    assert not torch.equal(mine["labels.1.weight"], was["labels.1.weight"])
    features = slice(19, 19 + mine["labels.0.weight"].shape[1])
    assert torch.equal(mine["code.0.weight"][:, features], was["code.0.weight"][:, features])
    torch.testing.assert_close(
        mine["code.0.weight"][:, :19],
        0.75 * was["code.0.weight"][:, :19] + 0.25 * given.unet.code[0].weight[:, :19],
    )


def test_a_finished_training_keeps_as_much_of_its_start_as_is_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for i in range(12):
        image = Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8))
        image.save(tmp_path / "pictures" / f"{i}.png")
    quick = {
        "warmup_steps": 0, "steps": 40, "batch_size": 2, "evaluate_every": 99, "readers": 0,
    }  # fmt: skip

    def trained(name: str, start: Path | None, **settings: float) -> dict[str, torch.Tensor]:
        out = tmp_path / name
        given = {**quick, "learning_rate": 0.01, "ema": 0.0, **settings}
        for _ in train_on_pictures(
            tmp_path / "pictures", out, given, 32, start, 1.0 if start else 0.25
        ):
            pass
        return dict(load_autoencoder(out / "generator.safetensors").named_parameters())

    start = trained("start", None)
    forgets = trained("forgets", tmp_path / "start")
    keeps = trained("keeps", tmp_path / "start", keep_start=0.3)
    moved = 0.0
    for name, value in keeps.items():
        want = 0.7 * forgets[name] + 0.3 * start[name]
        torch.testing.assert_close(value, want, atol=2e-3, rtol=2e-3)  # stored in half precision
        moved = max(moved, float((forgets[name] - start[name]).abs().max()))
    assert moved > 0.01


def test_nothing_of_a_random_start_can_be_kept() -> None:
    with pytest.raises(DiffInfError, match="keep_start has no effect on weights that begin at"):
        make_settings({"keep_start": 0.3}, None)
