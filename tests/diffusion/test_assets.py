"""A generator from a folder or a run: what it is trained on, its card, several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffinf_core.diffusion.architecture import Architecture, Attribute
from diffinf_core.diffusion.assets import architecture_for, train_on_pictures
from diffinf_core.diffusion.loading import load_autoencoder
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_json
from diffinf_core.weights.files import shipped

QUICK = {"steps": 2, "warmup_steps": 1, "batch_size": 4, "evaluate_every": 2}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for i in range(12):
        image = Image.fromarray(rng.integers(0, 255, (40, 52, 3), dtype=np.uint8))
        image.save(folder / ("more" if i % 2 else ".") / f"{i}.png")
    return folder


def test_a_folder_without_labels(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in train_on_pictures(pictures, out, QUICK, 32, None, 0.25):
        pass
    model = load_autoencoder(out / "generator.safetensors")
    assert model.architecture.attributes == ()
    card = read_json(out / "generator.json")
    assert card["data"]["pictures"] == 11 and card["figures"]["held_out"] == 1
    text = (out / "generator.md").read_text()
    assert "no labels" in text and card["sha256"] in text
    assert str(tmp_path) not in text.replace(str(out), "")
    with pytest.raises(DiffInfError, match="holds a finished generator"):
        next(train_on_pictures(pictures, out, QUICK, 32, None, 0.25))
    with pytest.raises(DiffInfError, match="draws 32 pixels and the pictures have 64"):
        list(
            train_on_pictures(
                pictures, tmp_path / "b", QUICK, 64, out / "generator.safetensors", 1.0
            )
        )
    with pytest.raises(DiffInfError, match="no effect with --start"):
        list(
            train_on_pictures(
                pictures, tmp_path / "b", QUICK, 32, out / "generator.safetensors", 2.0
            )
        )
    again = tmp_path / "c"
    for _ in train_on_pictures(
        pictures, again, QUICK, 32, out, 1.0
    ):  # a folder stands for its file
        pass
    start = read_json(again / "generator.json")["data"]["start"]
    assert start["sha256"] == card["sha256"]


def test_what_cannot_be_trained_on_is_said(tmp_path: Path) -> None:
    with pytest.raises(DiffInfError, match="does not exist"):
        list(train_on_pictures(tmp_path / "none", tmp_path / "o", QUICK, 32, None, 1.0))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DiffInfError, match="holds no pictures"):
        list(train_on_pictures(tmp_path / "empty", tmp_path / "o", QUICK, 32, None, 1.0))
    with pytest.raises(DiffInfError, match="steps"):
        list(train_on_pictures(tmp_path / "empty", tmp_path / "o", {"steps": 0}, 32, None, 1.0))


def test_other_pictures_under_the_same_names_are_not_taken_for_the_first(
    pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for event in train_on_pictures(pictures, out, {**QUICK, "checkpoint_every": 1}, 32, None, 0.25):
        if event.stage == "train-generator" and event.done == 2:
            break
    first = np.load(out / "pictures" / "images.npy").copy()
    Image.fromarray(np.full((40, 40, 3), 9, np.uint8)).save(pictures / "0.png")
    with pytest.raises(DiffInfError, match="for other data"):
        list(train_on_pictures(pictures, out, {**QUICK, "checkpoint_every": 1}, 32, None, 0.25))
    second = np.load(out / "pictures" / "images.npy")
    assert (first != second).any() and (second == 9).all((1, 2, 3)).sum() == 1


def test_what_the_training_draws_inside_the_folder_is_no_picture_of_it(pictures: Path) -> None:
    (pictures / "._0.png").write_bytes(b"what a Mac leaves behind")
    out = pictures / "out"
    for event in train_on_pictures(pictures, out, {**QUICK, "checkpoint_every": 1}, 32, None, 0.25):
        if event.stage == "train-generator" and event.done == 3:
            break
    assert list((out / "grids").iterdir())
    for _ in train_on_pictures(pictures, out, {**QUICK, "checkpoint_every": 1}, 32, None, 0.25):
        pass
    assert read_json(out / "generator.json")["data"]["pictures"] == 11


def test_a_start_gives_its_shape(tmp_path: Path) -> None:
    attribute = Attribute(name="label", classes=("a", "b"))
    found = architecture_for(64, (attribute,), shipped("generator"))
    assert found.attributes == (attribute,)
    assert found.widths == Architecture().widths


def test_two_processes_train_together(pictures: Path, tmp_path: Path) -> None:
    """As 'accelerate launch' starts them; gradients are averaged over a local socket."""
    launch = [
        sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2",
        "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", "0",
    ]  # fmt: skip
    verb = ["-m", "diffinf_core.cli", "train-generator", "--pictures", str(pictures), "--out"]
    small = ["--size", "32", "--width", "0.25", "--steps", "4", "--warmup-steps", "2"]
    more = ["--batch-size", "2", "--set", "accumulate=2", "--set", "evaluate_every=2"]
    out = tmp_path / "out"
    done = subprocess.run(
        [*launch, *verb, str(out), *small, *more],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("train-generator: 6/6") == 1
    model = load_autoencoder(out / "generator.safetensors")
    # What two processes average is what one accumulates, and nothing else.
    alone = {"steps": 4, "warmup_steps": 2, "batch_size": 2, "accumulate": 4, "evaluate_every": 2}
    for _ in train_on_pictures(pictures, tmp_path / "alone", alone, 32, None, 0.25):
        pass
    other = load_autoencoder(tmp_path / "alone" / "generator.safetensors").state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, other[name], atol=2e-3, rtol=0)
    assert not (out / "generator.ckpt").exists()
    assert [p.name for p in sorted((out / "grids").iterdir())] == [
        "step-000004.png",
        "step-000006.png",
    ]
