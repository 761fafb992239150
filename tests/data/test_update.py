"""A source that changed after it was read: seen, said, taken over or refused, and never mixed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diffinf_core.config import RunConfig, make_config
from diffinf_core.data import pictures as module
from diffinf_core.data.decode import Pixels, decode, decode_with_digest
from diffinf_core.data.ingest import DATA, source_folder
from diffinf_core.data.part import open_part, run_pictures
from diffinf_core.data.update import source_changes, take_over
from diffinf_core.engine import OpenRun, open_run
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run
from diffinf_core.runs.tables import read_table

N, SIZE = 24, 32


def colour(i: int, red: int = 0) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), (red, 255 - i, i), np.uint8)


def write(folder: Path, labels: dict[str, str]) -> None:
    lines = "".join(f"{file},{label}\n" for file, label in labels.items())
    (folder / "labels.csv").write_text("file,label\n" + lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    root.mkdir()
    for i in range(N):
        Image.fromarray(colour(i)).save(root / f"{i:02d}.png")
    write(root, {f"{i:02d}.png": "ab"[i % 2] for i in range(N)})
    return root


def config_of(folder: Path, **data: object) -> RunConfig:
    return make_config(
        "demo",
        {
            "data": {"source": "folder", "path": str(folder), "image_size": SIZE, **data},
            "split": {"val_share": 0.2, "test_share": 0.2},
            "noise": {"rate": 0},
        },
    )


@pytest.fixture
def opened(folder: Path, tmp_path: Path) -> OpenRun:
    out = open_run(tmp_path / "run", config_of(folder))
    out.compute("data").result()
    return out


def consistent(run: Run, labels: dict[str, str]) -> None:
    """The run's table says what the source says, and each row's pixels are those of its file now."""
    table, pictures = read_table(DATA.folder(run) / "samples.csv"), run_pictures(run)
    assert dict(zip(table["file"], table["label"], strict=True)) == labels
    for row, file in enumerate(table["file"]):
        np.testing.assert_array_equal(
            pictures.read([row])[0], decode(source_folder(run) / file, SIZE)
        )


def relabel(root: Path, labels: dict[str, str]) -> dict[str, str]:
    return labels | {"00.png": "b", "03.png": "a"}


def replace(root: Path, labels: dict[str, str]) -> dict[str, str]:
    Image.fromarray(colour(5, 200)).save(root / "05.png")
    return labels


def add(root: Path, labels: dict[str, str]) -> dict[str, str]:
    Image.fromarray(colour(90, 9)).save(root / "new.png")
    return {"new.png": "a"} | labels


def remove(root: Path, labels: dict[str, str]) -> dict[str, str]:
    (root / "07.png").unlink()
    return {file: label for file, label in labels.items() if file != "07.png"}


def turn(root: Path, labels: dict[str, str]) -> dict[str, str]:
    return relabel(root, replace(root, add(root, remove(root, labels))))


Change = Callable[[Path, dict[str, str]], dict[str, str]]
KINDS: dict[str, tuple[Change, str]] = {
    "labels": (relabel, "2 labels changed (00.png: a -> b, 03.png: b -> a)"),
    "pictures": (replace, "1 picture replaced (05.png)"),
    "new rows": (add, "1 row added (new.png)"),
    "rows gone": (remove, "1 row gone (07.png)"),
    "all at once": (turn, "2 labels changed"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_is_said_refused_and_taken_over(
    opened: OpenRun, folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, words = KINDS[kind]
    before, run = {f"{i:02d}.png": "ab"[i % 2] for i in range(N)}, opened.folder
    old = DATA.folder(run).path
    kept = {p.name: p.read_bytes() for p in old.iterdir() if p.is_file()}
    after = change(folder, dict(before))
    write(folder, after)
    assert words in opened.source.changes()
    with pytest.raises(
        DiffInfError, match=r"has changed since .*Nothing was computed; 'diffinf run"
    ):
        opened.compute("data").result()
    with pytest.raises(DiffInfError, match="The export was not written"):
        opened.export(folder.parent / "out").result()
    read: list[str] = []

    def counting(path: Path, size: int, pixels: Pixels) -> tuple[np.ndarray, str]:
        read.append(path.name)
        return decode_with_digest(path, size, pixels)

    monkeypatch.setattr(module, "decode_with_digest", counting)
    opened.source.update().result()
    consistent(run, after)
    assert opened.source.changes() == "" and len(opened.training) > 0
    new = {"pictures": ["05.png"], "new rows": ["new.png"], "all at once": ["05.png", "new.png"]}
    assert sorted(read) == new.get(kind, [])
    # what was computed before stays as it was
    assert {p.name: p.read_bytes() for p in old.iterdir() if p.is_file()} == kept


def test_restored_files_lead_back_to_what_was_computed(opened: OpenRun, folder: Path) -> None:
    first, copy = DATA.folder(opened.folder).path, folder.parent / "copy"
    shutil.copytree(folder, copy)
    labels = relabel(folder, {f"{i:02d}.png": "ab"[i % 2] for i in range(N)})
    write(folder, labels)
    opened.source.update().result()
    second = DATA.folder(opened.folder).path
    shutil.copyfile(copy / "labels.csv", folder / "labels.csv")
    events = list(opened.source.update())
    assert [e.note for e in events] == ["the data set is as it was before"]
    assert DATA.folder(opened.folder).path == first != second
    write(folder, labels)
    opened.source.update().result()
    assert DATA.folder(opened.folder).path == second


def test_files_that_were_only_touched_or_copied_are_the_same(opened: OpenRun, folder: Path) -> None:
    for file in folder.iterdir():
        os.utime(file, ns=(1, 1))
    assert opened.source.changes() == ""


def test_another_column_counts_as_a_change(opened: OpenRun, folder: Path) -> None:
    text = (folder / "labels.csv").read_text().replace("\n", ",1\n").replace("label,1", "label,age")
    (folder / "labels.csv").write_text(text)
    assert f"{N} rows with other cells" in opened.source.changes()


def test_a_changed_table_that_cannot_be_used_leaves_the_run_as_it_was(
    opened: OpenRun, folder: Path
) -> None:
    run, good = opened.folder, (folder / "labels.csv").read_text()
    (folder / "labels.csv").write_text(good.replace("04.png", "gone.png"))
    with pytest.raises(DiffInfError, match="bad rows"):
        opened.source.update().result()
    assert DATA.folder(run).done
    (folder / "labels.csv").write_text(good)
    assert opened.source.changes() == ""


def test_a_stopped_update_goes_back_and_can_be_begun_again(opened: OpenRun, folder: Path) -> None:
    labels = turn(folder, {f"{i:02d}.png": "ab"[i % 2] for i in range(N)})
    write(folder, labels)
    first = DATA.folder(opened.folder).path
    events = opened.source.update()
    next(events)
    events.close()
    assert DATA.folder(opened.folder).path == first and opened.source.changes()
    opened.source.update().result()
    consistent(opened.folder, labels)


def test_a_file_that_changes_while_it_is_read_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changing(path: Path, size: int, pixels: Pixels) -> tuple[np.ndarray, str]:
        if path.name == "11.png":
            Image.fromarray(colour(1, 99)).save(folder / "02.png")
        return decode_with_digest(path, size, pixels)

    monkeypatch.setattr(module, "decode_with_digest", changing)
    with pytest.raises(DiffInfError, match=r"02\.png changed while the data set was read"):
        open_run(tmp_path / "run", config_of(folder)).compute("data").result()


def test_a_table_that_changes_while_it_is_read_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changing(path: Path, size: int, pixels: Pixels) -> tuple[np.ndarray, str]:
        if path.name == "11.png":
            write(folder, {"00.png": "a"})
        return decode_with_digest(path, size, pixels)

    monkeypatch.setattr(module, "decode_with_digest", changing)
    with pytest.raises(DiffInfError, match=r"labels\.csv changed while the data set was read"):
        open_run(tmp_path / "run", config_of(folder)).compute("data").result()


def test_a_decision_on_what_changed_is_to_be_made_again(opened: OpenRun, folder: Path) -> None:
    train = open_part(opened.folder, "train")
    files = train.table["file"].tolist()
    ids = dict(zip(files, train.ids.tolist(), strict=True))
    journal = opened._tables.journal
    for file in files[:2]:
        journal.decide(ids[file], "keep", "ann")
    labels = {f"{i:02d}.png": "ab"[i % 2] for i in range(N)}
    labels[files[0]] = "b" if labels[files[0]] == "a" else "a"
    write(folder, labels)
    opened.source.update().result()
    now = opened._tables.journal.decisions()
    assert now[ids[files[1]]].action == "keep"
    kept = open_part(opened.folder, "train").table["file"].tolist()
    if files[0] in kept:
        assert now[ids[files[0]]].action == "second_look"
        assert "label changed" in now[ids[files[0]]].comment


# ---------------------------------------------------------------- bad files, first refusals


def test_bad_pictures_and_rows_are_skipped_counted_and_named(folder: Path, tmp_path: Path) -> None:
    (folder / "03.png").write_text("<html>")
    (folder / "04.png").write_bytes(b"")
    table = folder / "labels.csv"
    table.write_text(table.read_text() + "gone.png,a\n05.png,a,b\n")
    root = tmp_path / "run"
    with pytest.raises(DiffInfError, match=r"gone\.png.*--skip-bad"):
        open_run(root, config_of(folder))
    out = open_run(root, config_of(folder, skip_bad=True))
    out.compute("data").result()
    stage = DATA.folder(out.folder)
    assert stage.figures["skipped"] == {"rows": 2, "pictures": 2}
    skipped = pd.read_csv(stage / "skipped.csv", dtype=str, keep_default_na=False)
    assert skipped["file"].tolist() == ["gone.png", "labels.csv", "03.png", "04.png"]
    assert skipped["row"].tolist() == [str(N + 2), str(N + 3), "", ""]
    labels = {f"{i:02d}.png": "ab"[i % 2] for i in range(N) if i not in (3, 4)}
    consistent(out.folder, labels)
    assert out.report()["dataset"]["skipped"] == {"rows": 2, "pictures": 2}
    assert out.source.changes() == ""
    Image.fromarray(colour(3)).save(folder / "03.png")  # repaired
    assert "1 picture replaced (03.png)" in out.source.changes()


def test_settings_given_after_a_refused_first_run_are_taken(folder: Path, tmp_path: Path) -> None:
    (folder / "03.png").write_text("<html>")
    root = tmp_path / "run"
    with pytest.raises(DiffInfError, match=r"03\.png.*--skip-bad"):
        open_run(root, config_of(folder)).compute("data").result()
    again = open_run(root, config_of(folder, skip_bad=True))
    again.compute("data").result()
    assert open_run(root).config.data.skip_bad
    with pytest.raises(DiffInfError, match="another configuration"):
        open_run(root, config_of(folder))


def test_nothing_is_taken_over_where_nothing_changed(opened: OpenRun) -> None:
    assert list(opened.source.update()) == [] and not source_changes(opened.folder)
    round_ = Run(opened.folder.root / "rounds" / "2-00000000", opened.config)
    round_.root.mkdir(parents=True)
    (round_.root / "round.json").write_text('{"round": 2, "parent": "", "earlier": {}}')
    with pytest.raises(DiffInfError, match="later round"):
        list(take_over(round_, source_changes(opened.folder)))
