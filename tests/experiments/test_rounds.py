"""Rounds: what is taken over, what stays, and where it ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diffinf_core.config import change
from diffinf_core.correction.repairer import generator_file
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.lineage import earlier_edits, number, origin
from diffinf_core.engine import open_run
from diffinf_core.experiments import rounds
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.run import Run


def stage_of(root: Path, name: str) -> Path:
    (found,) = (root / "stages").glob(f"{name}-*")
    return found


def test_a_second_round_trains_on_the_edits_and_keeps_everything_else(run_copy: Path) -> None:
    engine = open_run(run_copy)
    queue = engine.queue
    unflagged = queue[queue["flags"] == ""]
    ids = unflagged["id"].tolist()
    assert len(ids) >= 4
    engine.review.decide(ids[0], "reject", "t")
    other = next(c for c in engine.training.classes if c != unflagged["label"].iloc[1])
    engine.review.decide(ids[1], "relabel", "t", new_label=other)
    engine.review.decide(ids[2], "drop", "t")
    first = engine.training
    before = {s: first.images([first.position(s)])[0] for s in first.ids}
    events = list(engine.rounds(2))
    assert events[-1].stage == "rounds"
    figures = engine.compare.rounds()
    assert [row["round"] for row in figures] == [1, 2]
    second = open_run(Path(figures[1]["folder"]))
    assert origin(second.folder) == run_copy and number(second.folder) == 2
    train = second.training
    taken = set(earlier_edits(second.folder))
    assert taken == set(ids[3:])  # flagged and decided ones are not in it
    assert set(first.ids) - set(train.ids) == {ids[2]}
    for sample in train.ids:
        now = train.images([train.position(sample)])[0]
        if sample in taken:
            version = str(queue.set_index("id").loc[sample, "version"])
            assert (now == engine.pictures.edit(sample, version)).all()
        else:
            assert (now == before[sample]).all()
    labels = {s: train.sample(train.position(s)).label for s in train.ids}
    assert labels[ids[1]] == other
    for part in ("val", "test"):
        tables = [
            pd.read_csv(stage_of(root, "data") / "samples.csv", dtype=str)
            for root in (run_copy, second.folder.root)
        ]
        pd.testing.assert_frame_equal(*(t[t["split"] == part] for t in tables))
    # nothing that was edited is edited again, whatever its rank
    assert not set(second.queue["id"]) & taken
    assert figures[1]["seen_before"] == rounds.overlap(engine.folder, second.folder)


def test_the_same_rounds_again_do_nothing(run_copy: Path) -> None:
    engine = open_run(run_copy)
    for _ in engine.rounds(2):
        pass
    folders = sorted(p.name for p in (run_copy / "rounds").iterdir())
    notes = [e.note for e in engine.rounds(2)]
    assert sum(n == "done already" for n in notes) == 12
    assert sorted(p.name for p in (run_copy / "rounds").iterdir()) == folders


def test_another_decision_is_another_round(run_copy: Path) -> None:
    engine = open_run(run_copy)
    one = rounds.plan_round(engine.folder)
    queue = engine.queue
    engine.review.decide(str(queue.loc[queue["flags"] == "", "id"].iloc[0]), "reject", "t")
    two = rounds.plan_round(engine.folder)
    assert one and two and one.target.root != two.target.root and not one.made
    assert not (run_copy / "rounds").exists()  # planning writes nothing


def test_nothing_to_take_over_ends_it(run_copy: Path) -> None:
    engine = open_run(run_copy)
    for sample in engine.queue["id"]:
        engine.review.decide(str(sample), "keep", "t")
    assert rounds.next_round(engine.folder) is None
    *_, last = engine.rounds(3)
    assert "nothing to take over" in last.note and last.done == last.total


def test_a_stable_set_ends_it(run_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffinf_core.engine.rounds.STABLE", 0.0)
    *_, last = open_run(run_copy).rounds(5)
    assert "stable" in last.note
    assert len(list((run_copy / "rounds").iterdir())) == 1


def test_an_export_of_a_round_holds_the_edits_of_all(run_copy: Path, tmp_path: Path) -> None:
    engine = open_run(run_copy)
    for _ in engine.rounds(2):
        pass
    second = open_run(Path(engine.compare.rounds()[1]["folder"]))
    for _ in second.export(tmp_path / "out", edits="working"):
        pass
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    entries = {e["id"]: e for e in manifest["samples"]}
    taken = earlier_edits(second.folder)
    assert taken
    for sample, folder in taken.items():
        entry = entries[sample]
        assert entry["source"] == "repaired" and entry["synthetic"]
        with (
            Image.open(tmp_path / "out" / entry["file"]) as out,
            Image.open(folder / "edit.png") as edit,
        ):
            assert "Synthetic" in out.text
            assert (np.asarray(out) == np.asarray(edit)).all()


def test_a_round_that_names_a_path_is_refused(run_copy: Path) -> None:
    engine = open_run(run_copy)
    made = rounds.next_round(engine.folder)
    assert made is not None
    file = made.root / "round.json"
    found = read_json(file)
    sample = next(iter(found["earlier"]))
    for bad in (["../../etc", "0" * 16], ["", "../passwd"]):
        found["earlier"][sample] = bad
        file.write_text(json.dumps(found))
        with pytest.raises(DiffInfError, match="cannot be one"):
            earlier_edits(Run.open(made.root))


def test_a_round_uses_the_generator_of_the_first_run(run_copy: Path) -> None:
    made = rounds.next_round(Run.open(run_copy))
    assert made is not None
    (run_copy / "generator").mkdir()
    own = run_copy / "generator" / "generator.safetensors"
    own.write_bytes(b"")
    assert generator_file(made) == own.resolve()


def test_a_round_is_found_by_a_relative_path(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = rounds.next_round(Run.open(run_copy))
    assert made is not None
    monkeypatch.chdir(made.root.parent)
    assert origin(Run.open(Path(made.root.name))) == run_copy.resolve()
    assert all(f.is_dir() for f in earlier_edits(Run.open(Path(made.root.name))).values())


def test_a_reviewers_mistake_counts_as_wrong(run_copy: Path) -> None:
    engine = open_run(run_copy)
    truth = pd.read_csv(stage_of(run_copy, "data") / "truth" / "truth.csv", dtype=str)
    right = truth.set_index("id")["flipped"] == "0"
    sample = next(s for s in engine.queue["id"] if right[s])
    label = engine.training.sample(engine.training.position(sample)).label
    other = next(c for c in engine.training.classes if c != label)
    engine.review.decide(sample, "relabel", "t", new_label=other)
    made = rounds.next_round(engine.folder)
    assert made is not None
    found = pd.read_csv(stage_of(made.root, "data") / "truth" / "truth.csv", dtype=str)
    assert found.set_index("id").loc[sample, "flipped"] == "1"
    rate = open_run(made.root).report()["dataset"]["noise_rate"]
    ids = set(open_run(made.root).training.ids)
    assert rate == pytest.approx((found[found["id"].isin(ids)]["flipped"] == "1").mean())


def test_an_accepted_edit_is_taken_over_though_its_sample_is_ranked_no_more(
    run_copy: Path,
) -> None:
    engine = open_run(run_copy)
    last = engine.queue.iloc[-1]
    engine.review.decide(str(last["id"]), "accept", "t", version=str(last["version"]))
    fewer = open_run(run_copy, change(engine.config, {"influence": {"tau": 2}}))
    for _ in fewer.compute():
        pass
    assert str(last["id"]) not in set(fewer.queue["id"])
    plan = rounds.plan_round(fewer.folder)
    assert plan and plan.edits[str(last["id"])] == str(last["version"])


def test_a_round_with_nothing_new_to_edit_still_reports(run_copy: Path) -> None:
    run = Run.open(run_copy)
    stage = REPAIR.folder(run)
    figures, code = stage.figures, stage.code
    write_json(stage / "versions.json", {})
    stage.finish(figures, code)
    engine = open_run(run_copy)
    assert len(engine.queue) == 0 and "label" in engine.queue
    assert engine.report()["repair"] is None
    assert engine.compare.rounds()[0]["edited"] is None
