"""Training of the generator: resumes bit by bit, refuses foreign checkpoints, and learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diffinf_core.data.scenes import open_scenes, render_scenes
from diffinf_core.diffusion.autoencoder import Architecture, Attribute
from diffinf_core.diffusion.loading import load_autoencoder
from diffinf_core.diffusion.training import (
    GeneratorTraining,
    SceneSource,
    averaged_weights,
    train_generator,
)
from diffinf_core.records import DiffInfError
from diffinf_core.weights import save_weights


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SceneSource:
    folder = tmp_path_factory.mktemp("scenes")
    for _ in render_scenes(folder, 30, 1, 32):
        pass
    return SceneSource(open_scenes(folder))


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


SETTINGS = GeneratorTraining(warmup_steps=4, steps=8, batch_size=6)


def test_batches_differ_from_their_source_only_in_what_the_label_tells(source: SceneSource) -> None:
    batch = source.batch(np.random.default_rng(0), 64)
    untold = (batch.label < 0).all(1)
    torch.testing.assert_close(batch.target[untold], batch.source[untold])
    told = ~untold
    moved = (batch.target[told] - batch.source[told]).abs().mean((1, 2, 3))
    # Two faint traces of the same expression can round to the same picture.
    assert (moved > 0).float().mean() > 0.8
    assert float(batch.weight.mean()) == pytest.approx(1, abs=1e-5)


def test_killed_training_goes_on_bit_identically(
    source: SceneSource,
    architecture: Architecture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("diffinf_core.diffusion.training._CHECKPOINT_EVERY", 3)
    for _ in train_generator(source, architecture, SETTINGS, tmp_path / "whole"):
        pass
    for stop in (5, 7, 12):  # killed in the first phase, then in the second
        for event in train_generator(source, architecture, SETTINGS, tmp_path / "cut"):
            if event.done == stop:
                break
    for _ in train_generator(source, architecture, SETTINGS, tmp_path / "cut"):
        pass
    whole, cut = (averaged_weights(tmp_path / n).state_dict() for n in ("whole", "cut"))
    assert all(torch.equal(whole[k], cut[k]) for k in whole)


def test_checkpoint_of_another_configuration_is_refused(
    source: SceneSource, architecture: Architecture, tmp_path: Path
) -> None:
    short = SETTINGS.model_copy(update={"steps": 1, "warmup_steps": 0})
    for _ in train_generator(source, architecture, short, tmp_path / "c"):
        pass
    with pytest.raises(DiffInfError, match="another configuration"):
        next(train_generator(source, architecture, SETTINGS, tmp_path / "c"))


def test_it_learns(source: SceneSource, architecture: Architecture, tmp_path: Path) -> None:
    settings = GeneratorTraining(warmup_steps=80, steps=120, batch_size=12, learning_rate=3e-3)
    events = list(train_generator(source, architecture, settings, tmp_path / "c"))
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
