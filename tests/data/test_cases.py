"""The collection of inputs that tools like this one get wrong, where it is at hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import ImageFolder

from diffinf_core.cli import main
from diffinf_core.config import DataConfig, preset_for
from diffinf_core.data.check import Checked
from diffinf_core.data.ingest import DATA
from diffinf_core.data.kinds import READABLE
from diffinf_core.data.part import run_pictures
from diffinf_core.engine import OpenRun, open_run
from diffinf_core.records import DiffInfError
from diffinf_core.runs.tables import read_table
from tests.checked import checked

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


def check(folder: Path, **over: dict[str, Any]) -> Checked:
    data = {"path": str(folder), "image_size": 32} | over.pop("data", {})
    return checked(DataConfig(source="folder", **data), **over)


def pictures(opened: OpenRun) -> dict[str, np.ndarray]:
    """Each picture of a run by its file."""
    files = read_table(DATA.folder(opened.folder) / "samples.csv")["file"]
    read = run_pictures(opened.folder).read(range(len(files)))
    return dict(zip(files, read, strict=True))


def test_01_every_orientation_is_upright(cases: Path, tmp_path: Path) -> None:
    """The green corner is top left, and arrows of a class point the same way."""
    shown = pictures(read(cases / "01-exif-orientation", tmp_path / "run"))
    assert len(shown) == 80
    for i in range(80):
        image = shown[f"{i:03d}.jpg"].astype(int)
        assert image[1, 1, 1] > image[1, 1, 0] + 50, i
        assert np.abs(image - shown[f"{i % 2:03d}.jpg"]).mean() < 6, i


def test_06_files_are_read_by_content_and_what_is_left_out_is_counted(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("kinds", "decode"):
        monkeypatch.setattr(f"diffinf_core.data.{module}.readable", lambda: READABLE)
    opened = read(cases / "06-suffixes", tmp_path / "run")
    assert figures(opened)["n"] == 70
    assert "1 kind left out: 10 .heic." in figures(opened)["remarks"]
    result = check(cases / "06-suffixes")
    (lost,) = [f for f in result.findings if "kinds that are not read" in f.title]
    assert lost.count == 10 and lost.lines == ["10 .heic"] and result.readable == 70


def test_06_is_never_without_problems_in_the_terminal(
    cases: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["diffinf", "check", str(cases / "06-suffixes")])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr()
    assert ".heic" in said.out  # left out, or broken pictures where there is a decoder
    assert "No problems found" not in said.out


def test_06b_gifs_are_read(cases: Path, tmp_path: Path) -> None:
    shown = pictures(read(cases / "06b-gif-table", tmp_path / "run"))
    assert len(shown) == 60 and all(image.std() > 5 for image in shown.values())


@pytest.mark.parametrize(
    "name,n,skipped",
    [("07-hidden", 60, 12), ("07b-jupyter-only", 120, 30), ("07c-inside-class", 60, 6)],
)
def test_07_what_systems_leave_behind_is_skipped_and_counted(
    cases: Path, tmp_path: Path, name: str, n: int, skipped: int
) -> None:
    stage = figures(read(cases / name, tmp_path / "run"))
    assert stage["n"] == n and stage["classes"] == ["happy", "sad"]
    assert f"{skipped} hidden or system files skipped." in stage["remarks"]
    assert f"{skipped} hidden or system files skipped." in [
        finding.title for finding in check(cases / name).findings
    ]


def test_08_split_folders_are_splits(cases: Path, tmp_path: Path) -> None:
    opened = read(cases / "08-split-folders", tmp_path / "run")
    assert figures(opened)["classes"] == ["happy", "neutral", "sad"]
    table = read_table(DATA.folder(opened.folder) / "samples.csv")
    of_test = table["file"].str.startswith("test/")
    assert of_test.sum() == 45 and ((table["split"] == "test") == of_test).all()


def test_13_the_check_names_a_class_that_is_too_small_and_the_ways_out(cases: Path) -> None:
    refused = check(cases / "13b-single")
    assert "'surprised' (1 picture)" in str(refused.problems[0])
    assert "--drop-small-classes" in str(refused.problems[0])
    assert not check(cases / "13b-single", split={"small_classes": "drop"}).problems
    assert not check(cases / "13b-single", split={"small_classes": "train"}).problems
    assert not check(cases / "13c-six").problems
    hundred = check(cases / "13a-hundred-classes")
    assert not hundred.problems and len(hundred.classes) == 100
    assert all(all(parts.values()) for parts in hundred.classes.values())


@pytest.mark.parametrize("form", ["imagefolder", "huggingface"])
def test_16_an_export_keeps_names_columns_and_bytes(cases: Path, tmp_path: Path, form: str) -> None:
    opened = read(cases / "16-export", tmp_path / "run", data={"split_column": "split"})
    opened.export(tmp_path / "out", format=form, splits="all").result()
    files = [p for p in (tmp_path / "out").rglob("*.jpg") if p.is_file()]
    assert sorted(p.stem for p in files) == [f"p{i:03d}" for i in range(120)]
    assert {p.stem: p.read_bytes() for p in files} == {
        p.stem: p.read_bytes() for p in (cases / "16-export" / "img").iterdir()
    }
    if form == "imagefolder":
        for part in ("train", "val", "test"):
            opened_by_torch = ImageFolder(str(tmp_path / "out" / part))
            assert opened_by_torch.classes == ["happy", "neutral", "sad"]
    else:
        tables = list((tmp_path / "out").rglob("metadata.csv"))
        columns = set().union(*(read_table(table).columns for table in tables))
        assert {"file_name", "label", "gender", "age"} <= columns


def test_19_the_check_reads_huge_pictures_reduced(cases: Path) -> None:
    result = check(cases / "19-huge")
    assert result.readable == 42 and result.sizes[12000, 9000] == 1


def test_20_the_check_names_broken_pictures(cases: Path) -> None:
    result = check(cases / "20-truncated")
    assert [p.file for p in result.problems] == ["003.jpg", "007.jpg", "011.jpg"]
    assert check(cases / "20-truncated", data={"skip_bad": True}).problems == []


def test_22_file_name_is_known_and_another_column_is_chosen(cases: Path, tmp_path: Path) -> None:
    folder = cases / "22-columns-named"
    with pytest.raises(DiffInfError, match=r"no column 'label'.*emotion"):
        check(folder)
    over = {"label_column": "Smiling", "file_column": "file_name"}
    assert figures(read(folder, tmp_path / "run", data=over))["classes"] == ["-1", "1"]


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
