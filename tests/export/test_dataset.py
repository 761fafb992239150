"""Data sets for PyTorch from runs and exports, and exports read back."""

from __future__ import annotations

import errno
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from torch.utils.data import DataLoader

from diffinf_core.correction.edits import edit_folder, edited_pictures
from diffinf_core.export.dataset import RefinedDataset, read_export
from diffinf_core.export.folder import export_folder
from diffinf_core.records import DiffInfError
from diffinf_core.review.opening import open_journal
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import Run
from tests.refined import (
    CLASSES,
    SIDE,
    made_up_run,
    plain,
    propose,
    sample_id,
    version_id,
    write_edit,
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Four samples: an original, two edits of which one is flagged, and one under another label."""
    run = made_up_run(tmp_path / "run", ["happy", "sad", "sad", "happy"])
    versions = {sample_id(3): version_id(1), sample_id(4): version_id(2)}
    for k, (sample, version) in enumerate(versions.items(), 1):
        write_edit(run, sample, version, plain(1, k), flagged=k == 2)
    propose(run, versions)
    journal = open_journal(run)
    journal.decide(sample_id(5), "relabel", "ann", new_label="neutral")
    journal.close()
    return run


@pytest.fixture
def exported(run: Run, tmp_path: Path) -> Path:
    """An export that takes every edit."""
    for _ in export_folder(run, str(tmp_path / "out"), "repaired"):
        pass
    return tmp_path / "out"


def test_every_policy_and_column(run: Run) -> None:
    for policy, sources in {
        "original": ["original", "original", "original", "relabelled"],
        "repaired": ["original", "repaired", "repaired", "relabelled"],
        "unflagged": ["original", "repaired", "original", "relabelled"],
    }.items():
        data = RefinedDataset(str(run.root), policy)
        assert data.sources == data.table["source"].tolist() == sources
        assert data.ids == [sample_id(i) for i in range(2, 6)] and data.classes == CLASSES
        assert data.targets.tolist() == [0, 2, 2, 1]
        assert list(data.table) == ["id", "label", "assigned_label", "source"]
    with pytest.raises(DiffInfError, match="undecided must be one of"):
        RefinedDataset(run.root, "both")


def test_a_data_set_sent_to_a_process_takes_no_pictures_along(run: Run, exported: Path) -> None:
    data = RefinedDataset(run.root, "repaired")
    sent = pickle.dumps(data)
    assert plain(0, 2).tobytes() not in sent and plain(1, 1).tobytes() not in sent
    there = pickle.loads(sent)
    assert all((a == b).all() and k == m for (a, k), (b, m) in zip(data, there, strict=True))
    loader = DataLoader(RefinedDataset(exported), batch_size=2)
    pictures, labels = next(iter(loader))
    assert pictures.shape == (2, 3, SIDE, SIDE) and labels.tolist() == [0, 2]


def test_edits_whose_map_was_removed_travel_themselves(run: Run) -> None:
    data = RefinedDataset(run.root, "repaired")
    for file in (run.root / "edited").iterdir():
        file.unlink()
    there = pickle.loads(pickle.dumps(data))
    assert all((a == b).all() for (a, _), (b, _) in zip(data, there, strict=True))


def test_a_run_that_cannot_be_written_is_read_all_the_same(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [picture for picture, _ in RefinedDataset(run.root, "repaired")]
    shutil.rmtree(run.root / "edited")

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("diffinf_core.correction.edits.new_array", refuse)
    found = [picture for picture, _ in RefinedDataset(run.root, "repaired")]
    assert all((a == b).all() for a, b in zip(found, expected, strict=True))
    assert not (run.root / "edited").exists()


def test_decoded_edits_follow_their_versions_and_the_last_used_stay(run: Run) -> None:
    folders = [edit_folder(run, sample_id(3), version_id(k)) for k in range(1, 8)]
    for k in range(2, 8):
        write_edit(run, sample_id(3), version_id(k), plain(2, k))
    first = edited_pictures(run, folders[:1], SIDE)
    (kept,) = (run.root / "edited").iterdir()
    for k in range(1, 7):
        assert (edited_pictures(run, [folders[k]], SIDE)[0] == plain(2, k + 1)).all()
        assert (edited_pictures(run, folders[:1], SIDE) == first).all()
        assert kept.exists()
    assert len(list((run.root / "edited").iterdir())) == 4
    kept.write_bytes(kept.read_bytes()[:-8])
    assert (edited_pictures(run, folders[:1], SIDE)[0] == plain(1, 1)).all()


def test_an_edit_of_another_size_is_one_sentence(run: Run) -> None:
    write_edit(run, sample_id(2), version_id(9), plain(0, 0)[:16, :16])
    with pytest.raises(
        DiffInfError, match=r"16 x 16 pixels and the run's pictures 32 x 32; remove"
    ):
        edited_pictures(run, [edit_folder(run, sample_id(2), version_id(9))], SIDE)


def test_an_export_read_back_gives_the_pictures_of_the_run(exported: Path, run: Run) -> None:
    of_run, of_export = RefinedDataset(run.root, "repaired"), RefinedDataset(str(exported))
    assert of_run.ids == of_export.ids and of_run.classes == of_export.classes
    assert (of_run.targets == of_export.targets).all() and len(of_run) == len(of_export)
    for i in (0, len(of_run) // 2, -1):
        (a, label_a), (b, label_b) = of_run[i], of_export[i]
        assert a.shape == (3, SIDE, SIDE) and label_a == label_b
        assert float((a - b).abs().max()) < 1e-6
    sized = RefinedDataset(exported, transform=lambda image: image.size)
    assert isinstance(sized.transform, Callable) and sized[0] == (
        (SIDE, SIDE),
        int(of_run.targets[0]),
    )  # type: ignore[arg-type]
    with pytest.raises(IndexError):
        of_run[len(of_run)]


def _overwrite(file: Path) -> None:
    with Image.open(file) as image:
        Image.fromarray(255 - np.asarray(image.convert("RGB"))).save(file)


@pytest.mark.parametrize(
    "harm,message",
    [
        (lambda root, first: _overwrite(root / first), r"images/\w+\.png was changed"),
        (lambda root, first: (root / first).unlink(), r"images/\w+\.png is missing"),
        (lambda root, first: (root / "images" / "x.png").write_bytes(b""), "x.png is not part of"),
        (lambda root, first: _relabel(root), "in labels.csv and"),
        (lambda root, first: _shrink(root), "should be there"),
    ],
    ids=["overwritten", "missing", "extra", "relabelled", "size"],
)
def test_what_was_changed_after_an_export_is_named(
    exported: Path, harm: Callable[[Path, str], None], message: str
) -> None:
    read_export(exported).verify()
    harm(exported, read_export(exported).table["file"][0])
    with pytest.raises(DiffInfError, match=message):
        read_export(exported).verify()


def _relabel(root: Path) -> None:
    export = read_export(root)
    table = export.table.copy()
    table.loc[0, "label"] = next(c for c in export.classes if c != table["label"][0])
    table.to_csv(root / "labels.csv", index=False)


def _shrink(root: Path) -> None:
    manifest = read_json(root / "manifest.json")
    manifest["n_original"] += 1
    (root / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "name,text,message",
    [
        ("manifest.json", "{", "cannot be read"),
        ("manifest.json", "{}", "manifest.json lacks 'classes'"),
        ("manifest.json", '{"classes": [], "samples": [{}]}', "manifest.json lacks 'file'"),
        ("manifest.json", '{"classes": [], "samples": [1]}', "damaged export"),
        ("manifest.json", '{"classes": [], "samples": []}', "manifest.json lacks 'n'"),
        ("manifest.json", "[]", "damaged export"),
        ("labels.csv", "file,label\n", "no column 'assigned_label'"),
        ("labels.csv", "file,label,assigned_label,source,id\n", "rows are missing"),
    ],
)
def test_a_damaged_export_is_one_sentence(
    exported: Path, name: str, text: str, message: str
) -> None:
    (exported / name).write_text(text)
    with pytest.raises(DiffInfError, match=message):
        RefinedDataset(exported)


def test_a_picture_outside_the_export_is_refused(exported: Path) -> None:
    export = read_export(exported)
    table = export.table.copy()
    table.loc[0, "file"] = "../../etc/passwd"
    table.to_csv(exported / "labels.csv", index=False)
    with pytest.raises(DiffInfError, match="names a picture outside"):
        read_export(exported)


def test_a_folder_that_is_neither_a_run_nor_an_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiffInfError, match="neither a run nor an export"):
        RefinedDataset(tmp_path)
    with pytest.raises(DiffInfError, match="is not an export"):
        read_export(tmp_path)


def _turned(file: Path) -> None:
    """A picture that is stored on its side, as a telephone does."""
    exif = Image.Exif()
    exif[0x0112] = 6
    left = np.zeros((SIDE, 2 * SIDE, 3), np.uint8)
    left[:, :SIDE] = 255
    Image.fromarray(left).save(file, "PNG", exif=exif)


def _deep(file: Path) -> None:
    Image.fromarray(np.full((SIDE, SIDE), 0x8000, np.uint16)).save(file, "PNG")


def _clear(file: Path) -> None:
    Image.fromarray(np.zeros((SIDE, SIDE, 4), np.uint8)).save(file, "PNG")


@pytest.mark.parametrize("write", [_turned, _deep, _clear])
def test_a_transform_gets_what_everything_else_sees(
    exported: Path, write: Callable[[Path], None]
) -> None:
    write(read_export(exported).files[0])
    plain_data = RefinedDataset(exported)
    given = RefinedDataset(exported, transform=lambda image: image)[0][0]
    assert given.mode == "RGB"
    small = np.asarray(ImageOps.fit(given, (SIDE, SIDE), Image.Resampling.LANCZOS))
    seen = ((plain_data[0][0].permute(1, 2, 0).numpy() + 1) * 127.5).round()
    assert np.abs(small - seen).max() <= 1


def test_a_broken_picture_of_an_export_is_one_sentence(exported: Path) -> None:
    file = read_export(exported).files[0]
    file.write_bytes(b"no picture")
    with pytest.raises(DiffInfError, match=f"{file.name}: not a readable picture"):
        RefinedDataset(exported, transform=lambda image: image)[0]


def test_a_record_of_another_version_is_one_sentence(run: Run, tmp_path: Path) -> None:
    file = edit_folder(run, sample_id(3), version_id(1)) / "edit.json"
    file.write_text(json.dumps({**read_json(file), "invented_later": 1}))
    with pytest.raises(DiffInfError, match=r"edit\.json is damaged or of a newer version"):
        list(export_folder(run, tmp_path / "again", "repaired"))


def test_a_run_that_cannot_be_written_uses_the_decoded_edits_that_are_there(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = edit_folder(run, sample_id(3), version_id(1))
    expected = edited_pictures(run, [folder], SIDE)[0]

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("os.utime", refuse)
    (folder / "edit.png").unlink()
    assert (edited_pictures(run, [folder], SIDE)[0] == expected).all()
