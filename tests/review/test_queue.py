"""The queue and rows like it: every figure from its edit, kept in one file that may be lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from diffinf_core.correction.edits import load_edit
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import open_training
from diffinf_core.records import DiffInfError
from diffinf_core.review import queue as module
from diffinf_core.review.queue import COLUMNS, build_queue, queue_key, unedited
from diffinf_core.runs.run import Run


@pytest.fixture
def run(run_copy: Path) -> Run:
    (REPAIR.folder(Run.open(run_copy)) / "rows.json").unlink(missing_ok=True)
    return Run.open(run_copy)


def test_every_figure_is_the_edits(run: Run) -> None:
    table = build_queue(run)
    assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS
    assert list(table["rank"]) == sorted(table["rank"])
    classes = list(open_training(run).classes)
    for row in table.to_dict("records"):
        edit: Any = load_edit(run, row["id"], row["version"])
        for name in ("identity", "ssim", "sharpness", "changed_area", "strongest_change", "influence_before",
                     "influence_after", "h_after", "perceptual"):  # fmt: skip
            assert row[name] == getattr(edit, name), name
        assert row["changed_outside"] == pytest.approx(edit.changed_outside, nan_ok=True)
        assert row["judge_after"] == edit.judge_after[classes.index(edit.label)]


def test_groups_and_subgroups_are_the_data_sets(run: Run) -> None:
    table, train = build_queue(run), open_training(run)
    known = train.table.set_index("id")
    assert list(table["group"]) == list(known["identity"][list(table["id"])])
    assert list(table["by_skin"]) == list(known["skin"][list(table["id"])])
    assert [c for c in table if c.startswith("by_")] == ["by_skin"], "people are no subgroup"


@pytest.mark.parametrize("values,there", [(1, False), (2, True), (20, True), (21, False)])
def test_a_subgroup_has_2_to_20_values(run: Run, values: int, there: bool) -> None:
    file = DATA.folder(run) / "samples.csv"
    table = pd.read_csv(file, dtype=str)
    table["site"] = [f"site {i % values}" for i in range(len(table))]
    table.to_csv(file, index=False)
    assert ("by_site" in build_queue(run)) is there


def test_a_second_look_at_the_queue_reads_no_edit(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_queue(run)

    def never(*_: object) -> None:
        raise AssertionError("an edit was read")

    monkeypatch.setattr(module, "load_edit", never)
    pd.testing.assert_frame_equal(build_queue(run), first)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"key": "other", "columns": {}}', "null"])
def test_kept_rows_that_are_lost_or_broken_are_made_again(run: Run, damage: str) -> None:
    first, file = build_queue(run), REPAIR.folder(run) / "rows.json"
    file.write_text(damage)
    pd.testing.assert_frame_equal(build_queue(run), first)
    assert json.loads(file.read_text())["columns"]["id"], "and kept again"


def test_other_versions_make_other_rows(run: Run) -> None:
    first, key = build_queue(run), queue_key(run)
    file = REPAIR.folder(run) / "versions.json"
    versions = json.loads(file.read_text())
    versions.pop(first["id"][0])
    file.write_text(json.dumps(versions))
    assert list(build_queue(run)["id"]) == list(first["id"][1:]) and queue_key(run) != key


def test_rows_that_cannot_be_kept_are_made_all_the_same(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(module, "write_json", full)
    assert len(build_queue(run)) and not (REPAIR.folder(run) / "rows.json").exists()


def test_a_sample_without_an_edit_has_a_row_of_the_same_kind(run: Run) -> None:
    table, train = build_queue(run), open_training(run)
    others = [str(s) for s in train.ids if s not in set(table["id"])][:3]
    rows = unedited(run, others[::-1])
    assert list(rows["id"]) == others[::-1] and list(rows.columns) == list(table.columns)
    assert (rows.dtypes == table.dtypes).all()
    for row in rows.to_dict("records"):
        assert row["version"] == row["suggestion"] == row["flags"] == ""
        assert np.isnan(row["identity"]) and np.isnan(row["judge_before"])
        assert row["label"] == train.sample(train.position(row["id"])).label
        assert row["rank"] > len(table) and row["score"] > 0 and row["by_skin"]
    with pytest.raises(DiffInfError, match="no training sample"):
        unedited(run, ["000000000000"])


def test_what_is_suggested_for_a_picture_without_an_edit() -> None:
    classes = ["happy", "sad", "neutral"]
    assert module.suggestion_unedited("sad", classes, [0.2, 0.7, 0.1])[:2] == ("keep", "")
    action, new_label, why = module.suggestion_unedited("sad", classes, [0.8, 0.15, 0.05])
    assert (action, new_label) == ("relabel", "happy")
    assert why == "the judge sees happy (0.80), sad 0.15"
    unsure = module.suggestion_unedited("sad", classes, [0.45, 0.3, 0.25])
    assert unsure == ("", "", ""), "the judge is not sure of another label"
