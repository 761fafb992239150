"""Trainings that begin with the weights of another generator."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffinf_core.diffusion.architecture import Architecture, Attribute, LatentSpace
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder
from diffinf_core.diffusion.loading import keeps_covariates
from diffinf_core.diffusion.start import start_from
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import write_json

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


def test_the_card_says_whether_covariates_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "generator.safetensors"
    for architecture in (USUAL, USUAL.model_copy(update={"attributes": USUAL.attributes[:1]})):
        write_json(
            file.with_suffix(".json"), {"architecture": architecture.model_dump(mode="json")}
        )
        assert keeps_covariates(file) == (len(architecture.attributes) == 2)
    assert not keeps_covariates(tmp_path / "published.ckpt")
    file.with_suffix(".json").write_text("{}")
    with pytest.raises(DiffInfError, match="does not describe"):
        keeps_covariates(file)
