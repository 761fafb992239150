"""The check: one pass that finds what a run would find, says what a run would do, and writes nothing."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffinf_core.config import DataConfig, preset_for
from diffinf_core.data.check import Checked, Finding
from diffinf_core.data.check import measure as module
from diffinf_core.data.ingest import DATA
from diffinf_core.engine import open_run
from diffinf_core.records import DiffInfError
from diffinf_core.runs.tables import read_table
from tests.checked import checked
from tests.data.test_copies import scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Sixty scenes in two classes, of people who have three each."""
    root = tmp_path / "faces"
    root.mkdir()
    rows = ["file,label,person"]
    for i in range(60):
        scene(i).save(root / f"{i:02d}.png")
        rows.append(f"{i:02d}.png,{('happy', 'sad')[i % 2]},p{i // 6}-{i % 2}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root


def add(root: Path, name: str, label: str, image: Image.Image | bytes | None) -> None:
    """One more row, and its file unless that is missing."""
    if isinstance(image, bytes):
        (root / name).write_bytes(image)
    elif image is not None:
        image.save(root / name)
    with open(root / "labels.csv", "a") as table:
        table.write(f"{name},{label},q{name}\n")


def check(root: Path, **over: Any) -> Checked:
    data = {"image_size": 32} | over.pop("data", {})
    return checked(DataConfig(source="folder", path=root, **data), **over)


def named(result: Checked, title: str) -> Finding:
    (one,) = [finding for finding in result.findings if title in finding.title]
    return one


def test_a_clean_folder_has_nothing_to_look_at(folder: Path) -> None:
    result = check(folder)
    assert not result.problems and result.readable == 60
    assert {finding.level for finding in result.findings} <= {"note"}
    assert {name: sum(parts.values()) for name, parts in result.classes.items()} == {
        "happy": 30,
        "sad": 30,
    }
    assert result.kinds == {"PNG RGB": 60} and result.sizes == {(64, 64): 60}
    assert [len(pictures) for pictures in result.examples.values()] == [6, 6]
    assert all(p.jpeg[:2] == b"\xff\xd8" for pictures in result.examples.values() for p in pictures)


def test_a_check_says_how_a_run_splits(folder: Path, tmp_path: Path) -> None:
    """The same configuration leads to the same split, copies and broken pictures included."""
    add(folder, "again.png", "sad", scene(1))
    add(folder, "broken.png", "sad", b"\x89PNG nothing")
    over = {"data": {"image_size": 32, "skip_bad": True}}
    expected = check(folder, data={"skip_bad": True}).classes
    config = preset_for("demo", {"data": {"source": "folder", "path": str(folder), **over["data"]}})
    run = open_run(tmp_path / "run", config)
    run.compute("data").result()
    table = read_table(DATA.folder(run.folder).path / "samples.csv")
    for name, parts in expected.items():
        counts = table[table["label"] == name]["split"].value_counts()
        assert {part: int(counts.get(part, 0)) for part in parts} == parts


def test_bad_rows_and_pictures_are_problems_until_they_are_skipped(folder: Path) -> None:
    add(folder, "gone.png", "sad", None)
    add(folder, "cut.png", "sad", (folder / "00.png").read_bytes()[:300])
    result = check(folder)
    assert [p.file for p in result.problems] == ["gone.png", "cut.png"]
    assert named(result, "Bad rows").level == named(result, "Unreadable").level == "refused"
    skipped = check(folder, data={"skip_bad": True})
    assert not skipped.problems and skipped.readable == 60
    assert named(skipped, "Unreadable").lines[0].startswith("cut.png: ")
    assert "leaves them out" in named(skipped, "Unreadable").action


def test_copies_are_counted_shown_and_said_where_their_labels_differ(folder: Path) -> None:
    shutil.copyfile(folder / "00.png", folder / "same.png")
    add(folder, "same.png", "happy", None)
    scene(1).save(folder / "near.jpg", quality=90)
    add(folder, "near.jpg", "happy", None)  # 01 is sad
    result = check(folder)
    exact, near = named(result, "Equal files"), named(result, "look alike")
    assert exact.count == 2 and exact.lines == ["00.png, same.png"]
    assert near.count == 1 and near.lines[0].startswith("01.png, near.jpg: correlation ")
    differ = named(result, "different labels")
    assert differ.lines == ["01.png is sad, near.jpg is happy"] and differ.level == "warning"
    assert [e.caption for e in differ.examples[0]] == ["sad: 01.png", "happy: near.jpg"]
    assert all(e.jpeg for finding in (exact, near, differ) for row in finding.examples for e in row)
    assert not [f for f in result.findings if "different splits" in f.title]
    apart = check(folder, split={"copies": "anywhere", "seed": 3})
    assert "--set split.copies=together" in named(apart, "Equal files").action


def test_groups_small_classes_and_odd_pictures(folder: Path) -> None:
    add(folder, "one.png", "angry", scene(200))
    add(folder, "tiny.png", "sad", scene(201, 20))
    add(folder, "long.png", "sad", scene(202).resize((128, 64)))
    add(folder, "grey.png", "sad", Image.new("RGB", (64, 64), "grey"))
    add(folder, "deep.png", "sad", Image.fromarray(np.full((64, 64), 900, np.uint16)))
    result = check(folder, data={"group_column": "person"})
    assert result.groups == 25 and result.largest_group == 3
    assert "'angry' (1 group)" in str(result.problems[-1])
    assert named(result, "smaller than 32").lines == ["tiny.png"]
    assert named(result, "Long pictures").lines == ["long.png"]
    assert named(result, "one colour").lines == ["grey.png", "deep.png"]
    assert "are read as 10 bits" in named(result, "16 bits").action
    dropped = check(folder, split={"small_classes": "drop"})
    assert not dropped.problems and dropped.classes["angry"][""] == 1
    assert named(dropped, "too small").lines == ["angry: 1"]


def test_what_no_decoder_reads_is_counted_by_kind(folder: Path) -> None:
    for i in range(3):
        (folder / f"{i}.psd").write_bytes(b"8BPS" + bytes(40))
    scene(300).save(folder / "unlabelled.png")
    result = check(folder)
    lost = named(result, "kinds that are not read")
    assert lost.count == 3 and lost.lines == ["3 .psd"] and lost.level == "warning"
    assert named(result, "without a label").count == 1


def test_a_group_in_two_given_splits_is_a_problem(folder: Path) -> None:
    rows = (folder / "labels.csv").read_text().splitlines()
    parts = ["split", *(("train", "test")[i % 4 == 0] for i in range(60))]
    table = "\n".join(f"{row},{part}" for row, part in zip(rows, parts, strict=True)) + "\n"
    (folder / "labels.csv").write_text(table)
    result = check(folder, data={"group_column": "person", "split_column": "split"})
    assert "stands in the splits" in str(result.problems[0])


def test_nothing_is_written_and_a_check_of_drawings_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.rglob("*"))
    check(folder)
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(DiffInfError, match="nothing to check"):
        checked(DataConfig())


def test_memory_is_flat_in_the_number_of_pictures(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept of a picture is less than a thumbnail of it, whatever it holds."""
    config = DataConfig(source="folder", path=folder, image_size=32)
    files = [f"{i % 60:02d}.png" for i in range(6000)]
    picture = module._read(folder / "00.png", config, module.Pixels())
    monkeypatch.setattr(module, "_read", lambda *_: picture)
    monkeypatch.setattr(module, "bits_used", lambda *_: iter(()))

    def peak(n: int) -> int:
        tracemalloc.start()
        for _ in module.measure(folder, files[:n], config):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(60)
    assert peak(6000) - peak(600) < 5400 * 100
