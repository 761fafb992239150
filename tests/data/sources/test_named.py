"""Tables of Hugging Face, names of UTKFace, exports of ours, and what a folder is taken for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from diffinf_core.config import DataConfig
from diffinf_core.data.sources import SOURCES, list_folder, source_of
from diffinf_core.records import DiffInfError


def pictures(root: Path, *names: str) -> DataConfig:
    """Small pictures under names."""
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i % 256, 0, 0)).save(root / name)
    return DataConfig(source="folder", path=root)


def test_every_kind_of_source_has_a_name_of_its_own_that_the_settings_know() -> None:
    names = [kind.name for kind in SOURCES]
    assert len(set(names)) == len(names)
    for kind in SOURCES:
        assert DataConfig(source="folder", path=Path("x"), kind=kind.name).kind == kind.name  # type: ignore[arg-type]
        assert kind.about


# ---------------------------------------------------------------- Hugging Face imagefolder

ROWS = (
    "file_name,label,age\na.png,happy,30\nb.png,sad,40\n",
    '{"file_name": "a.png", "label": "happy", "age": 30}\n'
    '{"file_name": "b.png", "label": "sad", "age": 40}\n',
)


@pytest.mark.parametrize("name,text", [("metadata.csv", ROWS[0]), ("metadata.jsonl", ROWS[1])])
def test_a_metadata_table_names_labels_and_columns(tmp_path: Path, name: str, text: str) -> None:
    config = pictures(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / name).write_text(text)
    listing = list_folder(config)
    assert [(r.file, r.label, r.extra) for r in listing.rows] == [
        ("a.png", "happy", {"age": "30"}), ("b.png", "sad", {"age": "40"})
    ]  # fmt: skip
    assert (
        listing.unlabelled == 1 and listing.taken_for == f"a Hugging Face imagefolder with {name}"
    )


def test_a_table_in_each_split_folder_is_about_that_split(tmp_path: Path) -> None:
    config = pictures(tmp_path, *(f"{p}/{n}.png" for p in ("train", "test") for n in "ab"))
    for part in ("train", "test"):
        (tmp_path / part / "metadata.csv").write_text(ROWS[0])
    found = {(r.file, r.split, r.label) for r in list_folder(config).rows}
    assert found == {
        (f"{p}/{n}.png", p, label)
        for p in ("train", "test")
        for n, label in (("a", "happy"), ("b", "sad"))
    }


def test_one_table_above_the_split_folders_gives_the_splits_too(tmp_path: Path) -> None:
    config = pictures(tmp_path, "train/a.png", "test/b.png")
    (tmp_path / "metadata.csv").write_text("file_name,label\ntrain/a.png,happy\ntest/b.png,sad\n")
    assert [r.split for r in list_folder(config).rows] == ["train", "test"]


def test_a_bad_row_is_named_with_its_folder(tmp_path: Path) -> None:
    config = pictures(tmp_path, "train/a.png", "test/a.png")
    for part in ("train", "test"):
        (tmp_path / part / "metadata.csv").write_text(ROWS[0])
    assert {p.file for p in list_folder(config).problems} == {"train/b.png", "test/b.png"}


def test_hf_without_a_table_is_class_folders(tmp_path: Path) -> None:
    config = pictures(tmp_path, "train/happy/a.png", "train/sad/a.png").model_copy(
        update={"kind": "hf"}
    )
    assert list_folder(config).classes == ["happy", "sad"]


# ---------------------------------------------------------------- UTKFace

UTK = (
    "1_0_2_20161219140623097.jpg.chip.jpg",
    "30_1_0_20170117173206577.jpg",
    "70_0_4_20170117173206578.jpg",
    "22_1_3_20170117173206579.jpg",
)


def test_utkface_names_give_age_gender_and_race(tmp_path: Path) -> None:
    config = pictures(tmp_path, *UTK)
    listing = list_folder(config)
    assert {r.file: r.label for r in listing.rows} == dict(
        zip(UTK[:3], ("Young", "Middle", "Old"), strict=True)
    )
    assert listing.rows[0].extra == {
        "age": "1",
        "gender": "male",
        "race": "Asian",
        "date": "20161219140623097",
    }
    assert listing.classes == ["Young", "Middle", "Old"]
    assert listing.remarks == ("1 pictures are of an age that no class holds and are left out.",)
    by_gender = list_folder(config.model_copy(update={"label_column": "gender"}))
    assert by_gender.classes == ["male", "female"] and len(by_gender.rows) == 4
    with pytest.raises(DiffInfError, match="no column 'mood'"):
        list_folder(config.model_copy(update={"label_column": "mood"}))


def test_utkface_names_that_lack_the_race_are_counted(tmp_path: Path) -> None:
    config = pictures(tmp_path, *UTK, "61_1_20170109150557335.jpg").model_copy(
        update={"kind": "utkface"}
    )
    assert (
        "1 pictures are not named as in UTKFace (age_gender_race_date) and are left out."
        in list_folder(config).remarks
    )


# ---------------------------------------------------------------- an export of ours


def test_an_export_of_ours_keeps_its_lineage_and_its_order_of_classes(tmp_path: Path) -> None:
    config = pictures(tmp_path, "images/a.png", "images/b.png")
    (tmp_path / "labels.csv").write_text(
        "file,label,assigned_label,source,id\nimages/a.png,sad,sad,original,1\nimages/b.png,happy,sad,repaired,2\n"
    )
    manifest = {"made_by": "DiffInf", "made_at": "2026-01-01", "classes": ["sad", "happy"]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    listing = list_folder(config)
    assert listing.taken_for == "an export of DiffInf" and listing.classes == ["sad", "happy"]
    assert "1 of its pictures are synthetic edits" in listing.remarks[0]
    assert listing.rows[1].extra == {"assigned_label": "sad", "source": "repaired", "id": "2"}
    assert source_of(config).samples().columns.tolist() == [
        "file",
        "label",
        "split",
        "assigned_label",
        "source",
        "id",
    ]


@pytest.mark.parametrize("text", ["", "[]", '{"made_by": "another"}'])
def test_another_manifest_is_no_export_of_ours(tmp_path: Path, text: str) -> None:
    config = pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "labels.csv").write_text("file,label\na.png,x\nb.png,y\n")
    (tmp_path / "manifest.json").write_text(text)
    assert list_folder(config).taken_for == "the table labels.csv"
