"""A data set at a glance, an export before it is written, and what earlier rounds did."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from diffinf_core.config import RunConfig
from diffinf_core.data.earlier import earlier_changes
from diffinf_core.data.truth import open_truth
from diffinf_core.engine import OpenRun, open_run
from diffinf_core.experiments.rounds import next_round
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.run import Run


def exported(
    engine: OpenRun, target: Path, undecided: str = "original"
) -> tuple[pd.DataFrame, dict]:
    """labels.csv by id, and the manifest."""
    for _ in engine.export(target, undecided):
        pass
    table = pd.read_csv(target / "labels.csv", dtype=str).set_index("id")
    return table, json.loads((target / "manifest.json").read_text())


def other_class(engine: OpenRun, label: str) -> str:
    return next(c for c in engine.training.classes if c != label)


def after_one_round(root: Path) -> tuple[OpenRun, dict[str, tuple[str, str]], str]:
    """The second round of a run in which one pair was relabelled and one dropped."""
    engine = open_run(root)
    rows = engine.queue.reset_index(drop=True)
    relabelled, dropped = str(rows["id"][0]), str(rows["id"][1])
    before = str(rows["label"][0])
    after = other_class(engine, before)
    engine.review.decide(relabelled, "relabel", "t", new_label=after)
    engine.review.decide(dropped, "drop", "t")
    made = next_round(engine.folder)
    assert made is not None
    return open_run(made.root), {relabelled: (before, after)}, dropped


def test_a_data_set_at_a_glance(finished_run: Path, tiny_config: RunConfig, tmp_path: Path) -> None:
    engine = open_run(finished_run)
    found = engine.dataset(each=2)
    assert found is not None and found["size"] == 64 and found["round"] == 1
    figures = engine.report()["dataset"]
    totals = {k: sum(c[k] for c in found["classes"]) for k in ("train", "val", "test")}
    assert totals == {k: figures[f"n_{k}"] for k in totals}
    assert [c["name"] for c in found["classes"]] == figures["classes"]
    assert found["noise"] == figures["noise_rate"]
    for name, ids in found["sheet"].items():
        samples = [engine.training.sample(engine.training.position(i)) for i in ids]
        assert len(ids) == 2 and {s.label for s in samples} == {name}
    assert open_run(tmp_path / "new", tiny_config).dataset() is None


@pytest.mark.parametrize("undecided", ["original", "repaired"])
def test_the_preview_is_what_the_export_writes(
    run_copy: Path, tmp_path: Path, undecided: str
) -> None:
    engine = open_run(run_copy)
    rows = engine.queue.reset_index(drop=True)
    engine.review.decide(str(rows["id"][0]), "accept", "t", version=str(rows["version"][0]))
    new = other_class(engine, str(rows["label"][1]))
    engine.review.decide(str(rows["id"][1]), "relabel", "t", new_label=new)
    engine.review.decide(str(rows["id"][2]), "drop", "t")
    engine.review.decide(str(rows["id"][3]), "second_look", "t")
    found = engine.refined.preview(undecided)
    table, manifest = exported(engine, tmp_path / "out", undecided)
    written = table["source"].value_counts().to_dict()
    counts = found["counts"]
    assert {
        k: n for k, n in counts.items() if n and k in ("original", "repaired", "relabelled")
    } == (written)
    assert counts["dropped"] == len(manifest["dropped"]) == 1
    assert counts["undecided"] == len(rows) - 3
    assert found["total"] == manifest["n"] == len(table)
    assert found["earlier"] == {} and manifest["earlier"] == []
    with pytest.raises(DiffInfError, match="undecided must be one of"):
        engine.refined.preview("both")


def test_a_later_round_says_what_the_one_before_did(run_copy: Path, tmp_path: Path) -> None:
    second, relabelled, dropped = after_one_round(run_copy)
    table, manifest = exported(second, tmp_path / "out")
    by_action: dict[str, list[dict]] = {}
    for entry in manifest["earlier"]:
        assert entry["round"] == 1
        by_action.setdefault(entry["action"], []).append(entry)
    sample, (before, after) = next(iter(relabelled.items()))
    assert by_action["relabelled"] == [
        {"id": sample, "round": 1, "action": "relabelled", "before": before, "after": after}
    ]
    assert [e["id"] for e in by_action["dropped"]] == [dropped]
    assert {e["id"] for e in by_action["repaired"]} == set(
        read_json(second.folder.root / "round.json")["earlier"]
    )
    assert second.refined.preview()["earlier"] == {k: len(v) for k, v in by_action.items()}
    # what the data set came with stands beside what it is now
    assert table.at[sample, "label"] == after and table.at[sample, "assigned_label"] == before
    assert table.at[sample, "source"] == "relabelled" and dropped not in table.index
    untouched = table[table["source"] == "original"]
    assert (untouched["label"] == untouched["assigned_label"]).all()


def test_a_third_round_knows_which_round_did_what(run_copy: Path) -> None:
    second, relabelled, dropped = after_one_round(run_copy)
    for _ in second.compute():
        pass
    gone = {dropped, *relabelled}
    sample = next(str(i) for i in second.queue["id"] if str(i) not in gone)
    second.review.decide(sample, "drop", "t")
    made = next_round(second.folder)
    assert (
        made is not None
        and read_json(made.root / "round.json")["parent"] == second.folder.root.name
    )
    found = {(e.id, e.action): e.round for e in earlier_changes(made)}
    assert found[sample, "dropped"] == 2 and found[dropped, "dropped"] == 1
    assert found[next(iter(relabelled)), "relabelled"] == 1
    rounds = [e.round for e in earlier_changes(made)]
    assert rounds == sorted(rounds) and {1, 2} == set(rounds)


def test_a_round_made_before_parents_were_kept_still_tells(run_copy: Path) -> None:
    second, relabelled, _ = after_one_round(run_copy)
    file = second.folder.root / "round.json"
    found = read_json(file)
    del found["parent"]
    write_json(file, found)
    assert {e.id for e in earlier_changes(second.folder) if e.action == "relabelled"} == set(
        relabelled
    )


@pytest.mark.parametrize("parent", ["../elsewhere", "2", "/"])
def test_a_parent_that_names_a_path_is_refused(run_copy: Path, parent: str) -> None:
    second, _, _ = after_one_round(run_copy)
    file = second.folder.root / "round.json"
    write_json(file, {**read_json(file), "parent": parent})
    with pytest.raises(DiffInfError, match="cannot be one"):
        earlier_changes(Run.open(second.folder.root))


def test_a_round_that_is_its_own_parent_is_refused(run_copy: Path) -> None:
    second, _, _ = after_one_round(run_copy)
    file = second.folder.root / "round.json"
    write_json(file, {**read_json(file), "parent": second.folder.root.name})
    with pytest.raises(DiffInfError, match="circle"):
        earlier_changes(Run.open(second.folder.root))


def test_no_test_picture_is_in_an_export_or_on_the_sheet(
    finished_run: Path, tmp_path: Path
) -> None:
    engine = open_run(finished_run)
    test = set(map(str, open_truth(engine.folder, "benchmark").test().ids))
    found = engine.dataset()
    assert found is not None
    assert not test & {i for ids in found["sheet"].values() for i in ids}
    table, _ = exported(engine, tmp_path / "out")
    assert not test & set(table.index)
