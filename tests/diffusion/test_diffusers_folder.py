"""Autoencoders that the diffusers library saved become first stages that give the same latents."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from diffinf_core.diffusion.diffusers_folder import autoencoder_folder
from diffinf_core.diffusion.first_stage import import_first_stage, load_first_stage
from diffinf_core.records import DiffInfError

diffusers = pytest.importorskip("diffusers")

KL = {
    "block_out_channels": (8, 8), "latent_channels": 4, "norm_num_groups": 4, "sample_size": 32,
    "down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2,
}  # fmt: skip
KINDS = {
    "with quantisation layers": ("AutoencoderKL", KL, 2),
    "without": ("AutoencoderKL", {**KL, "use_quant_conv": False, "use_post_quant_conv": False}, 2),
    "tiny": (
        "AutoencoderTiny",
        {
            "encoder_block_out_channels": (8, 8, 8), "decoder_block_out_channels": (8, 8, 8),
            "num_encoder_blocks": (1, 1, 1), "num_decoder_blocks": (1, 1, 1),
        },
        4,
    ),
}  # fmt: skip


def saved(folder: Path, kind: str) -> torch.nn.Module:
    """An autoencoder of random weights, saved by the library."""
    torch.manual_seed(0)
    name, options, _ = KINDS[kind]
    network = getattr(diffusers, name)(**options).eval()
    network.save_pretrained(folder)
    return network


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_latents_and_pictures_are_those_of_the_library(kind: str, tmp_path: Path) -> None:
    network = saved(tmp_path / "painter", kind)
    stage = load_first_stage(import_first_stage(tmp_path / "painter", tmp_path / "out"))
    assert (stage.name, stage.channels, stage.factor) == ("painter", 4, KINDS[kind][2])
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    encoded = network.encode(x)
    z = encoded.latents if kind == "tiny" else encoded.latent_dist.mode()
    # stored in float16
    torch.testing.assert_close(stage.encode(x), z, rtol=5e-3, atol=5e-3)
    want = network.decode(z).sample.clamp(-1, 1)
    torch.testing.assert_close(stage.decode(z), want, rtol=5e-3, atol=5e-3)


def test_the_autoencoder_of_a_pipeline_is_found_in_its_folder(tmp_path: Path) -> None:
    saved(tmp_path / "painter" / "vae", "tiny")
    assert autoencoder_folder(tmp_path / "painter") == tmp_path / "painter" / "vae"
    stage = load_first_stage(import_first_stage(tmp_path / "painter", tmp_path / "out"))
    assert stage.name == "painter"


@pytest.mark.parametrize("channels", ["in_channels", "out_channels"])
def test_an_autoencoder_of_other_than_colour_pictures_is_refused(
    channels: str, tmp_path: Path
) -> None:
    diffusers.AutoencoderKL(**KL, **{channels: 4}).save_pretrained(tmp_path / "painter")
    with pytest.raises(DiffInfError, match="cannot build painter"):
        import_first_stage(tmp_path / "painter", tmp_path / "out")


def test_folders_that_cannot_be_read_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "painter"
    saved(folder, "tiny")
    config, file = folder / "config.json", folder / "diffusion_pytorch_model.safetensors"

    def refused(match: str) -> None:
        with pytest.raises(DiffInfError, match=match) as raised:
            import_first_stage(folder, tmp_path / "out")
        assert "\n" not in str(raised.value)
        assert not (tmp_path / "out").exists()

    whole, known = file.read_bytes(), json.loads(config.read_text())
    file.write_bytes(whole[:-40])
    refused("cut short, or does not fit")
    file.unlink()
    refused("holds no diffusion_pytorch_model.safetensors")
    file.write_bytes(whole)
    config.write_text(json.dumps({**known, "latent_channels": 5}))
    refused("does not fit the config.json beside it")
    for name, value in (
        ("encoder_block_out_channels", "wide"), ("act_fn", 3), ("num_encoder_blocks", [1, None, 1]),
    ):  # fmt: skip
        config.write_text(json.dumps({**known, name: value}))
        refused("cannot build painter from its config.json")
    config.write_text("{")
    refused(r"config\.json is no readable JSON")
    config.write_text(json.dumps({**known, "_class_name": "UNet2DModel"}))
    refused("no file")  # as any folder without a first stage
    config.write_text(json.dumps(known))
    monkeypatch.setitem(sys.modules, "diffusers", None)
    refused(r"pip install 'diffinf-core\[latent\]'")
