"""Each format opened by who reads it: torchvision, datasets, pandas, pycocotools, FiftyOne's schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diffinf_core.config import make_config
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import open_training
from diffinf_core.export.dataset import RefinedDataset, read_export
from diffinf_core.export.folder import export_folder
from diffinf_core.export.formats import FORMATS
from diffinf_core.export.formats.huggingface import csv_types
from diffinf_core.export.marks import AI_EDITED
from diffinf_core.records import DiffInfError
from diffinf_core.review.opening import open_journal
from diffinf_core.runs.run import Run
from tests.refined import version_id, write_edit

N, SIDE = 60, 96
CLASSES = ("young", "old", "2", "10")


def source(folder: Path, classes: tuple[str, ...] = CLASSES) -> None:
    """Photographs of several formats in sub-folders, some of one name, with columns of their own."""
    rng = np.random.default_rng(3)
    rows = []
    for i in range(N):
        suffix = ("jpg", "png")[i % 2]
        name = f"{('a', 'b')[i // 30]}/{i // 2 % 15:02d}.{suffix}"
        low = rng.integers(0, 255, (6, 6, 3)).astype(np.uint8)
        image = Image.fromarray(low).resize((SIDE + 8 * (i % 3), SIDE), Image.Resampling.BICUBIC)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(folder / name)
        rows.append({"file": name, "label": classes[i % len(classes)], "age": f"{i:02d}",
                     "note": ("NA", "", "a|b")[i % 3], "source": "camera"})  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)


def made(root: Path, classes: tuple[str, ...] = CLASSES) -> Run:
    """A run up to its data stage, with an accepted edit, a relabelled and a dropped sample."""
    source(root / "data", classes)
    given = {
        "data": {"source": "folder", "path": str(root / "data"), "image_size": 32,
                 "classes": list(classes)},
        "noise": {"rate": 0},
        "split": {"val_share": 0.25, "test_share": 0.25},
    }  # fmt: skip
    run = Run.prepare(root / "run", make_config("demo", given)).store()
    for _ in DATA.compute(run):
        pass
    train = open_training(run)
    journal = open_journal(run)
    for k in range(3):
        before = train.images([k])[0]
        after = before.astype(int)
        after[10:20, 10:20] = np.where(
            after[10:20, 10:20] > 127, after[10:20, 10:20] - 40, after[10:20, 10:20] + 40
        )
        write_edit(
            run, str(train.ids[k]), version_id(k + 1), after.astype(np.uint8), reconstruction=before
        )
        journal.decide(str(train.ids[k]), "accept", "Ann Smith", version=version_id(k + 1))
    other = next(c for c in classes if c != train.sample(3).label)
    journal.decide(str(train.ids[3]), "relabel", "Bob", new_label=other)
    journal.decide(str(train.ids[4]), "drop", "Bob")
    journal.close()
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Read only."""
    return made(tmp_path_factory.mktemp("formats"))


def exported(run: Run, target: Path, **options: Any) -> pd.DataFrame:
    """The table of an export that was written and verified."""
    for _ in export_folder(run, target, **options):
        pass
    export = read_export(target)
    export.verify()
    return export.table


@pytest.mark.parametrize("name", [n for n in FORMATS if n != "cleanlab"])
@pytest.mark.parametrize("splits", ["train", "all"])
def test_every_format_keeps_bytes_labels_counts_columns_and_names(
    run: Run, tmp_path: Path, name: str, splits: str
) -> None:
    table = exported(run, tmp_path / "out", format=name, splits=splits)
    given = pd.read_csv(run.root.parent / "data" / "labels.csv", dtype=str, keep_default_na=False)
    given = given.set_index("file")
    assert not table["file"][table["file"] != ""].duplicated().any()
    n = {"train": DATA.folder(run).figures["n_train"] - 1, "all": N - 1}[splits]
    if name == "patch":
        assert table["source"].value_counts().to_dict() == {"repaired": 3, "relabelled": 1}
        changes = pd.read_csv(tmp_path / "out" / "changes.csv", keep_default_na=False)
        assert changes["action"].tolist()[-1] == "dropped" and len(changes) == 5
        assert len(list((tmp_path / "out").rglob("*.png"))) == 3
    else:
        assert len(table) == n
        rows = given.loc[table["original"]]
        for column in ("age", "note"):
            assert (rows[column].to_numpy() == table[column].to_numpy()).all()
        assert set(table["source_given"]) == {"camera"}
    for row in table.to_dict("records"):
        picture = tmp_path / "out" / row["file"]
        original = run.root.parent / "data" / row["original"]
        assert row["assigned_label"] == given["label"][row["original"]]
        if row["source"] == "repaired":
            assert AI_EDITED.encode() in picture.read_bytes() and picture.suffix == ".png"
            with Image.open(picture) as new, Image.open(original) as old:
                assert new.size == old.size and new.mode == old.mode
        elif row["file"]:
            assert picture.read_bytes() == original.read_bytes()
            assert picture.stem.startswith(original.stem)
    if name != "patch":
        data = RefinedDataset(tmp_path / "out")
        assert len(data) == DATA.folder(run).figures["n_train"] - 1


@pytest.mark.parametrize("classes", [CLASSES, ("a", "b", "c"), ("x/y", "..", "NUL?", " z")])
def test_torchvision_sees_the_classes_with_the_numbers_of_the_run(
    tmp_path: Path, classes: tuple[str, ...]
) -> None:
    from torchvision.datasets import ImageFolder

    classes = tuple(c.strip() for c in classes)
    run = made(tmp_path, classes)
    for splits, below in (("train", [""]), ("all", ["train", "val", "test"])):
        table = exported(run, tmp_path / splits, format="imagefolder", splits=splits)
        rows = zip(table["file"], table["label"], strict=True)
        number = {str(tmp_path / splits / f): classes.index(label) for f, label in rows}
        seen = {}
        for part in below:
            folder = ImageFolder(tmp_path / splits / part)
            assert len(folder.classes) == len(classes)
            seen |= dict(folder.samples)
        assert seen == number
    if list(classes) == sorted(classes) and classes[0] == "a":
        assert folder.classes == list(classes)


def test_a_class_without_pictures_keeps_its_number(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    run = made(tmp_path, ("a", "b", "c"))
    train, journal = open_training(run), open_journal(run)
    for i in np.flatnonzero(train.labels == 1):
        journal.decide(str(train.ids[i]), "drop", "ann")
    journal.close()
    table = exported(run, tmp_path / "out", format="imagefolder")
    assert set(table["label"]) <= {"a", "c", "b"}
    folder = ImageFolder(tmp_path / "out", allow_empty=True)
    assert folder.class_to_idx == {"a": 0, "b": 1, "c": 2}


@pytest.mark.parametrize("classes", [CLASSES, ("NA", "None", "null"), ("01", "1", "2")])
@pytest.mark.parametrize("splits", ["train", "all"])
def test_load_dataset_sees_labels_splits_and_columns(
    tmp_path: Path, classes: tuple[str, ...], splits: str
) -> None:
    datasets = pytest.importorskip("datasets")
    run = made(tmp_path, classes)
    table = exported(run, tmp_path / "out", format="huggingface", splits=splits)
    names = {"train": "train", "val": "validation", "test": "test"}
    cache = str(tmp_path / "cache")
    typed = datasets.load_dataset(str(tmp_path / "out"), cache_dir=cache)
    plain = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=cache)
    assert set(typed) == {names[s] for s in set(table["split"])}
    assert sum(map(len, typed.values())) == len(table)
    for split, rows in table.groupby("split", sort=False):
        loaded, raw = typed[names[str(split)]], plain[names[str(split)]]
        assert loaded.features["label"].names == list(classes)
        ids = rows.set_index("id")
        order = ids.loc[loaded["id"]]
        assert [classes[i] for i in loaded["label"]] == order["label"].tolist()
        assert list(raw["label"]) == ids.loc[raw["id"]]["label"].tolist()
        assert loaded["age"][:] == order["age"].tolist()
        assert [v or "" for v in loaded["note"]] == order["note"].tolist()
        assert all(image.size[1] == SIDE for image in loaded["image"])


def test_a_metadata_table_is_csv_where_that_reader_keeps_every_text(tmp_path: Path) -> None:
    def table(**columns: list[str]) -> pd.DataFrame:
        return pd.DataFrame({"file_name": ["a.png", "b.png"], "label": ["x", "y"], **columns})

    assert csv_types([table(n=["1", "20"], f=["0.5", "1.5"], empty=["", "z"])]) == {
        "file_name": "string", "label": "string", "n": "int64", "f": "float64", "empty": "string",
    }  # fmt: skip
    for column in (["NA", "b"], ["01", "1"], ["1e3", "2"], ["True", "False"]):
        assert csv_types([table(c=column)]) is None
    assert csv_types([table(label=["1", "2"])]) is None
    # two parts of one column that would be read with two types
    assert csv_types([table(c=["1", "2"]), table(c=["x", "y"])]) is None


def test_plain_columns_give_the_csv_that_the_format_is_known_for(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    run = made(tmp_path, ("a", "b"))
    file = tmp_path / "data" / "labels.csv"
    rows = pd.read_csv(file, dtype=str, keep_default_na=False)
    rows["age"] = [str(10 + i) for i in range(len(rows))]
    rows.drop(columns="note").to_csv(file, index=False)
    again = Run.prepare(tmp_path / "again", run.config).store()
    for _ in DATA.compute(again):
        pass
    exported(again, tmp_path / "out", format="huggingface", splits="all")
    metadata = pd.read_csv(tmp_path / "out" / "train" / "metadata.csv")
    assert list(metadata)[:2] == ["file_name", "label"] and metadata["age"].dtype == "int64"
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"]["age"][:] == metadata["age"].tolist()
    assert [("a", "b")[i] for i in loaded["train"]["label"]] == metadata["label"].tolist()


def test_pandas_reads_the_parquet_file_as_the_csv(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    table = exported(run, tmp_path / "out", format="parquet", splits="all")
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "out" / "labels.parquet").astype(object), table.astype(object)
    )


@pytest.mark.parametrize("splits", ["train", "all"])
def test_pycocotools_sees_pictures_and_categories(
    run: Run, tmp_path: Path, splits: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pycocotools = pytest.importorskip("pycocotools.coco")
    table = exported(run, tmp_path / "out", format="coco", splits=splits)
    for split, rows in table.groupby("split", sort=False):
        coco = pycocotools.COCO(tmp_path / "out" / "annotations" / f"{split}.json")
        names = {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())}
        assert tuple(names[i + 1] for i in range(len(CLASSES))) == CLASSES
        found = {}
        for image in coco.loadImgs(coco.getImgIds()):
            (one,) = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
            with Image.open(tmp_path / "out" / image["file_name"]) as picture:
                assert picture.size == (image["width"], image["height"]) == tuple(one["bbox"][2:])
            assert coco.annToMask(one).shape == (image["height"], image["width"])
            found[image["file_name"]] = (names[one["category_id"]], image["age"])
        expected = zip(rows["label"], rows["age"], strict=True)
        assert found == dict(zip(rows["file"], expected, strict=True))


@pytest.mark.parametrize("splits", ["train", "all"])
def test_fiftyone_would_find_every_picture_by_its_name_and_target(
    run: Run, tmp_path: Path, splits: str
) -> None:
    """Its importer: a file is known by its path below data/ less the suffix, a target is an index."""
    table = exported(run, tmp_path / "out", format="fiftyone", splits=splits)
    parts = [""] if splits == "train" else ["train", "val", "test"]
    seen = {}
    for part in parts:
        root = tmp_path / "out" / part
        read = json.loads((root / "labels.json").read_text())
        assert set(read) == {"classes", "labels"} and read["classes"] == list(CLASSES)
        files: dict[str, Path] = {}
        for path in (root / "data").rglob("*"):
            if path.is_file():
                name = path.relative_to(root / "data").with_suffix("").as_posix()
                assert name not in files
                files[name] = path
        assert set(files) == set(read["labels"])
        for name, target in read["labels"].items():
            label = read["classes"][target["label"]]
            assert not {"id", "tags", "label", "confidence"} & set(target["attributes"])
            seen[files[name].relative_to(tmp_path / "out").as_posix()] = (
                label,
                target["attributes"]["age"],
            )
    expected = zip(table["label"], table["age"], strict=True)
    assert seen == dict(zip(table["file"], expected, strict=True))


def test_reviewers_are_named_by_pseudonyms_alone(run: Run, tmp_path: Path) -> None:
    exported(run, tmp_path / "out")
    everything = b"".join(p.read_bytes() for p in (tmp_path / "out").glob("*.*"))
    assert b"Ann Smith" not in everything and b"Bob" not in everything
    manifest = read_export(tmp_path / "out").manifest
    said = {e["decision"]["reviewer"] for e in manifest["samples"] if "decision" in e}
    assert said == {"reviewer 1", "reviewer 2"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| reviewer 1: accept | 3 |" in card and "| dropped | 1 |" in card


@pytest.mark.parametrize(
    "options,message",
    [
        ({"format": "zip"}, "format must be one of csv, parquet"),
        ({"splits": "val"}, "splits must be one of train, all"),
        ({"edits": "big"}, "edits must be one of full"),
        ({"undecided": "x"}, "undecided must be one of"),
    ],
)
def test_unknown_options_are_one_sentence(
    run: Run, tmp_path: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(DiffInfError, match=message):
        list(export_folder(run, tmp_path / "out", **options))
    assert not (tmp_path / "out").exists()


def test_a_patch_is_no_data_set(run: Run, tmp_path: Path) -> None:
    exported(run, tmp_path / "out", format="patch")
    with pytest.raises(DiffInfError, match="is a patch, which holds only what changed"):
        RefinedDataset(tmp_path / "out")


def test_a_manifest_tells_of_no_machine_and_of_comments_only_when_asked(tmp_path: Path) -> None:
    run = made(tmp_path)
    journal = open_journal(run)
    journal.decide(str(open_training(run).ids[5]), "keep", "Ann Smith", comment="a private remark")
    journal.close()
    exported(run, tmp_path / "without")
    text = (tmp_path / "without" / "manifest.json").read_text()
    assert str(tmp_path) not in text and str(run.root) not in text and "private remark" not in text
    assert "Ann Smith" not in text
    exported(run, tmp_path / "with", comments=True)
    assert "private remark" in (tmp_path / "with" / "manifest.json").read_text()
    for file in (tmp_path / "without").rglob("*"):
        if file.is_file() and file.suffix in (".json", ".csv", ".md"):
            assert str(tmp_path) not in file.read_text(), file


def test_what_was_skipped_before_the_run_is_counted(tmp_path: Path) -> None:
    run = made(tmp_path)
    stage = DATA.folder(run)
    figures, code = stage.figures, stage.code
    stage.finish({**figures, "skipped": {"rows": 2, "pictures": 3}}, code)
    exported(run, tmp_path / "out")
    manifest = read_export(tmp_path / "out").manifest
    assert manifest["counts"]["skipped"] == {"rows": 2, "pictures": 3}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "skipped before the run" in card
