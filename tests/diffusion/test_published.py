"""The published diffusion autoencoder: names, shapes and numbers.

Golden numbers, produced by the authors' code, lie beside the project where it is developed; those
tests are left out where they are absent. What can be said without them is tested without them.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from diffinf_core.diffusion import sampling
from diffinf_core.diffusion.attributes import CELEBA, AttributeClassifier
from diffinf_core.diffusion.loading import convert, load_autoencoder, read_checkpoint
from diffinf_core.diffusion.published import (
    PUBLISHED,
    AttentionBlock,
    GroupNorm,
    PublishedArchitecture,
    PublishedAutoencoder,
    ResBlock,
    time_embedding,
)
from diffinf_core.diffusion.schedule import abar_at, respaced
from diffinf_core.records import DiffInfError
from tests.published import checkpoint_of, shaken

GOLDEN = Path(__file__).parents[3] / "shared" / "data" / "diffae_golden"
golden = pytest.mark.skipif(not GOLDEN.is_dir(), reason="the golden numbers are not at hand")
TINY = PublishedArchitecture(
    image_size=32,
    channels=32,
    multipliers=(1, 1, 2),
    encoder_multipliers=(1, 1, 2, 2),
    encoder_res_blocks=1,
    embed=40,
    z_dim=48,
)


def numbers(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN / name, allow_pickle=False) as data:
        return {k: torch.from_numpy(data[k]) for k in data.files}


@pytest.fixture(scope="module")
def tiny() -> PublishedAutoencoder:
    model = load_autoencoder(GOLDEN / "tiny32_autoenc_last.ckpt")
    assert isinstance(model, PublishedAutoencoder)
    return model


@pytest.fixture(scope="module")
def known() -> dict[str, Tensor]:
    return numbers("tiny32_golden.npz")


# ---------------------------------------------------------------- golden numbers


@golden
@pytest.mark.parametrize("name", ["ffhq128", "ffhq256", "celeba64"])
def test_every_published_name_and_shape(name: str) -> None:
    file = {"celeba64": "celeba64d2c"}.get(name, name)
    want = json.loads((GOLDEN / f"{file}_autoenc_keys.json").read_text())
    want = want.get("keys", want) if isinstance(want, dict) else dict(want)
    with torch.device("meta"):
        found = PublishedAutoencoder(PUBLISHED[name]).state_dict()
    assert {k: list(v.shape) for k, v in found.items()} == {k: list(v) for k, v in want.items()}


@golden
def test_schedule_and_respacing() -> None:
    known = numbers("schedule.npz")
    ours = torch.tensor([abar_at(t) for t in range(1000)], dtype=torch.float64)
    torch.testing.assert_close(ours, known["alphas_cumprod"], rtol=1e-12, atol=0)
    valid = {int(row[0]): row.tolist() for row in known["valid_T"]}
    for steps in range(1, 1001):
        if steps in valid:
            times = respaced(steps)
            assert [len(times), times[1] if steps > 1 else 0, times[-1]][::2] == [
                steps,
                valid[steps][2],
            ]
            assert times[0] == 0 and times[1] == valid[steps][1]
        else:
            with pytest.raises(ValueError, match="even spacing"):
                respaced(steps)


def block_weights(data: dict[str, Tensor], case: str) -> dict[str, Tensor]:
    head = f"{case}.w."
    return {k.removeprefix(head): v for k, v in data.items() if k.startswith(head)}


@golden
def test_every_single_block() -> None:
    data = numbers("blocks.npz")
    cases = sorted({k.split(".")[0] for k in data} - {"temb"})
    assert len(cases) == 11
    for case in cases:
        weights = block_weights(data, case)
        x = data[f"{case}.x"]
        if case == "gn16":
            block: nn.Module = GroupNorm(16)
            given: tuple[Tensor, ...] = (x,)
        elif case.startswith("attn"):
            heads = {"attn_h1": 1, "attn_h2": 2, "attn_hc8": x.shape[1] // 8}[case]
            block, given = AttentionBlock(x.shape[1], heads), (x,)
        else:
            if f"{case}.lateral" in data:
                x = torch.cat([x, data[f"{case}.lateral"]], 1)
            cout, cin = weights["in_layers.2.weight"].shape[:2]
            side = data[f"{case}.y"].shape[-1] / x.shape[-1]
            how = {0.5: "down", 1.0: "", 2.0: "up"}[side]
            if case.startswith("enc"):
                block, given = ResBlock(cin, cout, how), (x,)
            else:
                emb, cond = data[f"{case}.emb"], data[f"{case}.cond"]
                block = ResBlock(cin, cout, how, embed=emb.shape[1], z_dim=cond.shape[1])
                given = (x, emb, cond)
        block.load_state_dict(weights)
        with torch.no_grad():
            found = block.eval()(*given)
        torch.testing.assert_close(found, data[f"{case}.y"], atol=1e-5, rtol=1e-5, msg=case)


@golden
def test_time_embedding() -> None:
    data = numbers("blocks.npz")
    for width in (32, 64, 128):
        found = time_embedding(data["temb.t"], width)
        torch.testing.assert_close(found, data[f"temb.dim{width}"], atol=1e-5, rtol=1e-5)


@golden
@torch.no_grad()
def test_codes_and_noise_of_the_tiny_network(
    tiny: PublishedAutoencoder, known: dict[str, Tensor]
) -> None:
    z = tiny.encode(known["img"])
    torch.testing.assert_close(z, known["z_sem"], atol=2e-4, rtol=0)
    z = known["z_sem"]
    embedded = tiny.time_embed(time_embedding(known["t_list"], 32))
    torch.testing.assert_close(embedded, known["time_emb"], atol=1e-5, rtol=0)
    for t in (0, 50, 350, 500, 950):
        found = tiny.eps(known[f"x_t.{t}"], t, z)
        torch.testing.assert_close(found, known[f"eps.{t}"], atol=2e-4, rtol=0)
    mixed = tiny.eps(known["x_t.mixed"], torch.tensor([500, 50]), z)
    torch.testing.assert_close(mixed, known["eps.mixed"], atol=2e-4, rtol=0)
    swapped = tiny.eps(known["x_t.500"], 500, z.flip(0))
    torch.testing.assert_close(swapped, known["eps.500.zswap"], atol=2e-4, rtol=0)


@golden
@torch.no_grad()
def test_inversion(tiny: PublishedAutoencoder, known: dict[str, Tensor]) -> None:
    z, states, estimates = known["z_sem"], [], []

    def predict(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        states.append(x_t)
        found = tiny.predict(x_t, t, z)
        estimates.append(found[0])
        return found

    x_T = sampling.invert_respaced(predict, known["img"], 20)
    close = {"atol": 1e-3, "rtol": 0}
    torch.testing.assert_close(x_T, known["enc20.x_T"], **close)
    torch.testing.assert_close(states[1], known["enc20.after1"], **close)
    torch.testing.assert_close(states[10], known["enc20.after10"], **close)
    torch.testing.assert_close(estimates[0], known["enc20.xstart_first"], **close)
    torch.testing.assert_close(estimates[-1], known["enc20.xstart_last"], atol=1e-2, rtol=0)
    torch.testing.assert_close(tiny.invert(known["img"], z, 50), known["enc50.x_T"], **close)


@golden
@torch.no_grad()
def test_decoding(tiny: PublishedAutoencoder, known: dict[str, Tensor]) -> None:
    z, x_T = known["z_sem"], known["enc20.x_T"]
    states: list[Tensor] = []
    estimates: list[Tensor] = []

    def look(step: int, t: int, x_t: Tensor, x0: Tensor) -> Tensor:
        states.append(x_t)
        estimates.append(x0)
        return x0

    close = {"atol": 1e-3, "rtol": 0}
    torch.testing.assert_close(tiny.decode(x_T, z, 20, callback=look), known["dec20.img"], **close)
    torch.testing.assert_close(states[1], known["dec20.after1"], **close)
    torch.testing.assert_close(states[19], known["dec20.after19"], **close)
    torch.testing.assert_close(estimates[0], known["dec20.xstart_first"], atol=1e-2, rtol=0)
    torch.testing.assert_close(tiny.decode(x_T, z, 10), known["dec10.img"], **close)
    torch.testing.assert_close(tiny.decode(x_T, z.flip(0), 20), known["dec20.zswap"], **close)
    torch.testing.assert_close(tiny.decode(known["rand_x_T"], z, 20), known["dec20.rand"], **close)


@golden
def test_gradient_of_the_training_loss(
    tiny: PublishedAutoencoder, known: dict[str, Tensor]
) -> None:
    z = known["z_sem"].clone().requires_grad_()
    eps = tiny.eps(known["x_t.mixed"], torch.tensor([500, 50]), z)
    loss = (eps - known["noise"]).square().mean((1, 2, 3))
    torch.testing.assert_close(loss, known["loss.mixed"], atol=1e-5, rtol=0)
    (grad,) = torch.autograd.grad(loss.sum(), z)
    torch.testing.assert_close(grad, known["grad_z.mixed"], atol=2e-6, rtol=1e-3)


@golden
def test_attribute_classifier_and_its_edits() -> None:
    data = numbers("cls_golden.npz")
    classifier = AttributeClassifier.load(GOLDEN / "synthetic_cls_last.ckpt")
    close = {"atol": 1e-4, "rtol": 1e-5}
    torch.testing.assert_close(classifier.normalise(data["z"]), data["z_norm"], **close)
    torch.testing.assert_close(classifier.logits(data["z"]), data["logits"], **close)
    edits = [k for k in data if k.startswith("edit.")]
    assert len(edits) == 4
    for key in edits:
        _, attribute, strength = key.split(".", 2)
        found = classifier.edit(data["z"], attribute, float(strength))
        torch.testing.assert_close(found, data[key], **close)


# ---------------------------------------------------------------- checkpoints


class ModelCheckpoint:
    """Stands for the class that a training framework leaves in its checkpoints."""


ModelCheckpoint.__module__ = "pytorch_lightning.callbacks.model_checkpoint"


def save_with_class(path: Path, content: dict[str, Any]) -> None:
    """Save as the framework does, though it is not installed."""
    import sys
    import types

    names = ["pytorch_lightning", "pytorch_lightning.callbacks", ModelCheckpoint.__module__]
    for name in names:
        sys.modules[name] = types.ModuleType(name)
    sys.modules[ModelCheckpoint.__module__].ModelCheckpoint = ModelCheckpoint  # type: ignore[attr-defined]
    try:
        torch.save(content, path)
    finally:
        for name in names:
            del sys.modules[name]


def test_averaged_weights_load_without_the_training_framework(tmp_path: Path) -> None:
    model, file = shaken(TINY), tmp_path / "last.ckpt"
    save_with_class(file, checkpoint_of(model, callbacks={ModelCheckpoint: {"best": 1}}))
    found = load_autoencoder(file)
    assert isinstance(found, PublishedAutoencoder) and found.architecture == TINY
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=0, atol=0)
    assert not any(p.requires_grad for p in found.parameters()) and not found.training


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (Path.touch, (self.target,))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_is_refused_and_nothing_runs(tmp_path: Path, zipped: bool) -> None:
    file, mark = tmp_path / "last.ckpt", tmp_path / "ran"
    content = checkpoint_of(shaken(TINY), callbacks={"x": Hostile(mark)})
    if zipped:
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps({"state_dict": {}, "callbacks": Hostile(mark)}))
    with pytest.raises(DiffInfError) as caught:
        load_autoencoder(file)
    assert "could run code" in str(caught.value) or "not a readable" in str(caught.value)
    assert not mark.exists()


def test_broken_checkpoints_are_one_sentence(tmp_path: Path) -> None:
    good = tmp_path / "good.ckpt"
    torch.save(checkpoint_of(shaken(TINY)), good)
    data = good.read_bytes()
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(data[: len(data) // 2])
    empty = tmp_path / "empty.ckpt"
    empty.write_bytes(b"")
    plain = tmp_path / "plain.ckpt"
    torch.save({"weights": torch.zeros(2)}, plain)
    raw = tmp_path / "raw.ckpt"
    torch.save({"state_dict": {"model.x": torch.zeros(2)}}, raw)
    for path, sentence in (
        (tmp_path / "none.ckpt", "does not exist"),
        (cut, "not a readable checkpoint"),
        (empty, "not a readable checkpoint"),
        (plain, "no 'state_dict'"),
        (raw, "no 'ema_model"),
    ):
        with pytest.raises(DiffInfError, match=sentence):
            load_autoencoder(path)
    with pytest.raises(DiffInfError, match="Unknown architecture 'ffhq512'"):
        load_autoencoder(good, "ffhq512")
    with pytest.raises(DiffInfError, match="does not fit the given architecture"):
        load_autoencoder(good, "ffhq128")


def test_a_missing_or_foreign_tensor_is_named(tmp_path: Path) -> None:
    content = checkpoint_of(shaken(TINY))
    del content["state_dict"]["ema_model.middle_block.1.qkv.weight"]
    file = tmp_path / "last.ckpt"
    torch.save(content, file)
    with pytest.raises(DiffInfError, match=r"middle_block\.1\.qkv\.weight is missing"):
        load_autoencoder(file)
    content = checkpoint_of(shaken(TINY))
    content["state_dict"]["ema_model.out.2.bias"] = torch.zeros(4)
    torch.save(content, file)
    with pytest.raises(DiffInfError, match=r"out\.2\.bias is \(4,\) instead of \(3,\)"):
        load_autoencoder(file)


def test_conversion_keeps_every_digit(tmp_path: Path) -> None:
    source, target = tmp_path / "last.ckpt", tmp_path / "tiny.safetensors"
    model = shaken(TINY)
    torch.save(checkpoint_of(model), source)
    assert convert(source, target) == TINY
    assert target.stat().st_size < source.stat().st_size / 1.8
    found = load_autoencoder(target)
    assert isinstance(found, PublishedAutoencoder)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=0, atol=0)
    with pytest.raises(DiffInfError, match=r"must end in \.safetensors"):
        convert(source, tmp_path / "tiny.bin")


def test_a_classifier_file_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "cls.ckpt"
    torch.save({"state_dict": {"conds_mean": torch.zeros(1, 8)}}, file)
    with pytest.raises(DiffInfError, match="no attribute classifier"):
        AttributeClassifier.load(file)
    classifier = AttributeClassifier(
        torch.randn(40, 8), torch.zeros(40), torch.zeros(8), torch.ones(8)
    )
    with pytest.raises(DiffInfError, match="Unknown attribute 'Beard'"):
        classifier.edit(torch.zeros(1, 8), "Beard", 0.3)
    assert len(CELEBA) == len(set(CELEBA)) == 40


def test_reading_needs_no_mapping_of_old_files(tmp_path: Path) -> None:
    file = tmp_path / "old.ckpt"
    torch.save({"state_dict": {"a": torch.ones(2)}}, file, _use_new_zipfile_serialization=False)
    assert read_checkpoint(file)["state_dict"]["a"].tolist() == [1, 1]


# ---------------------------------------------------------------- samplers without golden numbers


def gaussian(deviation: float) -> sampling.Predictor:
    """The exact predictor of pictures that are normal with mean 0: x_0 and eps are linear in x_t."""

    def predict(x_t: Tensor, t: int) -> tuple[Tensor, Tensor]:
        a = abar_at(t)
        noise = (1 - a) ** 0.5 * x_t / (a * deviation**2 + 1 - a)
        return sampling.clamped(x_t, noise, t)

    return predict


def test_inversion_then_decoding_gives_the_picture_back() -> None:
    torch.manual_seed(0)
    x = 0.2 * torch.randn(4, 3, 8, 8, dtype=torch.float64).clamp(-2, 2)
    predict = gaussian(0.2)
    errors = []
    for steps in (20, 100, 500):
        x_T = sampling.invert_respaced(predict, x, steps)
        errors.append(float((sampling.decode_respaced(predict, x_T, steps) - x).abs().max()))
    assert errors[2] < errors[1] < errors[0] and errors[2] < 0.05
    assert abs(float(x_T.std()) - 1) < 0.2, "what is left is close to unit noise"


def test_decoding_ends_inside_the_range_and_the_callback_moves_it() -> None:
    torch.manual_seed(1)
    x_T = 3 * torch.randn(2, 3, 8, 8)
    picture = sampling.decode_respaced(gaussian(0.5), x_T, 10)
    assert picture.abs().max() <= 1
    moved = sampling.decode_respaced(
        gaussian(0.5), x_T, 10, lambda step, t, x_t, x0: torch.full_like(x0, 0.25)
    )
    torch.testing.assert_close(moved, torch.full_like(moved, 0.25), atol=1e-5, rtol=0)


def test_gradients_pass_through_decoding() -> None:
    model = shaken(TINY).double()
    z = torch.randn(1, 48, dtype=torch.float64, requires_grad=True)
    x_T = 0.1 * torch.randn(1, 3, 32, 32, dtype=torch.float64)

    def score(code: Tensor) -> Tensor:
        return model.decode(x_T, code, 2, t0=300).mean()

    (grad,) = torch.autograd.grad(score(z), z)
    way = torch.randn_like(z)
    step = 1e-5
    with torch.no_grad():
        slope = (score(z + step * way) - score(z - step * way)) / (2 * step)
    assert float((grad * way).sum()) == pytest.approx(float(slope), rel=1e-4, abs=1e-12)
    assert grad.abs().max() > 0
