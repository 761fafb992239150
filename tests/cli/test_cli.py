"""The command line as a user meets it: help, figures, and one sentence for each mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest
from PIL import Image

from diffinf_core.engine import open_run
from tests.forks import ROOT, diffinf


def pictures(folder: Path, rows: list[tuple[str, str]]) -> Path:
    """A data folder with noise pictures."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for name, _ in rows:
        image = draw.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / name)
    text = "file,label\n" + "".join(f"{n},{label}\n" for n, label in rows)
    (folder / "labels.csv").write_text(text)
    return folder


def refused(done: subprocess.CompletedProcess, *parts: str) -> None:
    """Exit code 2, one sentence, no traceback."""
    assert done.returncode == 2, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    for part in parts:
        assert part in last, f"{part!r} is not in {last!r}"


def test_help_names_every_verb() -> None:
    command = [sys.executable, "-m", "diffinf_core.cli", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300).stdout
    for verb in (
        "demo", "run", "rank", "repair", "review", "export", "retrain", "report",
        "train-generator", "train-classifier", "train-perceptor", "check", "config", "weights",
    ):  # fmt: skip
        assert verb in text


def test_missing_empty_and_unlabelled_folders(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "run")]
    refused(diffinf("run", str(tmp_path / "nowhere"), *out), "nowhere does not exist")
    (tmp_path / "empty").mkdir()
    refused(diffinf("run", str(tmp_path / "empty"), *out), "empty holds no pictures")


def test_bad_tables(tmp_path: Path) -> None:
    rows = [(f"{i}.png", "ab"[i % 2]) for i in range(6)]
    data = pictures(tmp_path / "data", rows)
    with open(data / "labels.csv", "a") as file:
        file.write("ghost.png,a\n")
    out = ["--out", str(tmp_path / "run")]
    refused(diffinf("run", str(data), *out), "row 8", "ghost.png", "no such file")
    checked = diffinf("check", str(data))
    refused(checked, "1 problem")
    assert "row 8: ghost.png: no such file" in checked.stdout

    one = pictures(tmp_path / "one", [(f"{i}.png", "a") for i in range(6)])
    refused(diffinf("run", str(one), "--out", str(tmp_path / "r2")), "only one class (a)")


@pytest.mark.parametrize("tau", ["0", "101"])
def test_impossible_tau(tmp_path: Path, tau: str) -> None:
    done = diffinf(
        "demo", "--no-app", "--out", str(tmp_path / "r"), "--set", f"influence.tau={tau}"
    )
    refused(done, "influence.tau", tau)
    assert not (tmp_path / "r").exists()


def test_unknown_key_and_stage(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "r")]
    refused(diffinf("demo", "--no-app", *out, "--set", "influence.tauu=3"), "influence.tauu")
    refused(diffinf("demo", "--no-app", *out, "--set", "tau=3"), "stage.key=value")


def test_the_help_of_until_names_the_stages_there_are() -> None:
    """It stands in the text, because the declarations load torch."""
    from diffinf_core.cli.app import run
    from diffinf_core.engine import STAGES

    *first, last = STAGES
    option = get_type_hints(run, include_extras=True)["until"].__metadata__[0]
    assert option.help == f"Last stage: {', '.join(first)} or {last}."


def test_a_run_of_another_version_says_what_to_do(
    finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from diffinf_core.cli.opening import open_folder
    from diffinf_core.correction.stage import REPAIR

    assert open_folder(finished_run).outdated() is None
    object.__setattr__(REPAIR, "version", REPAIR.version + 1)
    try:
        open_folder(finished_run)
    finally:
        object.__setattr__(REPAIR, "version", REPAIR.version - 1)
    said = " ".join(capsys.readouterr().err.split())
    assert "must be computed again from the stage 'repair' on" in said


def test_own_labels_are_taken_as_they_come_unless_asked(tmp_path: Path) -> None:
    """A forgotten setting must not make anybody's labels wrong."""
    from diffinf_core.engine import open_run

    data = pictures(tmp_path / "data", [(f"{i:02d}.png", "ab"[i % 2]) for i in range(60)])
    done = diffinf("run", str(data), "--out", str(tmp_path / "a"), "--until", "data")
    assert done.returncode == 0, done.stderr
    assert "Done up to data" in done.stderr and "wrong on purpose" not in done.stderr
    assert open_run(tmp_path / "a").config.noise.rate == 0
    noisy = ["--out", str(tmp_path / "b"), "--until", "data", "--set", "noise.rate=0.2"]
    done = diffinf("run", str(data), *noisy)
    assert done.returncode == 0 and "20% of the training labels are made wrong" in done.stderr
    done = diffinf("run", str(data), "--out", str(tmp_path / "c"), "--until", "juge")
    refused(done, "Unknown stage 'juge'")
    assert not (tmp_path / "c").exists()


def test_a_generator_that_is_not_there_is_not_saved(finished_run: Path) -> None:
    before = (finished_run / "config.yaml").read_text()
    done = diffinf("repair", str(finished_run), "--set", "repair.generator=nofile.ckpt")
    refused(done, "nofile.ckpt does not exist")
    done = diffinf("repair", str(finished_run), "--set", f"repair.generator={finished_run}")
    refused(done, "holds no generator.safetensors")
    assert (finished_run / "config.yaml").read_text() == before


def test_converting_what_needs_none(tmp_path: Path) -> None:
    own = tmp_path / "generator.safetensors"
    own.write_bytes(b"")
    done = diffinf("weights", "convert", str(own), str(tmp_path / "o.safetensors"))
    refused(done, "safetensors already")


def test_corrupt_weights(finished_run: Path, tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"not weights")
    (tmp_path / "bad.json").write_text('{"architecture": {}}')
    done = diffinf("repair", str(run), "--set", f"repair.generator={bad}")
    refused(done, "bad.safetensors", "corrupt")


def test_run_folder_of_another_configuration(finished_run: Path) -> None:
    done = diffinf("demo", "--no-app", "--out", str(finished_run))
    refused(done, "another configuration", "data.demo_faces")
    refused(diffinf("report", str(finished_run / "stages")), "not a run folder")


def test_report_and_rank_print_the_run(finished_run: Path) -> None:
    report = diffinf("report", str(finished_run), "--json")
    figures = json.loads(report.stdout)
    assert figures["repair"]["n"] == figures["high_influence"]
    assert "judge_agreement" in diffinf("report", str(finished_run)).stdout
    rank = diffinf("rank", str(finished_run), "--top", "3")
    assert rank.returncode == 0 and "images/" in rank.stdout


@pytest.mark.slow
def test_planted_errors_are_printed_with_what_they_come_to(run_copy: Path) -> None:
    before = diffinf("rank", str(run_copy), "--top", "1", "--precision", "0.5")
    assert before.returncode == 2 and "--planted" in before.stderr
    few = diffinf("rank", str(run_copy), "--planted")
    assert few.returncode == 2 and "set a larger influence.planted" in few.stderr
    more = ("--set", "influence.planted=0.15")
    found = diffinf("rank", str(run_copy), "--top", "1", "--planted", "--precision", "0.5", *more)
    assert found.returncode == 0, found.stderr
    assert "estimated from planted errors, with 95 % intervals" in found.stdout
    assert "precision" in found.stdout.splitlines()[-1] and "%" in found.stdout.splitlines()[-1]
    engine = open_run(run_copy)
    assert found.stdout.splitlines()[-1] in engine.explore.scores.tau_for(0.5)
    words = " ".join(found.stdout.split())
    for sentence in engine.explore.scores.precision()["in_words"]:
        assert " ".join(sentence.split()) in words
    report = " ".join(diffinf("report", str(run_copy)).stdout.split())
    assert "estimated from planted errors" in report
    auto = diffinf("rank", str(run_copy), "--top", "1", "--by", "auto")
    assert "which ranks planted errors best" in auto.stdout


def test_a_setting_of_rank_stays_changed_though_nothing_is_computed(run_copy: Path) -> None:
    over = ["--set", "influence.estimator=mean_loss", "--set", "influence.tau=20"]
    assert "mean_loss" in diffinf("rank", str(run_copy), "--top", "1", *over).stdout
    assert "mean_loss" in diffinf("rank", str(run_copy), "--top", "1").stdout
    back = diffinf("rank", str(run_copy), "--top", "1", "--set", "influence.estimator=null")
    assert "self_influence" in back.stdout
    assert "tau: 20" in (run_copy / "config.yaml").read_text()


def test_the_help_names_every_stage_and_policy() -> None:
    from diffinf_core.engine import STAGES
    from diffinf_core.records import UNDECIDED

    text = " ".join(diffinf("run", "--help").stdout.split())
    assert all(name in text for name in STAGES)
    assert all(name in diffinf("export", "--help").stdout for name in UNDECIDED)


def test_config_goes_round() -> None:
    from diffinf_core.config import from_yaml, make_config

    text = diffinf("config", "--preset", "demo", "--set", "influence.tau=20").stdout
    assert from_yaml(text) == make_config("demo", {"influence": {"tau": 20}})


def test_full_disk_is_one_sentence(tmp_path: Path) -> None:
    """The first failing sync of a run, as a full disk gives it."""
    import sys

    code = """
import errno, os, sys
from diffinf_core import cli
real = os.fsync
calls = 0
def full(handle):
    global calls
    calls += 1
    if calls > 6:
        raise OSError(errno.ENOSPC, "No space left on device")
    real(handle)
os.fsync = full
sys.argv = ["diffinf", "demo", "--no-app", "--out", sys.argv[1], "--set", "data.demo_faces=80",
            "--set", "split.val_share=0.3",
            "--set", "classifier.epochs=2", "--set", "classifier.checkpoints=1"]
cli.main()
"""
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    refused(done, "disk is full", "finished work is kept")
    assert not [p for p in (tmp_path / "run").rglob("*") if p.name.endswith(".part")]
