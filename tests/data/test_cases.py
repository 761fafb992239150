"""The collection of inputs that tools like this one get wrong, where it is at hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from diffinf_core.config import preset_for
from diffinf_core.data.ingest import DATA
from diffinf_core.engine import OpenRun, open_run
from diffinf_core.records import DiffInfError
from diffinf_core.runs.tables import read_table

MAKE = Path(__file__).parents[3] / "shared" / "cases" / "make.py"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not MAKE.is_file(), reason="the collection of inputs is not here"),
]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cases")
    subprocess.run([sys.executable, str(MAKE), str(root)], check=True)
    return root


def read(folder: Path, out: Path, **over: dict[str, Any]) -> OpenRun:
    data = {"source": "folder", "path": str(folder), "image_size": 32} | over.pop("data", {})
    opened = open_run(out, preset_for("demo", {"data": data, **over}))
    opened.compute("data").result()
    return opened


def figures(opened: OpenRun) -> dict[str, Any]:
    return DATA.folder(opened.folder).figures


def test_09_corrected_labels_are_seen_and_taken_over(cases: Path, tmp_path: Path) -> None:
    opened = read(cases / "09-stale-labels", tmp_path / "run")
    shutil.copyfile(cases / "09-labels-corrected.csv", cases / "09-stale-labels" / "labels.csv")
    assert "10 labels changed" in opened.source.changes()
    opened.source.update().result()
    table = read_table(DATA.folder(opened.folder) / "samples.csv")
    assert dict(table["label"].value_counts()) == {"happy": 45, "sad": 45}


@pytest.mark.parametrize(
    "name", ["10a-csv", "10b-csv", "10f-csv", "14a-nfd", "14d-absolute", "14f-nosuffix-on-disk"]
)
def test_10_and_14_dialects_and_names_are_read(cases: Path, tmp_path: Path, name: str) -> None:
    assert figures(read(cases / name, tmp_path / "run"))["n"] == 40


def test_10c_a_row_longer_than_the_header_is_refused_by_line(cases: Path, tmp_path: Path) -> None:
    with pytest.raises(DiffInfError, match=r"row 2: .*3 fields where the header has 2"):
        read(cases / "10c-csv", tmp_path / "run")


@pytest.mark.parametrize(
    "name,over,classes",
    [
        ("11-na-labels", {}, 6),
        ("13a-hundred-classes", {}, 100),
        ("13b-single", {"split": {"small_classes": "drop"}}, 2),
        ("13b-single", {"split": {"small_classes": "train"}}, 3),
        ("13c-six", {}, 3),
        ("22-columns-named", {"data": {"label_column": "emotion"}}, 2),
    ],
)
def test_11_13_22_classes(cases: Path, tmp_path: Path, name: str, over: Any, classes: int) -> None:
    assert len(figures(read(cases / name, tmp_path / "run", **over))["classes"]) == classes


def test_13b_says_it_beforehand_and_takes_the_way_out(cases: Path, tmp_path: Path) -> None:
    with pytest.raises(DiffInfError, match=r"'surprised' \(1 picture\).*--drop-small-classes"):
        read(cases / "13b-single", tmp_path / "run")
    opened = read(cases / "13b-single", tmp_path / "run", split={"small_classes": "drop"})
    assert figures(opened)["classes_left_out"] == {"surprised": 1}


def test_16_a_given_split_is_honoured_and_offered(cases: Path, tmp_path: Path) -> None:
    opened = read(cases / "16-export", tmp_path / "run", data={"split_column": "split"})
    table = read_table(DATA.folder(opened.folder) / "samples.csv")
    assert (table["split"] == table["split_given"]).all()
    offered = figures(read(cases / "16-export", tmp_path / "other"))["remarks"]
    assert any("data.split_column=split" in remark for remark in offered)


def test_19_huge_pictures_are_read_reduced(cases: Path, tmp_path: Path) -> None:
    assert figures(read(cases / "19-huge", tmp_path / "run"))["n"] == 42


def test_20_broken_pictures_are_named_and_skipped(cases: Path, tmp_path: Path) -> None:
    with pytest.raises(DiffInfError, match=r"003\.jpg"):
        read(cases / "20-truncated", tmp_path / "run")
    opened = read(cases / "20-truncated", tmp_path / "run", data={"skip_bad": True})
    assert figures(opened)["n"] == 57 and figures(opened)["skipped"]["pictures"] == 3
