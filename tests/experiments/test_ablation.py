"""The ablation: cells kept, resumed, averaged; variants of the repair and of what comes before it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from diffinf_core.config import change, values_of
from diffinf_core.engine import open_run
from diffinf_core.experiments.ablation import PLAN, summary, varied
from diffinf_core.experiments.rounds import next_round
from diffinf_core.records import DiffInfError
from diffinf_core.report.ablation import markdown
from diffinf_core.runs.files import read_json
from tests.forks import diffinf


def test_every_combination_is_a_variant() -> None:
    found = varied({"repair.guidance": [1, 2], "influence.tau": [5.0, 10.0]})
    assert len(found) == 4
    assert found["repair.guidance=2, influence.tau=5.0"] == {
        "repair": {"guidance": 2},
        "influence": {"tau": 5.0},
    }


def test_what_has_no_effect_in_an_ablation_is_refused() -> None:
    with pytest.raises(DiffInfError, match=r"repair\.tries cannot be varied"):
        varied({"repair.w_id": [1], "repair.tries": ["one", "all"]})


def test_the_plan_takes_each_part_away_and_has_the_control() -> None:
    changed = {key for over in PLAN.values() for key in over.get("repair", {})}
    assert {"use_label", "w_id", "w_reg", "w_si", "guidance", "method", "probe", "t0"} <= changed
    assert PLAN["as configured"] == {}


def test_cells_are_filled_once_and_averaged(run_copy: Path) -> None:
    engine = open_run(run_copy)
    vary = {"repair.method": ["guided", "z_sem"], "repair.iterations": [1]}
    events = list(engine.ablation.run(vary, seeds=2, images=1))
    assert events[-1].done == events[-1].total == 4
    table = engine.ablation.table()
    assert table["variant"].tolist() == list(varied(vary))
    assert (table["seeds"] == 2).all() and (table["n"] == 2).all()
    assert table["judge_agrees"].between(0, 1).all()
    assert table["identity_mean"].between(-1, 1).all() and (table["h_after_sd"] >= 0).all()
    cells = {f: f.stat().st_mtime_ns for f in (run_copy / "stages").glob("ablation-*/done.json")}
    assert len(cells) == 4
    for _ in engine.ablation.run(vary, seeds=2, images=1):
        pass
    assert {f: f.stat().st_mtime_ns for f in cells} == cells
    assert (run_copy / "ablation" / "ablation.html").stat().st_size > 10_000
    assert len(pd.read_csv(run_copy / "ablation" / "ablation.csv")) == 2


def test_a_stopped_ablation_goes_on_and_no_cell_is_half_written(run_copy: Path) -> None:
    engine = open_run(run_copy)
    vary = {"repair.w_id": [1.0, 2.0]}
    events = engine.ablation.run(vary, images=2)
    for event in events:
        if event.done == 1:
            break
    events.close()
    assert len(list((run_copy / "stages").glob("ablation-*/done.json"))) == 1
    for _ in engine.ablation.run(vary, images=2):
        pass
    assert len(engine.ablation.table()) == 2


def test_another_noise_computes_its_own_stages_beside_the_runs(run_copy: Path) -> None:
    engine = open_run(run_copy)
    before = engine.status()
    stages = {p.name for p in (run_copy / "stages").iterdir()}
    for _ in engine.ablation.run({"noise.rate": [0.4]}, images=2):
        pass
    assert engine.status() == before and all(before.values())
    new = {
        p.name.rsplit("-", 1)[0] for p in (run_copy / "stages").iterdir() if p.name not in stages
    }
    assert {"data", "classifier", "influence", "predictor"} <= new
    assert engine.ablation.table()["n"].tolist() == [2]


def test_bad_variants_are_refused_before_anything_is_computed(run_copy: Path) -> None:
    engine = open_run(run_copy)
    with pytest.raises(DiffInfError, match=r"repair\.guidance=-1.*repair\.guidance"):
        list(engine.ablation.run({"repair.guidance": [-1]}))
    with pytest.raises(DiffInfError, match=r"'repair\.nonsense'"):
        list(engine.ablation.run({"repair.nonsense": [1]}))
    assert not (run_copy / "ablation").exists()
    with pytest.raises(DiffInfError, match="no ablation yet"):
        engine.ablation.table()


def test_variants_of_the_data_set_are_another_run(run_copy: Path) -> None:
    engine = open_run(run_copy)
    with pytest.raises(DiffInfError, match="changes the data set"):
        list(engine.ablation.run({"data.seed": [1, 2]}))
    made = next_round(engine.folder)
    assert made is not None
    with pytest.raises(DiffInfError, match="later round"):
        list(open_run(made.root).ablation.run({"repair.w_id": [1.0]}, seeds=2))


def test_edits_of_an_ablation_are_not_among_the_versions(run_copy: Path) -> None:
    engine = open_run(run_copy)
    before = {s: engine.pictures.versions(s) for s in engine.training.ids}
    for _ in engine.ablation.run({"repair.w_id": [1.5]}, seeds=2, images=1):
        pass
    assert {s: engine.pictures.versions(s) for s in engine.training.ids} == before
    assert list((run_copy / "ablation" / "edits").iterdir())


def test_arms_are_retrained_under_the_variants_own_settings(run_copy: Path) -> None:
    config = change(open_run(run_copy).config, {"repair": {"tries": "smallest"}})
    engine = open_run(run_copy, config)
    for _ in engine.ablation.run({"repair.guidance": [1.0, 2.0]}, images=1, retrain=True):
        pass
    made = [read_json(f) for f in (run_copy / "ablation" / "edits").glob("*/*/edit.json")]
    assert {e["settings"]["t0"] for e in made} == {config.repair.t0}, "a picture is edited once"
    table = engine.ablation.table()
    assert table["accuracy_repaired"].between(0, 1).all()
    assert table["accuracy_noisy"].nunique() == 1  # the same arm, trained once
    assert len(list((run_copy / "stages").glob("arm-noisy-*"))) == 1
    assert len(list((run_copy / "stages").glob("arm-repaired-*"))) == 2


def test_the_summary_by_hand() -> None:
    rows = [
        {"variant": "x", "seed": 0, "n": 4, "judge_agrees": 0.5, "identity_mean": None},
        {"variant": "x", "seed": 1, "n": 4, "judge_agrees": 1.0, "identity_mean": None},
        {"variant": "y", "seed": 0, "n": 4, "judge_agrees": 0.25, "identity_mean": None},
    ]
    table = summary(rows)
    assert table["judge_agrees"].tolist() == [0.75, 0.25]
    assert table["judge_agrees_sd"][0] == pytest.approx(0.35355, abs=1e-4)
    assert "identity_mean" not in table
    assert markdown(table).splitlines()[2:] == ["| x | 0.75 ± 0.35 |", "| y | 0.25 |"]


def test_values_are_read_as_yaml() -> None:
    assert values_of("1,2.5,guided") == [1, 2.5, "guided"]
    for bad in ("1,,2", "[1"):
        with pytest.raises(DiffInfError):
            values_of(bad)


def test_the_command_prints_its_table(run_copy: Path) -> None:
    done = diffinf("ablate", str(run_copy), "--images", "2", "--vary", "repair.steps=2,3")
    assert done.returncode == 0, done.stderr
    assert "repair.steps=3" in done.stdout.replace("\n", "") and "judge" in done.stdout
    wrong = diffinf("ablate", str(run_copy), "--vary", "guidance=1")
    assert wrong.returncode == 2 and "stage.key=value" in wrong.stderr
