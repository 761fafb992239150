"""Generators on latents: first stages, encoded pictures, batches, training, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from diffinf_core.diffusion.architecture import Architecture, Attribute
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder, coarse_colour
from diffinf_core.diffusion.copies import copied
from diffinf_core.diffusion.first_stage import (
    BESIDE,
    FirstStage,
    import_first_stage,
    load_first_stage,
)
from diffinf_core.diffusion.label_free import LabelAdversary
from diffinf_core.diffusion.latent_source import Conditions, LatentSource, _chances
from diffinf_core.diffusion.latents import Latents, encode_latents, open_latents
from diffinf_core.diffusion.loading import convert, load_autoencoder
from diffinf_core.diffusion.loss import GeneratorLoss, known_cells
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
    for _ in encode_latents(folder, stage, pictures.__getitem__, len(pictures), SIZE, 3):
        pass
    return open_latents(folder)


def architecture(latents: Latents, colour: bool = True) -> Architecture:
    return Architecture(
        image_size=SIZE, z_dim=16, patch=1, widths=(16, 16), embed=16, encoder_width=8,
        attributes=(
            Attribute(name="label", classes=("a", "b", "c")),
            Attribute(name="sex", classes=("f", "m"), covariate=True),
        ),
        latent=latents.space, colour=colour, inpaints=True,
    )  # fmt: skip


def source(
    latents: Latents, pictures: NDArray[np.uint8], labels: NDArray[np.int64] | None = None,
    balance: float = 0.0,
) -> LatentSource:  # fmt: skip
    n = len(pictures)
    if labels is None:
        labels = np.where(np.arange(n) % 4 == 3, -1, np.arange(n) % 3)
    given = Conditions(labels, (np.arange(n) % 2)[:, None])
    return LatentSource(latents, pictures, given, balance=balance)


def test_latents_are_those_of_the_pictures_and_of_their_copies(
    stage: FirstStage, pictures: NDArray[np.uint8], latents: Latents
) -> None:
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert latents.values.shape == (21, 3, CHANNELS, 8, 8) and latents.values.dtype == np.float16
    first = x[:16]  # one batch, which is what a copy is random by
    for k, view in enumerate((first, first.flip(3), copied(first, 2, 0))):
        want = stage.encode(view).numpy()
        np.testing.assert_allclose(latents.values[:16, k], want, rtol=2e-3, atol=2e-3)
        colour = coarse_colour(view).numpy()
        np.testing.assert_allclose(latents.colours[:16, k], colour, atol=1e-6)
    values = latents.values.astype(np.float64)
    np.testing.assert_allclose(latents.space.mean, values.mean((0, 1, 3, 4)), atol=1e-5)
    np.testing.assert_allclose(latents.space.deviation, values.std((0, 1, 3, 4)), atol=1e-5)


@pytest.mark.parametrize("coloured", [False, True])
def test_pictures_are_grey_where_not_one_has_a_colour(
    coloured: bool, stage: FirstStage, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    some = np.repeat(pictures[:5, :, :, :1], 3, 3)
    if coloured:
        some[3, 2, 5, 0] ^= 1  # one level of one pixel
    folder = StageFolder(tmp_path / "x", "x")
    for _ in encode_latents(folder, stage, some.__getitem__, len(some), SIZE, 2):
        pass
    assert open_latents(folder).grey != coloured


def test_a_killed_encoding_goes_on_where_it_was(
    stage: FirstStage, latents: Latents, pictures: NDArray[np.uint8], tmp_path: Path
) -> None:
    many = np.tile(pictures, (8, 1, 1, 1))[:150]
    folder = StageFolder(tmp_path / "x", "x")
    read: list[int] = []

    def reading(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        read.extend(rows.tolist())
        return many[rows]

    work = encode_latents(folder, stage, reading, 150, SIZE, 1)
    for event in work:
        if event.done > 130:
            break
    work.close()
    assert not folder.done
    read.clear()
    for _ in encode_latents(folder, stage, reading, 150, SIZE, 1):
        pass
    assert folder.done and min(read) == 128
    np.testing.assert_array_equal(open_latents(folder).values[:16, 0], latents.values[:16, 0])


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


def test_copies_are_the_picture_its_mirror_and_small_changes_of_it() -> None:
    side = torch.linspace(-0.7, 0.7, 64)
    x = (side[None, :] + 0.4 * side[:, None]).expand(40, 3, 64, 64).contiguous()
    assert torch.equal(copied(x, 0, 1), x) and torch.equal(copied(x, 1, 1), x.flip(3))
    made = copied(x, 2, 1)
    assert torch.equal(made, copied(x, 2, 1))
    assert not torch.equal(made, copied(x, 2, 2)) and not torch.equal(made, copied(x, 3, 1))
    assert made.abs().max() <= 1
    as_it_is, mirrored = ((made - v).abs().mean((1, 2, 3)) for v in (x, x.flip(3)))
    # each is near one of the two and far from the other, and both occur
    assert torch.minimum(as_it_is, mirrored).max() < 0.2 < torch.maximum(as_it_is, mirrored).min()
    assert 8 < int((mirrored < as_it_is).sum()) < 32


def test_a_balanced_fraction_of_the_draws_gives_each_class_the_same_chance(
    latents: Latents, pictures: NDArray[np.uint8]
) -> None:
    labels = np.array([0] * 12 + [1] * 4 + [-1] * 5)
    for balance in (0.0, 0.5, 1.0):
        here = source(latents, pictures, labels, balance)
        n = len(here)
        used = labels[here._used]
        sizes = np.array([(used == k).sum() for k in (0, 1, -1)])
        chance = (1 - balance) * sizes / n + balance * np.array([0.5, 0.5, 0])
        shown = here.batch(np.random.default_rng(0), 20_000).shown
        assert shown is not None
        drawn = [(shown == k).mean() for k in (0, 1, -1)]
        np.testing.assert_allclose(drawn, chance, atol=0.012)
        given = here.frequencies()
        assert given is not None
        np.testing.assert_allclose(given, chance[:2] / chance[:2].sum(), rtol=1e-9)


def test_each_class_has_the_same_chance_also_where_it_lacks_a_group() -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2, -1], [800, 150, 50, 100])
    group = rng.integers(0, 2, (len(label), 2))
    group[label == 2] = 0
    chance = _chances(label, group, 1.0)
    np.testing.assert_allclose([chance[label == k].sum() for k in range(3)], 1 / 3)
    same = _chances(label, np.maximum(label, 0)[:, None], 1.0)
    np.testing.assert_allclose([same[label == k].sum() for k in range(3)], 1 / 3)


def test_among_balanced_draws_a_covariate_does_not_tell_the_label() -> None:
    """What goes along with a label in the data goes with no label in the draws; unknown labels as before."""
    label = np.array([0] * 90 + [1] * 10 + [0] * 10 + [1] * 90 + [-1] * 100)
    group = np.array([0] * 100 + [1] * 100 + [0, 1] * 50)[:, None]
    chance = _chances(label, group, 1.0)
    cells = [[chance[(label == k) & (group[:, 0] == c)].sum() for c in (0, 1)] for k in (0, 1)]
    np.testing.assert_allclose(cells, 0.25)
    np.testing.assert_allclose(_chances(label, group, 0.4)[label == -1], 0.6 / len(label))
    # the only picture of its kind would be a quarter of the draws
    label[90:110] = [1] + [0] * 19
    assert 0.05 < _chances(label, group, 1.0)[90] < 0.1


def test_the_adversary_learns_the_label_and_pulls_codes_to_the_classes_frequencies() -> None:
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    label = torch.tensor([0, 0, 0, 1, 1, 2]).repeat(20)
    frequencies = torch.tensor([3.0, 2.0, 1.0])
    chance = float(torch.distributions.Categorical(frequencies).entropy())
    net = LabelAdversary(8, frequencies)
    z = torch.nn.functional.one_hot(label, 8) + 0.1 * torch.randn(120, 8)
    for _ in range(60):
        told = net.learn(z, label, rng)
    assert told < 0.6 * chance
    learnt = [p.clone() for p in net.parameters()]
    begin = net.pull(z, rng)
    z.requires_grad_(True)
    optimiser = torch.optim.Adam([z], 3e-2)
    for _ in range(150):
        optimiser.zero_grad()
        net.pull(z, rng).backward()
        optimiser.step()
    # the least that it can be is the entropy of the frequencies, at a guess of these
    assert chance <= net.pull(z.detach(), rng) < 0.75 * begin
    guess = net(z.detach(), rng).log_softmax(1)
    assert torch.nn.functional.nll_loss(guess, label) > 1.5 * told
    # it moves codes, and no weight of the adversary
    assert all(torch.equal(a, b) for a, b in zip(learnt, net.parameters(), strict=True))


def test_what_is_known_around_a_region_covers_blobs_of_every_size() -> None:
    x = torch.zeros(4000, 2, 16, 16)
    known = known_cells(x, 0.6, torch.Generator().manual_seed(0))
    assert known.shape == (4000, 1, 16, 16) and set(known.unique().tolist()) == {0.0, 1.0}
    share = known.mean((1, 2, 3))
    assert (share > 0).float().mean() == pytest.approx(0.6, abs=0.03)
    of = share[share > 0]
    assert of.min() > 0.08 and of.max() < 0.92 and of.mean() == pytest.approx(0.5, abs=0.02)
    # blobs: a cell is as its neighbour is
    some = known[share > 0]
    assert (some[..., 1:] == some[..., :-1]).float().mean() > 0.85


def test_inpainting_is_refused_where_the_network_cannot() -> None:
    with pytest.raises(DiffInfError, match="inpaint is a setting of generators on latents"):
        GeneratorLoss(Architecture(), GeneratorTraining(inpaint=0.5), False)


def test_a_sure_and_wrong_guess_pulls_no_further() -> None:
    net = LabelAdversary(8, torch.ones(2))
    last = net.layers[-1]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([50.0, -50.0]))
    pull = net.pull(torch.zeros(4, 8), torch.Generator().manual_seed(0))
    assert float(pull) == pytest.approx(2.0)  # half of the classes at a log-probability of -4


def saved(latents: Latents, folder: Path) -> Path:
    model = DiffusionAutoencoder(architecture(latents))
    file = folder / "generator.safetensors"
    save_weights(file, model, {"architecture": model.architecture.model_dump(mode="json")})
    return file


def test_a_folder_stands_for_the_weights_that_its_training_left(
    latents: Latents, stage: FirstStage, tmp_path: Path
) -> None:
    with pytest.raises(DiffInfError, match=r"holds no generator\.safetensors.*give the file"):
        load_autoencoder(tmp_path)
    file = saved(latents, tmp_path)
    save_weights(tmp_path / BESIDE, stage, {"first_stage": dict(stage.about)})
    assert load_autoencoder(tmp_path).file == file == load_autoencoder(file).file
    with pytest.raises(DiffInfError, match="safetensors already"):
        convert(tmp_path, tmp_path / "other.safetensors")


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
        StageFolder(tmp_path / "x", "x"), stage, lambda rows: np.zeros((0,), np.uint8), 1, 60, 2
    )
    with pytest.raises(DiffInfError, match="divisible by 8"):
        next(work)
