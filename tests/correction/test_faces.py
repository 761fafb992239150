"""Networks for photographs, with random weights in the published layouts."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch.nn import functional as F

from diffinf_core.config import DataConfig, RepairConfig, change
from diffinf_core.correction import faces
from diffinf_core.correction.faces import NAMES, build, weights_file
from diffinf_core.correction.perceptors import chosen, files_of
from diffinf_core.correction.published.dlib import DlibIdentity
from diffinf_core.data.profile import profile
from diffinf_core.engine import open_run
from diffinf_core.records import DiffInfError, Edit
from diffinf_core.weights.files import shipped
from diffinf_core.weights.lpips import perceptual_distance
from diffinf_core.weights.pretrained import pretrained

TRUNKS = {"vgg": "vgg16", "squeeze": "squeezenet1_1"}
#: the smallest SegFormer: B5 costs eight seconds a picture here
B0 = {
    "num_labels": 19,
    "depths": [2, 2, 2, 2],
    "hidden_sizes": [32, 64, 160, 256],
    "decoder_hidden_size": 256,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIFFINF_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path / "weights"


def place(kind: str) -> Path:
    """Write random weights where the published ones belong."""
    torch.manual_seed(0)
    path = pretrained(NAMES[kind][1]).path
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "facenet":
        from facenet_pytorch import InceptionResnetV1

        net = InceptionResnetV1(classify=True, num_classes=10)
        assert any(k.startswith("logits.") for k in net.state_dict())
        torch.save(net.state_dict(), path)
    elif kind == "segformer":
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        net = SegformerForSemanticSegmentation(SegformerConfig(**faces.SEGFORMER))
        net.save_pretrained(path.parent)
        (path.parent / "config.json").unlink()
    elif kind == "dlib":
        torch.manual_seed(0)
        state = DlibIdentity().state_dict()
        save_file({f"recognition.{k}": v.half() for k, v in state.items()}, path)
    else:
        name = TRUNKS[kind.removeprefix("lpips-")]
        torch.save(torchvision.models.get_model(name, weights=None).state_dict(), path)
    return path


@pytest.fixture
def pictures() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(2, 3, 64, 64) * 2 - 1


def test_facenet_sees_what_its_authors_feed_it(folder: Path, pictures: torch.Tensor) -> None:
    place("facenet")
    net = build("facenet")
    found = net(pictures)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    levels = (pictures + 1) * 127.5
    big = F.interpolate(levels, (160, 160), mode="bilinear", antialias=True, align_corners=False)
    torch.testing.assert_close(found, net.net((big - 127.5) / 128), atol=1e-5, rtol=0)
    cropped = build("facenet", 0.5)(pictures)
    inner = F.interpolate(
        levels[:, :, 16:48, 16:48], (160, 160), mode="bilinear", antialias=True, align_corners=False
    )
    torch.testing.assert_close(cropped, net.net((inner - 127.5) / 128), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["lpips-vgg", "lpips-squeeze"])
def test_lpips_is_the_packages_number(folder: Path, pictures: torch.Tensor, kind: str) -> None:
    place(kind)
    net = build(kind)
    other = pictures.roll(3, 3)
    found = perceptual_distance(net(pictures), net(other))
    with torch.no_grad():
        theirs = net.metric(pictures, other).flatten()
    torch.testing.assert_close(found, theirs, rtol=1e-4, atol=1e-6)
    assert (found > 0).all()


def test_the_parser_gives_logits_at_the_pictures_size(
    folder: Path, pictures: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faces, "SEGFORMER", B0)
    place("segformer")
    net = build("segformer")
    moving = pictures.clone().requires_grad_(True)
    logits = net(moving)
    assert logits.shape == (2, 19, 64, 64)
    (g,) = torch.autograd.grad(logits.softmax(1)[:, 3].sum(), moving)
    assert g.abs().sum() > 0
    mean, deviation = (torch.tensor(v)[:, None, None] for v in (faces._MEAN, faces._DEVIATION))
    big = F.interpolate((pictures + 1) / 2, (512, 512), mode="bilinear", antialias=True)
    small = net.net(pixel_values=(big - mean) / deviation).logits
    torch.testing.assert_close(
        logits.detach(), F.interpolate(small, (64, 64), mode="bilinear"), atol=1e-4, rtol=1e-3
    )


@pytest.mark.parametrize("kind", ["facenet", "segformer", "lpips-vgg", "dlib"])
def test_missing_and_foreign_files_are_one_sentence(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DiffInfError, match="diffinf weights fetch"):
        build(kind)
    path = pretrained(NAMES[kind][1]).path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not weights")
    with pytest.raises(DiffInfError, match="not a readable file"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build(kind)
    if kind == "dlib":
        save_file({"recognition.fc.weight": torch.zeros(3)}, path)
        with pytest.raises(DiffInfError, match="not a readable file"):
            build(kind)
    elif kind != "segformer":
        torch.save({"other.weight": torch.zeros(3)}, path)
        with pytest.raises(DiffInfError, match="not a readable file"):
            build(kind)


def test_auto_takes_what_is_there_and_the_demo_keeps_its_own(folder: Path) -> None:
    auto = RepairConfig()
    own = {"identity": "demo", "parsing": "demo"}
    assert dict(profile(DataConfig()).perceptors) == own
    assert chosen(auto, own, 64) == {**own, "perceptual": "lpips-alex"}
    assert chosen(auto, own, 32) == {**own, "perceptual": "demo"}
    assert chosen(auto, {}, 128) == {
        "identity": "z_sem", "parsing": "none", "perceptual": "lpips-alex",
    }  # fmt: skip
    place("dlib")
    assert chosen(auto, {}, 128)["identity"] == "dlib"
    place("facenet")
    found = chosen(auto, {}, 128)
    assert found["identity"] == "facenet"
    assert chosen(auto, own, 64)["identity"] == "demo"
    assert weights_file("facenet") in files_of(found) and shipped("lpips") in files_of(found)
    asked = RepairConfig(identity="none", perceptual="lpips-vgg")
    assert chosen(asked, {}, 32)["identity"] == "none"
    with pytest.raises(DiffInfError, match="lpips-vgg"):
        files_of(chosen(asked, {}, 32))


def test_a_repair_by_published_networks_says_their_names(
    folder: Path, run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights: the whole way, not the pictures."""
    monkeypatch.setattr(faces, "SEGFORMER", B0)
    for kind in ("facenet", "segformer"):
        place(kind)
    asked = {"identity": "facenet", "parsing": "segformer", "perceptual": "lpips-alex", "steps": 2}
    engine = open_run(run_copy)
    sample = str(engine.queue["id"].iloc[0])
    before = set(engine.pictures.versions(sample))
    *_, edit = engine.repair.edit(sample, asked)
    assert isinstance(edit, Edit) and edit.version not in before
    assert edit.identity_name == "FaceNet VGGFace2" and edit.perceptual_name == "LPIPS-Alex v0.1"
    assert edit.identity is not None and -1 <= edit.identity <= 1
    assert {"identity", "structure", "perceptual"} <= set(edit.losses)
    # other weights in the same place are another edit
    torch.manual_seed(9)
    state = torch.load(weights_file("facenet"), weights_only=True)
    torch.save({k: v * 0.999 if v.is_floating_point() else v for k, v in state.items()},
               weights_file("facenet"))  # fmt: skip
    *_, again = open_run(run_copy).repair.edit(sample, asked)
    assert isinstance(again, Edit) and again.version != edit.version
    torch.save({k: v * float("nan") if v.is_floating_point() else v for k, v in state.items()},
               weights_file("facenet"))  # fmt: skip
    with pytest.raises(DiffInfError, match="FaceNet VGGFace2 gives no number"):
        list(open_run(run_copy).repair.edit(sample, asked))
    with pytest.raises(DiffInfError, match="lpips-vgg"):
        config = change(engine.config, {"repair": {"perceptual": "lpips-vgg"}})
        list(open_run(run_copy, config).compute())
