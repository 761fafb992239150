"""Photographs of faces in, checked, exported in every form, verified and read back by who reads each form."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest

from diffinf_core.config import make_config
from diffinf_core.data.ingest import DATA
from diffinf_core.engine import check
from diffinf_core.export.dataset import RefinedDataset, read_export
from diffinf_core.export.folder import export_folder
from diffinf_core.export.formats import FORMATS
from diffinf_core.runs.run import Run
from tests.export.ranked import rank

FACES = Path(__file__).parents[3] / "shared" / "data" / "faces_age"
CLASSES = ("Young", "Middle", "Old")

pytestmark = pytest.mark.skipif(not FACES.is_dir(), reason="the photographs are not here")


def given(folder: Path) -> pd.DataFrame:
    """The table of a data folder, by file."""
    table = pd.read_csv(folder / "labels.csv", dtype=str, keep_default_na=False)
    return table.set_index("file")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The photographs, checked, in a run's data stage with drawn scores; read only."""
    home = tmp_path_factory.mktemp("faces")
    (home / "data").mkdir()
    table = given(FACES)
    for file in table.index:
        shutil.copyfile(FACES / file, home / "data" / file)
    table.to_csv(home / "data" / "labels.csv")
    over = {
        "data": {"source": "folder", "path": str(home / "data"), "image_size": 32,
                 "classes": list(CLASSES)},
        "noise": {"rate": 0},
    }  # fmt: skip
    config = make_config("demo", over)
    checked = check(config).result()
    assert not checked.problems and checked.readable == len(table)
    counts = {name: sum(parts.values()) for name, parts in checked.classes.items()}
    assert counts == table["label"].value_counts()[list(CLASSES)].to_dict()
    run = Run.prepare(home / "run", config).store()
    for _ in DATA.compute(run):
        pass
    rank(run)
    return run


@pytest.mark.parametrize("name", FORMATS)
def test_what_went_in_comes_out_in_every_form(run: Run, tmp_path: Path, name: str) -> None:
    out, source = tmp_path / "out", run.root.parent / "data"
    for _ in export_folder(run, out, format=name, splits="all"):
        pass
    export = read_export(out)
    export.verify()
    table, before = export.table, given(source)
    if name == "patch":
        assert len(table) == 0 and export.manifest["counts"]["original"] > 0
        return
    assert sorted(table["original"]) == sorted(before.index)
    rows = before.loc[table["original"]]
    assert table["label"].tolist() == table["assigned_label"].tolist() == rows["label"].tolist()
    assert [c for c in before if c != "label"] == ["age", "sex", "race"]
    for column in ("age", "sex", "race"):
        assert table[column].tolist() == rows[column].tolist()
    for file, original in zip(table["file"], table["original"], strict=True):
        assert (out / file).read_bytes() == (source / original).read_bytes()
    hashes = {entry["file"]: entry["sha256"] for entry in export.manifest["samples"]}
    assert hashes == {f: sha256((out / f).read_bytes()).hexdigest() for f in table["file"]}
    parts = table["split"].value_counts().to_dict()
    figures = DATA.folder(run).figures
    assert parts == {part: figures[f"n_{part}"] for part in ("train", "val", "test")}
    data = RefinedDataset(out)
    assert len(data) == parts["train"] and tuple(data.classes) == CLASSES


def test_torchvision_counts_what_the_table_counts(run: Run, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    for _ in export_folder(run, tmp_path / "out", format="imagefolder", splits="all"):
        pass
    table = read_export(tmp_path / "out").table
    seen = {}
    for part in ("train", "val", "test"):
        folder = ImageFolder(tmp_path / "out" / part)
        # numbered, as Middle would come before Old and Young
        assert [c.partition("-")[2] for c in folder.classes] == list(CLASSES)
        seen |= {Path(f).relative_to(tmp_path / "out").as_posix(): t for f, t in folder.samples}
    expected = zip(table["file"], table["label"], strict=True)
    assert seen == {file: CLASSES.index(label) for file, label in expected}


def test_load_dataset_sees_every_label_and_column(run: Run, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    for _ in export_folder(run, tmp_path / "out", format="huggingface", splits="all"):
        pass
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    before = given(run.root.parent / "data")
    n = 0
    for part in loaded.values():
        plain = part.remove_columns("image")
        assert plain.features["label"].names == list(CLASSES)
        for row in plain:
            own = before.loc[row["original"]]
            assert CLASSES[row["label"]] == own["label"]
            assert [str(row[c]) for c in ("age", "sex", "race")] == own[
                ["age", "sex", "race"]
            ].tolist()
            n += 1
    assert n == len(before)


def test_pycocotools_sees_every_picture(run: Run, tmp_path: Path) -> None:
    pycocotools = pytest.importorskip("pycocotools.coco")
    for _ in export_folder(run, tmp_path / "out", format="coco", splits="all"):
        pass
    before, n = given(run.root.parent / "data"), 0
    for part in ("train", "val", "test"):
        coco = pycocotools.COCO(tmp_path / "out" / "annotations" / f"{part}.json")
        for annotation in coco.loadAnns(coco.getAnnIds()):
            (image,) = coco.loadImgs([annotation["image_id"]])
            label = CLASSES[annotation["category_id"] - 1]
            assert before.loc[image["original"], "label"] == label
            n += 1
    assert n == len(before)


def test_fiftyone_would_see_every_picture(run: Run, tmp_path: Path) -> None:
    for _ in export_folder(run, tmp_path / "out", format="fiftyone", splits="all"):
        pass
    before, n = given(run.root.parent / "data"), 0
    for part in ("train", "val", "test"):
        read = json.loads((tmp_path / "out" / part / "labels.json").read_text())
        for name, target in read["labels"].items():
            (file,) = (tmp_path / "out" / part / "data").glob(f"{name}.*")
            assert before.loc[file.name, "label"] == read["classes"][target["label"]]
            n += 1
    assert n == len(before)
