"""A run's own generator on latents, from the command to the repair stage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from diffinf_core.correction.edits import load_edit
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.part import open_training
from diffinf_core.diffusion.first_stage import BESIDE
from diffinf_core.diffusion.loading import load_autoencoder
from diffinf_core.diffusion.on_latents import LatentOptions, train_on_latents
from diffinf_core.engine import open_run
from diffinf_core.influence.feature_confidence import FEATURE_CONFIDENCE
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import file_digest, read_json
from diffinf_core.runs.run import Run
from tests.first_stages import write_first_stage

QUICK = {"steps": 2, "batch_size": 4, "evaluate_every": 2, "copies": 2, "label_free_after": 1}


@pytest.fixture
def networks(tmp_path: Path) -> Path:
    """A first stage of random weights."""
    return write_first_stage(tmp_path / "networks")


def test_a_run_trains_on_latents_and_repairs_with_what_it_trained(
    run_copy: Path, networks: Path
) -> None:
    run = Run.open(run_copy)
    options = LatentOptions(str(networks), covariates=("skin",))
    assert "skin" in open_training(run).table
    notes = [e.note for e in train_on_latents(run, QUICK, None, None, 0.25, options)]
    assert any("trusted labels" in note and "count as unknown" in note for note in notes)
    out = run_copy / "generator"
    assert not (out / "generator.ckpt").exists() and not (out / "precision.json").exists()
    assert not (out / "trust.json").exists()
    card = read_json(out / "generator.json")
    space = card["architecture"]["latent"]
    assert space["first_stage"] == file_digest(out / BESIDE) and len(space["mean"]) == 4
    assert card["architecture"]["grey"] is False
    assert card["training"]["precision"] in ("float32", "bfloat16")
    assert str(networks.parent) not in card["command"]
    assert "Kept fixed in an edit: skin, coarse colour" in (out / "generator.md").read_text()
    rows = pd.read_csv(out / "curve.csv")
    assert rows["turned"].dropna().between(0, 1).all() and (rows["edit_lpips"].dropna() > 0).all()
    assert card["figures"]["turned"] == pytest.approx(rows["turned"].iloc[-1])
    assert "held-out edits that show the class asked for" in (out / "curve.html").read_text()
    with pytest.raises(DiffInfError, match="holds a finished generator"):
        next(train_on_latents(run, QUICK, None, None, 0.25, options))
    repair = {"transfer": "masked", "t0": 900, "guidance": 3.0}
    config = run.config.model_copy(update={"repair": run.config.repair.model_copy(update=repair)})
    for _ in open_run(run_copy, config).compute():
        pass
    versions = read_json(REPAIR.folder(Run.open(run_copy)) / "versions.json")
    assert versions
    for sample, version in versions.items():
        edit = load_edit(run, sample, version)
        assert edit.generator.startswith("generator.safetensors")
        assert edit.settings["transfer"] == "masked" and edit.losses
        # a first stage of random weights shows nothing of the original; what it misses is added back
        assert edit.l1 < 2


def test_what_a_training_on_latents_cannot_use_is_named(run_copy: Path, networks: Path) -> None:
    run = Run.open(run_copy)

    def begin(options: LatentOptions, **settings: object) -> None:
        next(train_on_latents(run, {**QUICK, **settings}, None, None, 0.25, options))

    with pytest.raises(DiffInfError, match="no column 'mood'"):
        begin(LatentOptions(str(networks), covariates=("mood",)))
    with pytest.raises(DiffInfError, match="does not exist"):
        begin(LatentOptions(str(networks / "none")))
    with pytest.raises(DiffInfError, match="copies"):
        begin(LatentOptions(str(networks)), copies=0)
    with pytest.raises(DiffInfError, match="different trusted labels"):
        begin(LatentOptions(str(networks)), pairs=0.5)
    with pytest.raises(DiffInfError, match="first_stage_minutes has no effect"):
        begin(LatentOptions(str(networks), first_stage_minutes=5))
    begin(LatentOptions(str(networks)))
    with pytest.raises(DiffInfError, match="holds another first stage"):
        begin(LatentOptions("own"))
    encoder = networks / "own_encoder.safetensors"
    encoder.write_bytes(encoder.read_bytes()[:-50])
    with pytest.raises(DiffInfError, match="cut short"):
        begin(LatentOptions(str(networks)))
    assert not list(run_copy.glob("generator/generator*"))


def test_minutes_for_a_first_stage_that_is_not_trained_are_named(
    run_copy: Path, networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFINF_WEIGHTS", str(tmp_path))
    for part in ("encoder", "decoder"):
        shutil.copy(networks / f"own_{part}.safetensors", tmp_path / f"taef2_{part}.safetensors")
    options = LatentOptions("auto", first_stage_minutes=5)
    first = next(train_on_latents(Run.open(run_copy), QUICK, None, None, 0.25, options))
    assert "first_stage_minutes has no effect" in first.note


def test_a_killed_training_on_latents_resumes_with_the_precision_and_the_scores_it_began_with(
    run_copy: Path, networks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, options = Run.open(run_copy), LatentOptions(str(networks), confidence=False)
    given = {**QUICK, "checkpoint_every": 1}
    where = "diffinf_core.diffusion.on_latents.measured_precision"
    monkeypatch.setattr(where, lambda stage, x: "bfloat16")
    work = train_on_latents(run, given, None, None, 0.25, options)
    for event in work:
        if event.stage == "train-generator" and event.done == 1:
            break
    work.close()
    monkeypatch.setattr(where, lambda stage, x: "float32")
    for _ in FEATURE_CONFIDENCE.compute(run):  # which a new training would go by
        pass
    for _ in train_on_latents(run, given, None, None, 0.25, options):
        pass
    card = read_json(run_copy / "generator" / "generator.json")
    assert card["training"]["precision"] == "bfloat16" and card["steps_made"] == 2
    assert "lowest mean_loss, the others" in (run_copy / "generator" / "generator.md").read_text()
    rows = pd.read_csv(run_copy / "generator" / "curve.csv")
    assert "adversary" in rows and rows["adversary"].notna().any()
    assert not load_autoencoder(run_copy / "generator" / "generator.safetensors").on_pixels
