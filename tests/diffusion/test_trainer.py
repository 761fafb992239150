"""Training of the generator: resumes bit by bit, refuses foreign checkpoints, and learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from diffinf_core.data.part import to_tensor
from diffinf_core.data.rendered.scenes import open_scenes, render_scenes
from diffinf_core.diffusion.architecture import Architecture, Attribute
from diffinf_core.diffusion.assets import architecture_for
from diffinf_core.diffusion.loading import load_autoencoder
from diffinf_core.diffusion.loss import GeneratorLoss
from diffinf_core.diffusion.settings import GeneratorTraining
from diffinf_core.diffusion.sources import (
    Batch,
    PictureSource,
    SceneSource,
    SeededBatch,
    held_rows,
    read_ahead,
)
from diffinf_core.diffusion.trainer import averaged_weights, train_generator
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_tensors, write_tensors
from diffinf_core.weights.files import save_weights


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SceneSource:
    folder = tmp_path_factory.mktemp("scenes")
    for _ in render_scenes(folder, 30, 1, 32):
        pass
    scenes = open_scenes(folder)
    return SceneSource(scenes, held=to_tensor(scenes.images[:4, 0, 0]))


@pytest.fixture(scope="module")
def architecture(source: SceneSource) -> Architecture:
    return Architecture(
        image_size=32,
        z_dim=16,
        widths=(8, 16),
        embed=16,
        encoder_width=8,
        attributes=tuple(Attribute.model_validate(a) for a in source.attributes()),
    )


SETTINGS = GeneratorTraining(
    warmup_steps=4, steps=8, batch_size=6, checkpoint_every=3, evaluate_every=5
)


def train(
    source: Any, architecture: Architecture, settings: GeneratorTraining, file: Path, **k: Any
) -> Path:
    """Train to the end on the CPU."""
    for _ in train_generator(source, architecture, settings, file, "cpu", **k):
        pass
    return file


def weights_of(file: Path) -> dict[str, torch.Tensor]:
    return averaged_weights(file).state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[k], b[k]) for k in a)


def test_batches_differ_from_their_source_only_in_what_they_are_conditioned_on(
    source: SceneSource,
) -> None:
    batch = source.batch(np.random.default_rng(0), 64)
    conditioned = (batch.label >= 0).any(1)
    np.testing.assert_array_equal(batch.target[~conditioned], batch.source[~conditioned])
    moved = np.abs(batch.target[conditioned].astype(int) - batch.source[conditioned]).mean(
        (1, 2, 3)
    )
    # Two faint traces of the same expression can round to the same picture.
    assert (moved > 0).mean() > 0.8
    assert batch.weight is not None
    assert float(batch.weight.mean()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("readers", [1, 3])
def test_batches_read_ahead_are_those_read_when_asked_for(
    source: SceneSource, readers: int
) -> None:
    plain = list(read_ahead(source, 5, range(3, 12), 0, 2, 4, 0))
    threaded = list(read_ahead(source, 5, range(3, 12), 0, 2, 4, readers))
    assert len(plain) == len(threaded) == 9
    for one, other in zip(plain, threaded, strict=True):
        assert [d.seed for d in one] == [d.seed for d in other]
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a.batch.target, b.batch.target)
            np.testing.assert_array_equal(a.batch.label, b.batch.label)
    seeds = [d.seed for draws in plain for d in draws]
    other = next(read_ahead(source, 5, range(3, 4), 1, 2, 4, 0))
    assert len({*seeds, *(d.seed for d in other)}) == len(seeds) + 2


def test_an_error_in_a_reader_reaches_the_training(source: SceneSource) -> None:
    class Broken:
        paired = False

        def batch(self, rng: np.random.Generator, size: int) -> None:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(read_ahead(Broken(), 0, range(3), 0, 1, 4, 2))  # type: ignore[arg-type]


def test_held_out_pictures_are_in_no_batch() -> None:
    images = np.zeros((60, 32, 32, 3), np.uint8)
    images[:] = np.arange(60, dtype=np.uint8)[:, None, None, None]
    source = PictureSource(images, np.arange(60) % 3)
    held = set(held_rows(60).tolist())
    assert len(held) == 3
    rng = np.random.default_rng(0)
    seen = {int(i) for _ in range(30) for i in source.batch(rng, 16).target[:, 0, 0, 0]}
    assert seen == set(range(60)) - held
    assert source.held_out().shape == (3, 3, 32, 32)
    labels = np.concatenate([source.batch(rng, 16).label[:, 0] for _ in range(60)])
    assert 0.12 < (labels < 0).mean() < 0.28


def test_killed_training_goes_on_bit_identically(
    source: SceneSource, architecture: Architecture, tmp_path: Path
) -> None:
    whole = train(source, architecture, SETTINGS, tmp_path / "whole" / "g.ckpt")
    cut = tmp_path / "cut" / "g.ckpt"
    for stop in (5, 7, 11):  # killed in the first phase, then in the second
        for event in train_generator(source, architecture, SETTINGS, cut, "cpu"):
            if event.done == stop:
                break
    train(source, architecture, SETTINGS, cut)
    assert same(weights_of(whole), weights_of(cut))
    grids = [sorted(p.name for p in (f.parent / "grids").iterdir()) for f in (whole, cut)]
    assert grids[0] == grids[1] == ["step-000009.png"]
    steps = [pd.read_csv(f.parent / "curve.csv")["step"].tolist() for f in (whole, cut)]
    assert steps[0] == steps[1] == [9, 12]
    assert "held out" in (cut.parent / "curve.html").read_text()


def test_dropout_acts_in_the_training_alone_and_resumes_bit_identically(
    source: SceneSource, architecture: Architecture, tmp_path: Path
) -> None:
    plain = train(source, architecture, SETTINGS, tmp_path / "plain" / "g.ckpt")
    settings = SETTINGS.model_copy(update={"dropout": 0.4})
    whole = train(source, architecture, settings, tmp_path / "whole" / "g.ckpt")
    assert not same(weights_of(plain), weights_of(whole))
    cut = tmp_path / "cut" / "g.ckpt"
    for event in train_generator(source, architecture, settings, cut, "cpu"):
        if event.done == 7:
            break
    torch.rand(3)  # what else draws from torch's generator has no influence
    train(source, architecture, settings, cut)
    assert same(weights_of(whole), weights_of(cut))
    net = GeneratorLoss(architecture, settings, source.paired)
    seeded = SeededBatch(source.batch(np.random.default_rng(0), 6), 5)
    cpu = torch.device("cpu")
    for parameter in net.model.unet.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    losses = {}
    for training in (True, False):
        net.train(training)
        losses[training] = [float(net(seeded, cpu, False)["denoise"]) for _ in range(2)]
    assert losses[True][0] == losses[True][1] != losses[False][0] == losses[False][1]
    net.model.unet.drop(0.0)
    net.train()
    assert float(net(seeded, cpu, False)["denoise"]) == losses[False][0]


def test_how_fast_may_change_on_the_way(
    source: SceneSource, architecture: Architecture, tmp_path: Path
) -> None:
    file = tmp_path / "g.ckpt"
    for event in train_generator(source, architecture, SETTINGS, file, "cpu"):
        if event.done == 6:
            break
    other = SETTINGS.model_copy(update={"readers": 0, "checkpoint_every": 50})
    train(source, architecture, other, file)
    whole = train(source, architecture, SETTINGS, tmp_path / "whole" / "g.ckpt")
    assert same(weights_of(file), weights_of(whole))


def test_accumulated_passes_are_the_mean_of_their_gradients(
    source: SceneSource, architecture: Architecture, tmp_path: Path
) -> None:
    """Two passes over the same batch must step as one pass over it does."""

    class Same:
        paired = True

        def batch(self, rng: np.random.Generator, size: int) -> Any:
            return source.batch(np.random.default_rng(1), size)

        def held_out(self) -> torch.Tensor:
            return source.held_out()

        def held_conditions(self) -> None:
            return None

        def frequencies(self) -> None:
            return None

    # z_noise is drawn from the seed of a part, so it is off here.
    one = SETTINGS.model_copy(update={"steps": 1, "warmup_steps": 2, "z_noise": 0.0})
    two = one.model_copy(update={"accumulate": 2})
    # stop before the diffusion phase, whose noise differs between parts
    found = []
    for name, settings in (("one", one), ("two", two)):
        file = tmp_path / name / "g.ckpt"
        changed = settings.model_copy(update={"checkpoint_every": 2})
        for event in train_generator(Same(), architecture, changed, file, "cpu"):
            if event.done == 2:
                break
        found.append(weights_of(file))
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], atol=1e-6, rtol=1e-5)


def test_the_rate_decays_early_when_the_held_out_loss_stalls(
    source: SceneSource, architecture: Architecture, tmp_path: Path
) -> None:
    settings = GeneratorTraining(
        warmup_steps=0, steps=60, batch_size=2, evaluate_every=3, patience=2,
        learning_rate=1e-12, decay_fraction=0.1, checkpoint_every=7,
    )  # fmt: skip
    file = tmp_path / "g.ckpt"
    events = list(train_generator(source, architecture, settings, file, "cpu"))
    # evaluated at 3 (the best), 6 and 9 (no better), then six steps of decay
    assert [events[-1].done, events[-1].total] == [15, 15]
    assert "has stalled" in events[-1].note
    cut = tmp_path / "cut" / "g.ckpt"
    for event in train_generator(source, architecture, settings, cut, "cpu"):
        if event.done == 14:
            break
    assert list(train_generator(source, architecture, settings, cut, "cpu"))[-1].done == 15
    assert same(weights_of(file), weights_of(cut))


def test_it_goes_on_from_given_weights(
    source: SceneSource, architecture: Architecture, tmp_path: Path
) -> None:
    still = SETTINGS.model_copy(update={"learning_rate": 1e-12, "warmup_steps": 0, "steps": 2})
    file = train(source, architecture, SETTINGS, tmp_path / "a" / "g.ckpt")
    first, start = weights_of(file), averaged_weights(file)
    went_on = train(source, architecture, still, tmp_path / "b" / "g.ckpt", start=start)
    for name, value in weights_of(went_on).items():
        torch.testing.assert_close(value, first[name], atol=1e-6, rtol=0)
    other_attributes = architecture.model_copy(
        update={
            "attributes": (*architecture.attributes[:1], Attribute(name="b", classes=("x", "y")))
        }
    )
    events = list(
        train_generator(
            _two_classes(source),
            other_attributes,
            still,
            tmp_path / "c" / "g.ckpt",
            "cpu",
            start=start,
        )
    )
    # a table, and the inputs of two layers in part
    assert (
        events[-1].note
        == "3 tensors begin at random, wholly or in part: the given weights lack them"
    )


def _two_classes(source: SceneSource) -> Any:
    class Fewer:
        paired = True

        def batch(self, rng: np.random.Generator, size: int) -> Any:
            batch = source.batch(rng, size)
            return replace(batch, label=np.minimum(batch.label, 1))

        def held_out(self) -> torch.Tensor:
            return source.held_out()

        def held_conditions(self) -> None:
            return None

        def frequencies(self) -> None:
            return None

    return Fewer()


def test_lower_precision_trains_to_nearly_the_same(
    source: SceneSource, architecture: Architecture, tmp_path: Path
) -> None:
    wide = weights_of(train(source, architecture, SETTINGS, tmp_path / "a" / "g.ckpt"))
    half = SETTINGS.model_copy(update={"precision": "bfloat16"})
    found = weights_of(train(source, architecture, half, tmp_path / "b" / "g.ckpt"))
    assert not same(wide, found)
    apart = torch.cat([(wide[k] - found[k]).flatten() for k in wide]).norm()
    moved = torch.cat([v.flatten() for v in wide.values()]).norm()
    assert apart < 0.05 * moved
    with pytest.raises(DiffInfError, match="float16 needs a GPU"):
        next(
            train_generator(
                source,
                architecture,
                SETTINGS.model_copy(update={"precision": "float16"}),
                tmp_path / "c" / "g.ckpt",
                "cpu",
            )
        )


def test_after_a_divergence_a_lower_rate_goes_on(
    source: SceneSource, architecture: Architecture, tmp_path: Path
) -> None:
    file = tmp_path / "g.ckpt"
    wild = SETTINGS.model_copy(update={"learning_rate": 1e30, "checkpoint_every": 1})
    with pytest.raises(DiffInfError, match=r"learning_rate=3\.3e\+29"):
        for _ in train_generator(source, architecture, wild, file, "cpu"):
            pass
    with pytest.raises(DiffInfError):  # the same rate diverges again, another one is taken
        train(source, architecture, wild, file)
    calm = wild.model_copy(update={"learning_rate": 1e-4})
    try:
        next(train_generator(source, architecture, calm, file, "cpu"))
    except DiffInfError as error:
        assert "configuration" not in str(error)


@pytest.mark.parametrize("size", [32, 48, 64, 96, 128, 192, 256])
def test_every_size_trains(size: int) -> None:
    a = architecture_for(size, (), width=0.25)
    images = np.zeros((3, size, size, 3), np.uint8)
    net = GeneratorLoss(a, GeneratorTraining(), paired=False)
    for warming in (True, False):
        draw = SeededBatch(Batch(images, images, np.zeros((3, 0), np.int64)), 1)
        loss = net(draw, torch.device("cpu"), warming)["loss"]
        loss.backward()
        assert torch.isfinite(loss)


def test_a_size_without_a_network_is_said() -> None:
    with pytest.raises(DiffInfError, match="no network for 100 pixels; take 32, 48"):
        architecture_for(100, ())


def test_checkpoint_of_another_configuration_is_refused(
    source: SceneSource, architecture: Architecture, tmp_path: Path
) -> None:
    short = SETTINGS.model_copy(update={"steps": 1, "warmup_steps": 0})
    file = train(source, architecture, short, tmp_path / "c")
    with pytest.raises(DiffInfError, match="another configuration"):
        next(train_generator(source, architecture, SETTINGS, file, "cpu"))
    with pytest.raises(DiffInfError, match="for other data"):
        next(train_generator(source, architecture, short, file, "cpu", about={"pictures": 7}))


def test_a_checkpoint_of_an_earlier_version_resumes(
    source: SceneSource, architecture: Architecture, tmp_path: Path
) -> None:
    whole = train(source, architecture, SETTINGS, tmp_path / "a" / "g.ckpt")
    cut = tmp_path / "b" / "g.ckpt"
    for event in train_generator(source, architecture, SETTINGS, cut, "cpu"):
        if event.done == 8:
            break
    state = read_tensors(cut)
    training = state["provenance"]["training"]
    for former, name in (("z_blank", "z_dropout"), ("low_time_share", "low_time_fraction")):
        training[former] = training.pop(name)
    state["falls_at"] = state.pop("decay_from")
    write_tensors(cut, state)
    events = list(train_generator(source, architecture, SETTINGS, cut, "cpu"))
    assert events[0].done == 7
    assert same(weights_of(whole), weights_of(cut))


def test_it_learns(source: SceneSource, architecture: Architecture, tmp_path: Path) -> None:
    settings = GeneratorTraining(warmup_steps=80, steps=120, batch_size=12, learning_rate=3e-3)
    events = list(train_generator(source, architecture, settings, tmp_path / "c", "cpu"))
    plain = [event.values["plain"] for event in events[:80]]
    denoise = [event.values["denoise"] for event in events[80:]]
    assert np.mean(plain[-10:]) < 0.75 * np.mean(plain[:3])
    assert np.mean(denoise[-30:]) < 0.8 * np.mean(denoise[:10])


def test_saved_weights_load_and_bad_files_are_named(
    architecture: Architecture, tmp_path: Path
) -> None:
    from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder

    model = DiffusionAutoencoder(architecture)
    file = tmp_path / "generator.safetensors"
    save_weights(file, model, {"architecture": architecture.model_dump(mode="json")})
    loaded = load_autoencoder(file)
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(loaded.encode(x), model.encode(x), atol=2e-2, rtol=0)

    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(DiffInfError, match=r"generator\.safetensors is corrupt"):
        load_autoencoder(file)
    file.write_bytes(data)
    other = architecture.model_copy(update={"z_dim": 24})
    with pytest.raises(DiffInfError, match="another architecture"):
        load_autoencoder(file, other)
    with pytest.raises(DiffInfError, match="does not exist"):
        load_autoencoder(tmp_path / "none.safetensors")
