"""Archives and Hugging Face data sets: unpacked safely into a folder that is read like any other."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from diffinf_core.config import DataConfig, make_config
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import open_training
from diffinf_core.data.sources import list_folder, named_source, packed_source
from diffinf_core.data.sources.archive import Archive
from diffinf_core.data.sources.datasets import Datasets
from diffinf_core.data.sources.unpacked import MARK, reading_unpacked
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run
from tests.checked import problems_of


def png(shade: int) -> bytes:
    """A small picture of one grey."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(buffer, "PNG")
    return buffer.getvalue()


CONTENT = {
    f"faces/{c}/{i}.png": png(2 * i + k) for k, c in enumerate(("happy", "sad")) for i in range(40)
}
FORMS = {"zip": None, "tar": "w", "tar.gz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}


def pack(path: Path, content: dict[str, bytes]) -> Path:
    """An archive of the form that its name says."""
    form = path.name.partition(".")[2]
    if form == "zip":
        with zipfile.ZipFile(path, "w") as file:
            for name, raw in content.items():
                file.writestr(name, raw)
        return path
    with tarfile.open(path, FORMS[form]) as packed:  # type: ignore[call-overload]
        for name, raw in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            packed.addfile(info, io.BytesIO(raw))
    return path


def unpacked(path: Path, target: Path) -> DataConfig:
    """The configuration of an archive's content."""
    config = DataConfig(**named_source(str(path)))
    source = packed_source(config)
    assert source is not None
    for _ in source.unpack(target):
        pass
    return reading_unpacked(config, target)


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_of_any_form_is_read_by_its_content(tmp_path: Path, form: str) -> None:
    path = pack(tmp_path / f"a.{form}", CONTENT)
    path = path.rename(tmp_path / "no_suffix")
    listing = list_folder(unpacked(path, tmp_path / "out"))
    assert listing.classes == ["happy", "sad"] and len(listing.rows) == 80
    for name, raw in CONTENT.items():
        assert (tmp_path / "out" / name).read_bytes() == raw


@pytest.mark.parametrize(
    "name", ["../evil.png", "/evil.png", "a/../../evil.png", "..\\evil.png", "C:\\evil.png"]
)
@pytest.mark.parametrize("form", ["zip", "tar"])
def test_a_member_that_leads_out_is_refused_and_nothing_is_written(
    tmp_path: Path, name: str, form: str
) -> None:
    path = pack(tmp_path / f"a.{form}", {"good/1.png": png(1), name: png(2)})
    with pytest.raises(DiffInfError, match="leads out of the folder"):
        unpacked(path, tmp_path / "deep" / "out")
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {path.name}


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        info = tarfile.TarInfo("happy/link.png")
        info.type, info.linkname = kind, "/etc/passwd"
        file.addfile(info)
    with pytest.raises(DiffInfError, match=r"happy/link.png"):
        unpacked(tmp_path / "a.tar", tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("happy/link.png")
        info.external_attr = 0o120777 << 16
        file.writestr(info, "/etc/passwd")
    with pytest.raises(DiffInfError, match="holds a link"):
        unpacked(tmp_path / "a.zip", tmp_path / "out")


def test_names_that_are_one_on_some_disks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DiffInfError, match="twice"):
        unpacked(
            pack(tmp_path / "a.tar", {"happy/A.png": png(1), "happy/a.png": png(2)}),
            tmp_path / "out",
        )


def test_an_archive_larger_than_the_disk_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path / "a.zip", {"happy/a.png": bytes(100_000), "sad/b.png": bytes(100_000)})
    monkeypatch.setattr("diffinf_core.data.sources.archive._MOST_OF_DISK", 1e-30)
    with pytest.raises(DiffInfError, match="does not fit"):
        unpacked(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_a_cut_archive_is_a_sentence(tmp_path: Path, form: str) -> None:
    path = pack(tmp_path / f"a.{form}", CONTENT)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    config = DataConfig(source="folder", path=path, kind="archive")
    with pytest.raises(DiffInfError, match=r"a\.(zip|tar)"):
        for _ in Archive(config).unpack(tmp_path / "out"):
            pass
    assert not (tmp_path / "out").exists()


def test_the_check_reads_what_is_packed_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(tmp_path / "a.zip", CONTENT | {"faces/happy/broken.png": b"x"})
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    listing, problems = problems_of(DataConfig(**named_source(str(path))))
    assert listing.classes == ["happy", "sad"]
    assert [p.file for p in problems] == ["faces/happy/broken.png"]
    (home,) = (tmp_path / "scratch").iterdir()  # the user's own
    assert not list(home.iterdir())


def test_a_run_on_an_archive_opens_without_it(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.zip", CONTENT)
    config = make_config(
        "demo", {"data": named_source(str(path)) | {"image_size": 32}, "noise": {"rate": 0}}
    )
    run = Run.prepare(tmp_path / "run", config).store()
    for _ in DATA.compute(run):
        pass
    path.unlink()
    assert open_training(run).classes == ("happy", "sad")
    assert DATA.folder(run).figures["taken_for"] == "one folder per class below faces/"


# ---------------------------------------------------------------- Hugging Face datasets


def write_arrow(root: Path, parts: tuple[str, ...], parquet: bool = False) -> Path:
    """What ``save_to_disk`` writes, or the Hub's Parquet files; three rows a part."""
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    features = {
        "image": {"_type": "Image"},
        "emotion": {"names": ["sad", "happy"], "_type": "ClassLabel"},
        "age": {"dtype": "int64", "_type": "Value"},
    }
    about = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    root.mkdir()
    for k, part in enumerate(parts):
        rows = {
            "image": [{"bytes": png(10 * k + i), "path": None} for i in range(3)],
            "emotion": [0, 1, 1],
            "age": [30 + i for i in range(3)],
        }
        table = pa.table(rows).replace_schema_metadata(about)
        if parquet:
            pq.write_table(table, root / f"{part}-00000-of-00001.parquet")
            continue
        home = root / part if len(parts) > 1 else root
        home.mkdir(exist_ok=True)
        with (
            pa.OSFile(str(home / "data-00000-of-00001.arrow"), "wb") as file,
            pa.ipc.new_stream(file, table.schema) as out,
        ):
            out.write_table(table)
        (home / "dataset_info.json").write_text(json.dumps({"features": features}))
    if len(parts) > 1 and not parquet:
        (root / "dataset_dict.json").write_text(json.dumps({"splits": list(parts)}))
    return root


@pytest.mark.parametrize("parquet", [False, True])
def test_a_data_set_on_disk_keeps_pictures_labels_columns_and_splits(
    tmp_path: Path, parquet: bool
) -> None:
    root = write_arrow(tmp_path / "hf", ("train", "test"), parquet)
    assert named_source(str(root))["kind"] == "datasets"
    config = unpacked(root, tmp_path / "out")
    listing = list_folder(config)
    assert not listing.problems and listing.classes == ["sad", "happy"]
    assert [(r.label, r.split, r.extra["age"]) for r in listing.rows] == [
        (label, part, str(30 + i))
        for part in ("train", "test")
        for i, label in enumerate(("sad", "happy", "happy"))
    ]  # fmt: skip
    for at, row in enumerate(listing.rows):
        assert (tmp_path / "out" / row.file).read_bytes() == png(10 * (at // 3) + at % 3)
    assert (tmp_path / "out" / MARK).is_file()


def test_a_single_split_is_split_here(tmp_path: Path) -> None:
    listing = list_folder(unpacked(write_arrow(tmp_path / "hf", ("",)), tmp_path / "out"))
    assert {row.split for row in listing.rows} == {""} and len(listing.rows) == 3


def test_what_the_library_itself_saves_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    pictures = [Image.new("RGB", (8, 8), (i, 0, 0)) for i in range(4)]
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["happy", "sad"])}
    )
    made = datasets.Dataset.from_dict({"image": pictures, "label": [0, 1, 0, 1]}, features=features)
    datasets.DatasetDict({"train": made, "test": made}).save_to_disk(tmp_path / "hf")
    listing = list_folder(unpacked(tmp_path / "hf", tmp_path / "out"))
    assert [row.label for row in listing.rows] == ["happy", "sad"] * 4


def test_a_data_set_without_a_label_is_a_sentence(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "hf").mkdir()
    table = pa.table({"image": [{"bytes": png(1), "path": None}], "mood": ["happy"]})
    pq.write_table(table, tmp_path / "hf" / "train-00000-of-00001.parquet")
    config = DataConfig(source="folder", path=tmp_path / "hf", kind="datasets")
    with pytest.raises(DiffInfError, match="no column 'label'; its columns are image, mood"):
        next(Datasets(config).unpack(tmp_path / "out"))
    named = Datasets(config.model_copy(update={"label_column": "mood"}))
    for _ in named.unpack(tmp_path / "out"):
        pass
    assert "happy" in (tmp_path / "out" / "labels.csv").read_text()
