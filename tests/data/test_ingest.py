"""The data stage: the truth stays behind its door, pictures stay on disk, a kill costs nothing."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diffinf_core.config import make_config
from diffinf_core.data import pictures as module
from diffinf_core.data.decode import Pixels, decode_with_digest
from diffinf_core.data.ingest import DATA, preflight, source_folder
from diffinf_core.data.part import Part, open_training, open_validation, to_image, to_tensor
from diffinf_core.data.truth import open_truth
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run, StageFolder

SIZE = 32
CLASSES = ("blue", "green", "red")


def name_of(i: int) -> str:
    """Names whose order in the table is not their alphabetical order."""
    return f"{(7 * i) % 120:03d}.png"


def colour_of(i: int) -> tuple[int, int, int]:
    """A colour that says which row a picture belongs to."""
    return (2 * i, 255 - i, (37 * i) % 256)


def write_rows(folder: Path, order: list[int], extra: bool = True) -> None:
    """The table in an order; two pictures per person."""
    head = "label,file,person,split,id" if extra else "label,file"
    lines = [head]
    for i in order:
        more = f",p{i // 2},mine,{i}" if extra else ""
        lines.append(f"{CLASSES[i % 3]},{name_of(i)}{more}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """120 pictures of one colour each."""
    root = tmp_path / "pictures"
    root.mkdir()
    for i in range(120):
        Image.new("RGB", (SIZE, SIZE), colour_of(i)).save(root / name_of(i))
    write_rows(root, list(range(120)))
    return root


def open_run(folder: Path, name: str = "run", **over: Any) -> Run:
    """A run over the folder."""
    data = {"source": "folder", "path": str(folder), "image_size": SIZE, **over.pop("data", {})}
    over = {"split": {"val_share": 0.2, "test_share": 0.3}, **over, "data": data}
    return Run.prepare(folder.parent / name, make_config("demo", over)).store()


def done(run: Run) -> Run:
    """The run after its data stage."""
    for _ in DATA.compute(run):
        pass
    return run


def parts_of(run: Run) -> list[Part]:
    """Training, validation and test."""
    return [open_training(run), open_validation(run), open_truth(run, "benchmark").test()]


# ---------------------------------------------------------------- what the stage leaves


def test_pictures_and_labels_stand_in_the_order_of_the_table(folder: Path) -> None:
    run = done(open_run(folder, noise={"rate": 0}))
    table = pd.read_csv(DATA.folder(run) / "samples.csv", dtype=str)
    assert list(table["file"]) == [name_of(i) for i in range(120)]
    assert list(table["label"]) == [CLASSES[i % 3] for i in range(120)]
    images = np.load(DATA.folder(run) / "images.npy")
    assert images.shape == (120, SIZE, SIZE, 3)
    for i in range(120):
        assert (images[i] == colour_of(i)).all()


def test_every_part_shows_its_own_pictures(folder: Path) -> None:
    run = done(open_run(folder))
    row = {name_of(i): i for i in range(120)}
    seen: list[str] = []
    for part in parts_of(run):
        for at in range(len(part)):
            sample = part.sample(at)
            assert (part.images([at])[0] == colour_of(row[sample.file])).all()
            assert sample.id == part.ids[at] and part.position(sample.id) == at
            assert part.classes[sample.label_index] == sample.label
            seen.append(sample.file)
        backwards = np.arange(len(part))[::-1]
        np.testing.assert_array_equal(part.images(backwards), part.images(range(len(part)))[::-1])
    assert sorted(seen) == sorted(row)


def test_arrays_are_memory_mapped_and_cannot_be_written(folder: Path) -> None:
    part = open_training(done(open_run(folder)))
    assert isinstance(part.pictures.base, np.memmap) and part.pictures.base.mode == "r"
    with pytest.raises(ValueError, match="read-only"):
        part.pictures.base[0] = 0
    copy = part.images([0])
    copy[:] = 0
    assert part.images([0]).any()


def test_tensors_hold_the_pictures_between_minus_one_and_one(folder: Path) -> None:
    part = open_training(done(open_run(folder)))
    x = part.tensors([0, 1])
    assert x.shape == (2, 3, SIZE, SIZE)
    np.testing.assert_array_equal(to_image(x), part.images([0, 1]))
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)
    assert to_tensor(levels).min() == -1 and to_tensor(levels).max() == 1
    np.testing.assert_array_equal(to_image(to_tensor(levels)), levels)


def test_noise_touches_the_training_split_only_and_is_counted_exactly(folder: Path) -> None:
    run = done(open_run(folder, noise={"rate": 0.25}))
    given = {name_of(i): CLASSES[i % 3] for i in range(120)}
    train, *clean = parts_of(run)
    wrong = [train.sample(i).label != given[train.sample(i).file] for i in range(len(train))]
    assert sum(wrong) == int(0.25 * len(train) + 0.5) > 0
    for part in clean:
        assert all(part.sample(i).label == given[part.sample(i).file] for i in range(len(part)))
    truth = open_truth(run, "benchmark").training()
    assert truth is not None
    assert [train.classes[c] for c in truth[0]] == [given[f] for f in train.table["file"]]
    np.testing.assert_array_equal(truth[1], wrong)
    figures = DATA.folder(run).figures
    assert figures["noise_rate"] == pytest.approx(np.mean(wrong))
    assert (figures["n_train"], figures["n"]) == (len(train), 120)


def test_labels_taken_as_they_come_have_no_truth(folder: Path) -> None:
    run = done(open_run(folder, noise={"rate": 0}))
    assert open_truth(run, "benchmark").training() is None
    assert DATA.folder(run).figures["noise_rate"] is None
    assert not (DATA.folder(run).path / "truth").exists()


def test_a_group_is_never_cut_and_more_pictures_move_nobody(folder: Path) -> None:
    config: dict[str, Any] = {"data": {"group_column": "person"}}
    run = done(open_run(folder, **config))
    where = {
        f: k for k, part in enumerate(parts_of(run)) for f in part.table["file"]
    }  # fmt: skip
    assert all(where[name_of(i)] == where[name_of(i + 1)] for i in range(0, 120, 2))
    write_rows(folder, list(range(119, 20, -1)))
    fewer = done(open_run(folder, "fewer", **config))
    for k, part in enumerate(parts_of(fewer)):
        assert all(where[f] == k for f in part.table["file"])


def test_other_columns_are_kept_and_never_hide_ours(folder: Path) -> None:
    part = open_training(done(open_run(folder)))
    assert {"person", "split_given", "id_given"} <= set(part.table)
    assert set(part.table["split_given"]) == {"mine"}
    row = {name_of(i): i for i in range(120)}
    assert list(part.table["id_given"]) == [str(row[f]) for f in part.table["file"]]
    assert list(part.table["id"]) == list(part.ids)


# ---------------------------------------------------------------- the truth


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small demo run after its data stage."""
    config = make_config(
        "demo",
        {
            "data": {"demo_faces": 100, "image_size": SIZE},
            "split": {"val_share": 0.2, "test_share": 0.2},
            "noise": {"rate": 0.3},
        },
    )
    return done(Run.prepare(tmp_path_factory.mktemp("demo") / "run", config).store())


def test_the_truth_is_not_reachable_through_the_training_split(demo: Run) -> None:
    part = open_training(demo)
    truth = open_truth(demo, "benchmark").training()
    assert truth is not None and truth[1].any()
    clean = np.array(part.classes)[truth[0]]
    assert {k.name for k in fields(part)} == {
        "ids", "labels", "classes", "table", "pictures", "rows", "group_column"
    }  # fmt: skip
    assert (part.labels != truth[0]).sum() == truth[1].sum()
    source = pd.read_csv(source_folder(demo) / "labels.csv", dtype=str).set_index("file")
    for column in part.table:
        values = part.table[column].to_numpy()
        assert not (values == clean).all(), f"column {column} tells the clean labels"
        if column not in ("id", "file", "identity"):  # unlike for every picture
            told = pd.Series(clean).groupby(values).nunique().max()
            assert told > 1, f"column {column} tells the clean labels under other names"
    hidden = {"expression", "age", "intensity", "age_value", "parts", "clean", "flipped", "split"}
    assert not hidden & set(part.table) and hidden & set(source)


def test_a_part_opens_no_file_of_the_truth(demo: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = DATA.folder(demo).path / "truth"
    away = truth.with_name("away")
    truth.rename(away)
    try:
        assert len(open_training(demo)) > 0
        assert open_truth(demo, "benchmark").training() is None
    finally:
        away.rename(truth)


def test_the_training_split_shares_no_sample_with_the_others(demo: Run) -> None:
    train, val, test = (set(p.ids) for p in parts_of(demo))
    assert train and val and test
    assert not (train & val or train & test or val & test)
    with pytest.raises(DiffInfError, match=min(test)):
        open_training(demo).position(min(test))


def test_the_demo_keeps_its_own_order_of_classes(demo: Run) -> None:
    assert open_training(demo).classes == ("happy", "neutral", "surprised", "sad")


# ---------------------------------------------------------------- interruption


def content(stage: StageFolder) -> dict[str, bytes]:
    """Every file of a stage."""
    return {
        str(p.relative_to(stage.path)): p.read_bytes() for p in stage.path.rglob("*") if p.is_file()
    }


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the pictures that were decoded; progress is kept every ten."""
    names: list[str] = []

    def counting(path: Path, size: int, pixels: Pixels) -> tuple[np.ndarray, str]:
        names.append(path.name)
        return decode_with_digest(path, size, pixels)

    monkeypatch.setattr(module, "decode_with_digest", counting)
    monkeypatch.setattr(module, "_SAVE_EVERY", 10)
    return names


@pytest.mark.parametrize("stop", [1, 5, 12])
def test_a_stopped_ingest_leaves_no_half_stage_and_goes_on_where_it_was(
    folder: Path, decoded: list[str], stop: int
) -> None:
    run = open_run(folder)
    events = DATA.compute(run)
    pictures = (event for event in events if event.note == "reading pictures")
    for _ in range(stop):
        event = next(pictures)
    events.close()
    assert event.done == 10 * stop
    stage = DATA.folder(run)
    assert not stage.done and not (stage / "samples.csv").exists()
    with pytest.raises(DiffInfError, match="no data yet"):
        open_training(run)
    decoded.clear()
    done(run)
    # several threads decode: in which order they begin is theirs
    assert sorted(decoded) == sorted(name_of(i) for i in range(10 * stop, 120))
    whole = done(open_run(folder, "undisturbed"))
    ours, theirs = content(stage), content(DATA.folder(whole))
    for files in (ours, theirs):  # how long it took is no result
        del files["done.json"]
    assert ours == theirs
    figures = [DATA.folder(r).figures for r in (run, whole)]
    assert [f.pop("seconds") >= 0 for f in figures] == [True, True] and figures[0] == figures[1]


def test_pictures_that_were_cut_on_the_disk_are_read_again(
    folder: Path, decoded: list[str]
) -> None:
    run = open_run(folder)
    events = DATA.compute(run)
    next(e for e in events if e.note == "reading pictures" and e.done >= 60)
    events.close()
    file = DATA.folder(run) / "images.npy"
    with open(file, "r+b") as images:
        images.truncate(file.stat().st_size // 2)
    decoded.clear()
    done(run)
    assert sorted(decoded) == sorted(name_of(i) for i in range(120))
    whole = done(open_run(folder, "undisturbed"))
    assert file.read_bytes() == (DATA.folder(whole) / "images.npy").read_bytes()


def test_a_kill_between_two_marks_repeats_only_the_last_few(
    folder: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(folder)
    counting = module.decode_with_digest

    def dying(path: Path, size: int, pixels: Pixels) -> tuple[np.ndarray, str]:
        if path.name == name_of(37):
            raise KeyboardInterrupt
        return counting(path, size, pixels)

    monkeypatch.setattr(module, "decode_with_digest", dying)
    with pytest.raises(KeyboardInterrupt):
        done(run)
    monkeypatch.setattr(module, "decode_with_digest", counting)
    decoded.clear()
    done(run)
    assert sorted(decoded) == sorted(name_of(i) for i in range(30, 120))
    images = np.load(DATA.folder(run) / "images.npy")
    assert all((images[i] == colour_of(i)).all() for i in range(120))


def test_the_first_broken_picture_is_named_whichever_fails_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)
    later = threading.Event()

    def failing(path: Path, size: int, pixels: Pixels) -> tuple[np.ndarray, str]:
        if path.name == name_of(6):
            later.set()
            raise DiffInfError("not a readable picture")
        if path.name == name_of(5):
            assert later.wait(60)
            raise DiffInfError("not a readable picture")
        return decode_with_digest(path, size, pixels)

    monkeypatch.setattr(module, "decode_with_digest", failing)
    with pytest.raises(DiffInfError, match=name_of(5)):
        done(open_run(folder))


def test_a_disk_without_room_for_the_pictures_is_a_sentence_before_any_is_read(
    folder: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        text = refused(folder, lambda root: None)
    assert "disk is full" in text and "images.npy" in text and decoded == []
    done(open_run(folder))  # with room again


def test_a_folder_that_grew_while_the_run_was_stopped_is_read_anew(
    folder: Path, decoded: list[str]
) -> None:
    write_rows(folder, list(range(110)))
    run = open_run(folder)
    events = DATA.compute(run)
    next(events)
    events.close()
    write_rows(folder, list(range(120)))
    part = open_training(done(run))
    row = {name_of(i): i for i in range(120)}
    for at in range(len(part)):
        assert (part.images([at])[0] == colour_of(row[part.sample(at).file])).all()


def test_a_table_in_another_order_while_the_run_was_stopped_mixes_nothing_up(
    folder: Path, decoded: list[str]
) -> None:
    run = open_run(folder)
    events = DATA.compute(run)
    next(events)
    events.close()
    write_rows(folder, list(range(119, -1, -1)))
    try:
        done(run)
    except DiffInfError:
        return
    row = {name_of(i): i for i in range(120)}
    part = open_training(run)
    for at in range(len(part)):
        assert (part.images([at])[0] == colour_of(row[part.sample(at).file])).all()


# ---------------------------------------------------------------- refusals


def refused(folder: Path, change: Callable[[Path], object], **over: Any) -> str:
    """The sentence of a folder that cannot be ingested."""
    change(folder)
    run = open_run(folder, **over)
    with pytest.raises(DiffInfError) as caught:
        done(run)
    assert not DATA.folder(run).done
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text
    return text


def test_bad_rows_stop_the_run_before_anything_is_read(folder: Path, decoded: list[str]) -> None:
    table = (folder / "labels.csv").read_text().replace(name_of(3), "gone.png", 1)
    text = refused(folder, lambda root: (root / "labels.csv").write_text(table))
    assert "row 5: gone.png: no such file" in text and "diffinf check" in text
    assert decoded == []
    with pytest.raises(DiffInfError, match=r"gone\.png"):
        preflight(open_run(folder).config)


def test_a_broken_picture_is_named(folder: Path) -> None:
    text = refused(folder, lambda root: (root / name_of(50)).write_text("no picture"))
    assert str(folder / name_of(50)) in text and "not a readable picture" in text


def test_one_class_and_a_class_missing_from_a_split_are_named(folder: Path) -> None:
    one = "label,file\n" + "".join(f"red,{name_of(i)}\n" for i in range(30))
    text = refused(folder, lambda root: (root / "labels.csv").write_text(one))
    assert str(folder) in text and "only one class (red)" in text
    rare = "label,file\n" + "".join(
        f"{'blue' if i == 0 else 'red'},{name_of(i)}\n" for i in range(60)
    )
    text = refused(folder, lambda root: (root / "labels.csv").write_text(rare))
    assert "'blue'" in text and "split" in text


@pytest.mark.parametrize("column,table", [("person", False), ("file", True), ("label", True)])
def test_a_group_column_works_or_is_refused(folder: Path, column: str, table: bool) -> None:
    if not table:
        (folder / "labels.csv").unlink()
        for i in range(120):
            (folder / CLASSES[i % 3]).mkdir(exist_ok=True)
            (folder / name_of(i)).rename(folder / CLASSES[i % 3] / name_of(i))
    if table and column == "file":
        assert done(open_run(folder, data={"group_column": column}))
        return
    with pytest.raises(DiffInfError, match=column):
        done(open_run(folder, data={"group_column": column}))


def test_columns_already_named_like_our_renamed_ones_are_kept(folder: Path) -> None:
    lines = ["label,file,id,id_given"]
    lines += [f"{CLASSES[i % 3]},{name_of(i)},{i},x{i}" for i in range(120)]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    part = open_training(done(open_run(folder)))
    assert any((part.table[c].str.startswith("x")).all() for c in part.table)


@pytest.mark.parametrize("name", ["id", "split", "label"])
def test_a_group_column_that_a_run_uses_itself_is_refused(folder: Path, name: str) -> None:
    data = {"source": "folder", "path": str(folder), "label_column": "kind", "group_column": name}
    over = {"data": data}
    with pytest.raises(DiffInfError, match="rename that column"):
        preflight(make_config("demo", over))
