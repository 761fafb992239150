"""Generators on latents: first stages, encoded pictures, conditions, training, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from diffinf_core.diffusion.autoencoder import (
    Architecture,
    Attribute,
    DiffusionAutoencoder,
    coarse_colour,
)
from diffinf_core.diffusion.conditions import covariate, covariate_indices, trusted_fraction
from diffinf_core.diffusion.first_stage import (
    BESIDE,
    FirstStage,
    import_first_stage,
    load_first_stage,
)
from diffinf_core.diffusion.label_free import LabelAdversary, side_information
from diffinf_core.diffusion.latent_source import Conditions, LatentSource
from diffinf_core.diffusion.latents import Latents, encode_latents, open_latents
from diffinf_core.diffusion.loading import load_autoencoder
from diffinf_core.diffusion.settings import ON_LATENTS, GeneratorTraining
from diffinf_core.diffusion.tiny import tiny_decoder, tiny_encoder
from diffinf_core.diffusion.trainer import averaged_weights, train_generator
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_tensors
from diffinf_core.runs.run import StageFolder
from diffinf_core.weights.files import save_weights

SIZE, CHANNELS = 64, 4


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> FirstStage:
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    for name, net in (("encoder", tiny_encoder), ("decoder", tiny_decoder)):
        state = net(CHANNELS, True).state_dict()
        save_file({k: v.half() for k, v in state.items()}, folder / f"own_{name}.safetensors")
    return load_first_stage(import_first_stage(folder, folder / "out"))


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (21, SIZE, SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def latents(
    stage: FirstStage, pictures: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> Latents:
    folder = StageFolder(tmp_path_factory.mktemp("latents") / "x", "x")
    for _ in encode_latents(folder, stage, pictures.__getitem__, len(pictures), SIZE):
        pass
    return open_latents(folder)


def architecture(latents: Latents, colour: bool = True) -> Architecture:
    return Architecture(
        image_size=SIZE, z_dim=16, patch=1, widths=(16, 16), embed=16, encoder_width=8,
        attributes=(
            Attribute(name="label", classes=("a", "b", "c")),
            Attribute(name="sex", classes=("f", "m"), covariate=True),
        ),
        latent=latents.space, colour=colour,
    )  # fmt: skip


def source(latents: Latents, pictures: NDArray[np.uint8]) -> LatentSource:
    n = len(pictures)
    labels = np.where(np.arange(n) % 4 == 3, -1, np.arange(n) % 3)
    return LatentSource(latents, pictures, Conditions(labels, (np.arange(n) % 2)[:, None]))


def test_latents_are_those_of_the_pictures_and_of_their_mirrored_copies(
    stage: FirstStage, pictures: NDArray[np.uint8], latents: Latents
) -> None:
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert latents.values.shape == (21, 2, CHANNELS, 8, 8) and latents.values.dtype == np.float16
    for k, view in enumerate((x, x.flip(3))):
        want = stage.encode(view).numpy()
        np.testing.assert_allclose(latents.values[:, k], want, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(latents.colours, coarse_colour(x).numpy(), atol=1e-6)
    values = latents.values.astype(np.float64)
    np.testing.assert_allclose(latents.space.mean, values.mean((0, 1, 3, 4)), atol=1e-5)
    np.testing.assert_allclose(latents.space.deviation, values.std((0, 1, 3, 4)), atol=1e-5)


def test_a_killed_encoding_goes_on_where_it_was(
    stage: FirstStage, latents: Latents, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    many = np.tile(pictures, (8, 1, 1, 1))[:150]
    folder = StageFolder(tmp_path / "x", "x")
    read: list[int] = []

    def reading(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        read.extend(rows.tolist())
        return many[rows]

    work = encode_latents(folder, stage, reading, 150, SIZE)
    for event in work:
        if event.done > 130:
            break
    work.close()
    assert not folder.done
    read.clear()
    for _ in encode_latents(folder, stage, reading, 150, SIZE):
        pass
    assert folder.done and min(read) == 128
    np.testing.assert_array_equal(open_latents(folder).values[:16], latents.values[:16])


def test_a_resumed_training_is_bit_identical(
    latents: Latents, stage: FirstStage, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    config = GeneratorTraining(
        **{**ON_LATENTS, "steps": 6, "batch_size": 4, "evaluate_every": 3, "checkpoint_every": 2,
           "label_free_after": 2}
    )  # fmt: skip
    given = (source(latents, pictures), architecture(latents), config)

    def train(file: Path, until: int) -> None:
        file.parent.mkdir(exist_ok=True)
        work = train_generator(*given, file, "cpu", first_stage=stage)
        for event in work:
            if event.done == until:
                break
        work.close()

    train(tmp_path / "a" / "g.ckpt", 6)
    train(tmp_path / "b" / "g.ckpt", 3)
    train(tmp_path / "b" / "g.ckpt", 6)
    one, two = (averaged_weights(tmp_path / k / "g.ckpt").state_dict() for k in "ab")
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert len(list((tmp_path / "a" / "grids").iterdir())) == 2


def test_a_time_budget_ends_with_the_whole_decay(
    latents: Latents, stage: FirstStage, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    config = GeneratorTraining(
        **{**ON_LATENTS, "minutes": 1e-4, "batch_size": 4, "evaluate_every": 10**6}
    )
    given = (source(latents, pictures), architecture(latents), config)
    *_, last = train_generator(*given, tmp_path / "g.ckpt", "cpu", first_stage=stage)
    assert last.done == last.total
    state = read_tensors(tmp_path / "g.ckpt")
    assert state["step"] == state["decay_from"] + state["decay_steps"]


def test_inversion_and_decoding_run_on_latents_and_come_back_as_pictures(
    latents: Latents, stage: FirstStage
) -> None:
    torch.manual_seed(0)
    model = DiffusionAutoencoder(architecture(latents), stage).eval()
    x = torch.rand(2, 3, SIZE, SIZE) * 2 - 1
    x0 = model.latent(x)
    assert x0.shape == (2, CHANNELS, 8, 8)
    z = model.encode(x, x0)
    assert z.shape == (2, 19)
    torch.testing.assert_close(z[:, 16:], coarse_colour(x))
    torch.testing.assert_close(z, model.encode(x))
    label = torch.tensor([[1, 0], [2, 1]])
    again = model.decode(model.invert(x0, z, 4, 600, label), z, 4, 600, label)
    assert again.shape == x0.shape and model.pixels(again).shape == x.shape
    assert not any(key.startswith("first_stage") for key in model.state_dict())


def test_untrusted_labels_are_unknown_and_nothing_else_is(
    latents: Latents, pictures: NDArray[np.uint8]
) -> None:
    here = source(latents, pictures)
    batch = here.batch(np.random.default_rng(0), 4000)
    assert batch.shown is not None and batch.colour is not None
    used = np.arange(21) % 4 == 3
    assert abs((batch.shown < 0).mean() - used[here._used].mean()) < 0.03
    known = batch.shown >= 0
    dropped = (batch.label[:, 0] < 0) & known
    assert abs(dropped.sum() / known.sum() - here.LABEL_DROPOUT) < 0.02
    kept = known & ~dropped
    np.testing.assert_array_equal(batch.label[kept, 0], batch.shown[kept])
    assert abs((batch.label[:, 1] < 0).mean() - here.COVARIATE_DROPOUT) < 0.02


def test_the_adversary_pulls_codes_to_what_side_information_tells() -> None:
    torch.manual_seed(0)
    label = torch.arange(300) % 3
    side = torch.nn.functional.one_hot((label > 0).long(), 2).float()
    z = (torch.randn(300, 8) * 0.1 + torch.nn.functional.one_hot(label, 8)).requires_grad_(True)
    net = LabelAdversary(8, 2, 3)
    guessers = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(200):
        guessers.zero_grad()
        net(z.detach(), side, label)["guess"].backward()
        guessers.step()
    out = net(z, side, label)
    assert out["adversary"] < 0.1 < 0.4 < out["side_alone"]
    net.zero_grad()
    out["confusion"].backward()
    assert all(p.grad is None or not p.grad.any() for p in net.parameters())
    codes = torch.optim.Adam([z], 5e-2)
    for _ in range(300):
        codes.zero_grad()
        net(z, side, label)["confusion"].backward()
        codes.step()
    # no guess better than the side information's is left to this adversary
    assert net(z, side, label)["adversary"] > 0.9 * out["side_alone"]


def test_side_information_is_colour_and_one_hot_covariates() -> None:
    covariates = torch.tensor([[1, -1], [0, 2]])
    out = side_information(torch.zeros(2, 3), covariates, (2, 3))
    assert out.tolist() == [[0, 0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 1]]
    assert side_information(None, covariates[:, :0], ()).shape == (2, 0)


def test_covariates_come_from_columns() -> None:
    table = pd.DataFrame({"sex": ["m", "f", "", "m"], "age": list("abcd"), "one": ["x"] * 4})
    sex = covariate(table, "sex")
    assert sex.classes == ("f", "m") and sex.covariate
    assert covariate_indices(table, [sex])[:, 0].tolist() == [1, 0, -1, 1]
    assert covariate_indices(table[["age"]], [sex])[:, 0].tolist() == [-1] * 4
    with pytest.raises(DiffInfError, match="no column 'race'"):
        covariate(table, "race")
    with pytest.raises(DiffInfError, match="1 groups"):
        covariate(table, "one")
    assert trusted_fraction(0.2) == 0.7 and trusted_fraction(0.3) == 0.55


def saved(latents: Latents, folder: Path) -> Path:
    model = DiffusionAutoencoder(architecture(latents))
    file = folder / "generator.safetensors"
    save_weights(file, model, {"architecture": model.architecture.model_dump(mode="json")})
    return file


def test_a_missing_cut_or_other_first_stage_is_one_sentence(
    latents: Latents, stage: FirstStage, tmp_path: Path
) -> None:
    file = saved(latents, tmp_path)
    with pytest.raises(DiffInfError, match="is not beside it"):
        load_autoencoder(file)
    card = {"first_stage": dict(stage.about)}
    save_weights(tmp_path / BESIDE, stage, card)
    assert not load_autoencoder(file).on_pixels
    whole = (tmp_path / BESIDE).read_bytes()
    (tmp_path / BESIDE).write_bytes(whole[:-100])
    with pytest.raises(DiffInfError, match="corrupt"):
        load_autoencoder(file)
    torch.manual_seed(5)
    other = FirstStage(tiny_encoder(CHANNELS, True), tiny_decoder(CHANNELS, True), stage.about)
    save_weights(tmp_path / BESIDE, other, card)
    with pytest.raises(DiffInfError, match="another file"):
        load_autoencoder(file)


def test_files_that_are_no_first_stage_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DiffInfError, match="does not exist"):
        import_first_stage(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(DiffInfError, match="no file"):
        import_first_stage(tmp_path, tmp_path / "out")
    (tmp_path / "x_encoder.safetensors").write_bytes(b"short")
    with pytest.raises(DiffInfError, match="cut short"):
        import_first_stage(tmp_path, tmp_path / "out")
    save_file({"0.weight": torch.zeros(2)}, tmp_path / "x_encoder.safetensors")
    with pytest.raises(DiffInfError, match=r"x_decoder.*does not exist"):
        import_first_stage(tmp_path, tmp_path / "out")
    save_file({"0.weight": torch.zeros(2)}, tmp_path / "x_decoder.safetensors")
    with pytest.raises(DiffInfError, match="TAESD family"):
        import_first_stage(tmp_path, tmp_path / "out")


def test_pictures_that_the_first_stage_cannot_divide_are_refused(
    stage: FirstStage, tmp_path: Path
) -> None:
    work = encode_latents(
        StageFolder(tmp_path / "x", "x"), stage, lambda rows: np.zeros((0,), np.uint8), 1, 60
    )
    with pytest.raises(DiffInfError, match="divisible by 8"):
        next(work)
