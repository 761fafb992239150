"""CIFAR-10 from made-up binary files: reading, noise, splits, and a benchmark of a few steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from diffinf_core.baselines import make_method
from diffinf_core.cli.app import app
from diffinf_core.data.noise import add_inclusive_noise, add_symmetric_noise
from diffinf_core.engine.cifar import benchmark_cifar
from diffinf_core.experiments.cifar import TEST_FILES, TRAIN_FILES, Cifar10
from diffinf_core.records import DiffInfError

EACH = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six files of 60 pictures whose first pixel tells the number of the picture."""
    out, rng = tmp_path_factory.mktemp("cifar"), np.random.default_rng(0)
    for k, name in enumerate((*TRAIN_FILES, *TEST_FILES)):
        records = rng.integers(0, 256, (EACH, 3073), np.uint8)
        records[:, 0] = np.arange(EACH) % 10
        records[:, 1] = np.arange(EACH)
        records[:, 2] = k
        records.tofile(out / name)
    return out


def test_pictures_are_read_across_files_in_order(folder: Path) -> None:
    problem = Cifar10(folder, rate=0)
    data = problem.test()
    assert len(data) == EACH and data.labels.tolist() == [i % 10 for i in range(EACH)]
    x = data.tensors([7, 0])
    assert x.shape == (2, 3, 32, 32) and x.min() >= -1 and x.max() <= 1
    # red of the first two pixels, on the scale of bytes
    first = ((x[:, 0, 0, :2] + 1) * 127.5).round().int().tolist()
    assert first == [[7, 5], [0, 5]]
    raw = np.fromfile(folder / TRAIN_FILES[3], np.uint8).reshape(EACH, 3073)[5, 1:]
    task = problem.task(0, make_method("noisy"))
    inside, _ = problem._rows()
    (at,) = np.flatnonzero(inside == 3 * EACH + 5) if 3 * EACH + 5 in inside else (None,)
    if at is not None:
        found = ((task.data.tensors([at])[0] + 1) * 127.5).round().numpy()
        np.testing.assert_array_equal(found, raw.reshape(3, 32, 32))


def test_training_and_validation_share_no_picture_and_the_test_labels_are_clean(
    folder: Path,
) -> None:
    problem = Cifar10(folder, rate=0.5)
    inside, outside = problem._rows()
    assert len(outside) == 30 and sorted([*inside, *outside]) == list(range(5 * EACH))
    task = problem.task(3, make_method("elr"))
    assert task.seed == 3 and task.noise_rate == 0.5 and len(task.data) == 270
    clean = np.tile(np.arange(EACH) % 10, 5)
    np.testing.assert_array_equal(np.asarray(task.labels) != clean[inside], problem.wrong())
    assert Cifar10(folder, most=100).task(0, make_method("noisy")).data.__len__() == 90
    keys = [
        Cifar10(folder, r, n).key(make_method("noisy"))
        for r in (0.2, 0.5)
        for n in ("inclusive", "exact")
    ]  # type: ignore[arg-type]
    assert len(set(keys)) == 4


def test_inclusive_noise_leaves_some_labels_right_and_exact_noise_none() -> None:
    clean = np.arange(10_000) % 10
    noisy, wrong = add_inclusive_noise(clean, 10, 0.5, 1)
    np.testing.assert_array_equal(noisy != clean, wrong)
    # 5000 redrawn, a tenth of them to the label they had: binomial with deviation 21
    assert abs(wrong.sum() - 4500) < 4 * 21.3
    assert add_symmetric_noise(clean, 10, 0.5, 1)[1].sum() == 5000
    again, _ = add_inclusive_noise(clean, 10, 0.5, 1)
    np.testing.assert_array_equal(again, noisy)
    assert (add_inclusive_noise(clean, 10, 0.5, 2)[0] != noisy).any()
    assert not add_inclusive_noise(clean, 10, 0, 1)[1].any()
    counts = np.bincount(noisy[wrong], minlength=10)
    assert abs(counts - 450).max() < 4 * 21.3
    with pytest.raises(ValueError, match="rate"):
        add_inclusive_noise(clean, 10, 1.5, 0)


def test_a_trial_runs_resumes_and_writes_its_table(folder: Path, tmp_path: Path) -> None:
    given = ["benchmark-cifar", str(folder), "--out", str(tmp_path / "out"), "--preset", "matched"]
    given += ["--epochs", "1", "--most", "100", "--rate", "0.2"]
    found = CliRunner().invoke(app, given)
    assert found.exit_code == 0, found.output
    text = (tmp_path / "out" / "cifar10.md").read_text()
    assert "inclusive noise of rate 0.2" in text and "| ELR |" in text and "ELR 91.16" in text
    job = benchmark_cifar(folder, tmp_path / "out", preset="matched", epochs=1, most=100)
    assert [e.done for e in job] == [2] and job.result() == text


def test_other_files_are_refused_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DiffInfError, match=r"unpack cifar-10-binary\.tar\.gz"):
        benchmark_cifar(tmp_path, tmp_path / "out")
    for name in (*TRAIN_FILES, *TEST_FILES):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / TEST_FILES[0]).write_bytes(b"x" * 100)
    with pytest.raises(DiffInfError, match="100 bytes, no multiple of 3,073"):
        benchmark_cifar(tmp_path, tmp_path / "out")
    (tmp_path / TEST_FILES[0]).write_bytes(b"\xff" * 3073)
    with pytest.raises(DiffInfError, match="label 255, so it is not the binary CIFAR-10"):
        benchmark_cifar(tmp_path, tmp_path / "out2")
    with pytest.raises(DiffInfError, match="use --preset matched"):
        benchmark_cifar(folder, tmp_path / "out", epochs=3)
    with pytest.raises(DiffInfError, match=r"not in \[0, 1\)"):
        benchmark_cifar(folder, tmp_path / "out", rate=1.0)
    assert not (tmp_path / "out").exists()
