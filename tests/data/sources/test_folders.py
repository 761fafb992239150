"""Folders that are classes, and folders that are not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from diffinf_core.config import DataConfig
from diffinf_core.data.sources import list_folder, named_source, source_of
from diffinf_core.data.sources.folders import layout_of
from diffinf_core.data.split import split_named
from diffinf_core.records import DiffInfError


def faces(root: Path, *names: str) -> DataConfig:
    """A folder with a small picture under each name."""
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), i % 256, np.uint8)).save(root / name)
    return DataConfig(source="folder", path=root)


PARTS, CLASSES = ("train", "val", "test"), ("happy", "sad", "neutral")


@pytest.mark.parametrize("wrapper", ["", "dataset/", "dataset/dataset/"])
@pytest.mark.parametrize("above", [True, False])
@pytest.mark.parametrize("spelling", [str, str.upper, str.title])
def test_splits_above_or_inside_class_folders_are_splits(
    tmp_path: Path, wrapper: str, above: bool, spelling
) -> None:  # type: ignore[no-untyped-def]
    pairs = [(p, c) for p in PARTS for c in CLASSES]
    names = [
        wrapper + (f"{spelling(p)}/{c}" if above else f"{c}/{spelling(p)}") + f"/{i}.png"
        for p, c in pairs
        for i in range(2)
    ]
    listing = list_folder(faces(tmp_path, *names))
    assert listing.classes == sorted(CLASSES) and not listing.problems and listing.unlabelled == 0
    assert Counter((r.split, r.label) for r in listing.rows) == Counter(pairs * 2)
    assert listing.taken_for.startswith("splits ")
    assert ("above" if above else "inside") in listing.taken_for


@pytest.mark.parametrize(
    "name,split",
    [("Training", "train"), ("valid", "val"), ("dev", "val"), ("TEST ", "test"), ("tests!", None)],
)
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_named(name) == split


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    listing = list_folder(faces(tmp_path, "train/a.png", "bus/a.png", "car/deep/a.png"))
    assert listing.classes == ["bus", "car", "train"] and {r.split for r in listing.rows} == {""}


def test_pictures_right_inside_split_folders_have_no_class_and_are_refused(tmp_path: Path) -> None:
    config = faces(tmp_path, "train/a.png", "train/b.png", "test/a.png")
    with pytest.raises(DiffInfError, match="folders test, train are splits"):
        list_folder(config)


def test_what_stands_beside_the_splits_is_named(tmp_path: Path) -> None:
    names = [f"{p}/{c}/a.png" for p in ("train", "test") for c in CLASSES]
    listing = list_folder(faces(tmp_path, *names, "masks/happy/a.png", "masks/happy/b.png"))
    assert listing.classes == sorted(CLASSES) and listing.unlabelled == 2
    assert listing.remarks == ("2 pictures in masks/happy/ belong to no split and are left out.",)


def test_a_folder_around_everything_is_no_class(tmp_path: Path) -> None:
    listing = list_folder(faces(tmp_path, "faces/happy/a.png", "faces/sad/b.png"))
    assert (
        listing.classes == ["happy", "sad"]
        and listing.taken_for == "one folder per class below faces/"
    )


def test_hidden_files_make_no_class_and_are_counted(tmp_path: Path) -> None:
    names = [f"{c}/{i}.png" for c in ("happy", "sad") for i in range(30)]
    hidden = [f".ipynb_checkpoints/{i}.png" for i in range(4)] + [
        "__MACOSX/happy/._1.png",
        "sad/.ipynb_checkpoints/3.png",
    ]
    listing = list_folder(faces(tmp_path, *names, *hidden))
    assert len(listing.rows) == 60 and listing.classes == ["happy", "sad"]
    assert listing.remarks == ("6 hidden or system files skipped.",)


def test_a_linked_class_that_leads_out_is_a_problem_and_read_where_allowed(tmp_path: Path) -> None:
    config = faces(tmp_path / "faces", "happy/a.png", "neutral/c.png")
    faces(tmp_path / "else", "b.png")
    (tmp_path / "faces" / "sad").symlink_to(tmp_path / "else")
    (problem,) = list_folder(config).problems
    assert str(problem) == "sad: lies outside the data folder; data.outside_links=true follows it"
    listing = list_folder(config.model_copy(update={"outside_links": True}))
    assert listing.classes == ["happy", "neutral", "sad"] and not listing.problems


def test_a_kind_that_is_named_is_not_guessed(tmp_path: Path) -> None:
    config = faces(tmp_path, "happy/a.png", "sad/b.png")
    (tmp_path / "labels.csv").write_text("file,label\nhappy/a.png,x\nsad/b.png,y\n")
    assert list_folder(config).classes == ["x", "y"]
    named = config.model_copy(update={"kind": "folders"})
    assert list_folder(named).classes == ["happy", "sad"]
    samples = source_of(named).samples()
    assert samples.to_dict("list") == {
        "file": ["happy/a.png", "sad/b.png"],
        "label": ["happy", "sad"],
        "split": ["", ""],
    }
    with source_of(named).open("happy/a.png") as file:
        assert file.read() == (tmp_path / "happy" / "a.png").read_bytes()
    with pytest.raises(DiffInfError, match="outside"):
        source_of(named).open("../x.png")


def test_a_prefix_names_the_kind_unless_a_folder_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert named_source("folders:x") == {
        "source": "folder",
        "kind": "folders",
        "path": str(tmp_path / "x"),
    }
    assert named_source("y:x")["path"] == str(tmp_path / "y:x")
    (tmp_path / "folders:x").mkdir()
    assert named_source("folders:x") == {
        "source": "folder",
        "kind": "auto",
        "path": str(tmp_path / "folders:x"),
    }


_NAMES = st.sampled_from(["train", "test", "val", "happy", "sad", "Training", "x"])


@given(st.lists(st.lists(_NAMES, min_size=0, max_size=3), min_size=1, max_size=12))
def test_whatever_the_folders_every_picture_has_a_class_or_is_left_out(
    folders: list[list[str]],
) -> None:
    names = ["/".join([*parts, f"{i}.png"]) for i, parts in enumerate(folders)]
    try:
        layout = layout_of(names)
    except DiffInfError:
        return
    assert (layout is None) == (not any(folders))
    for name in names if layout else []:
        assert layout is not None
        label, split = layout.read(name)
        assert label == "" or label in name.split("/")[:-1]
        if layout.split_level is not None:
            assert bool(label) == bool(split)
        elif layout.wrapper == ():
            assert label == (name.split("/")[0] if "/" in name else "")
