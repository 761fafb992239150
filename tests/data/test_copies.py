"""Copies of a picture: found, kept in one split as far as none is given, and groups that stay small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diffinf_core.config import SplitConfig, preset_for
from diffinf_core.data.alike import grey_thumbnails
from diffinf_core.data.copies import Copies, cut, equal_files, find_copies, together
from diffinf_core.data.ingest import DATA
from diffinf_core.data.split import split_rows
from diffinf_core.engine import open_run
from diffinf_core.records import DiffInfError
from diffinf_core.runs.tables import read_table


def scene(seed: int, size: int = 64) -> Image.Image:
    """A smooth picture of its own."""
    small = np.random.default_rng(seed).uniform(0, 255, (8, 8, 3)).astype(np.uint8)
    return Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC)


def found(files: list[str], digests: np.ndarray, images: np.ndarray) -> Copies:
    events = find_copies(files, digests, grey_thumbnails(images), "data")
    while True:
        try:
            next(events)
        except StopIteration as end:
            return end.value


def test_equal_files_are_groups_and_unreadable_ones_are_none() -> None:
    digests = np.zeros((6, 32), np.uint8)
    digests[1:, 0] = [1, 2, 1, 3, 2]
    assert equal_files(digests) == [[1, 3], [2, 5]]


def test_pictures_that_look_alike_are_pairs_and_one_stands_for_equal_files() -> None:
    images = np.stack([np.asarray(scene(s)) for s in (0, 1, 0, 0)])
    images[3] = np.clip(images[3].astype(int) + 6, 0, 255)
    digests = np.zeros((4, 32), np.uint8)
    digests[:, 0] = [1, 2, 1, 3]
    copies = found(list("abcd"), digests, images)
    assert copies.exact == [["a", "c"]]
    assert [pair[:2] for pair in copies.near] == [("a", "d")] and copies.near[0][2] > 0.99
    assert copies.pairs() == [("a", "c"), ("a", "d")]


def test_nothing_is_found_in_nothing() -> None:
    none = np.zeros((0, 32), np.uint8), np.zeros((0, 64, 64, 3), np.uint8)
    assert found([], *none) == Copies([], [])


# ---------------------------------------------------------------- what stays together


NAMES = [f"{i:02d}" for i in range(40)]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=60),
    st.lists(st.lists(st.sampled_from(NAMES), min_size=2, max_size=9, unique=True), max_size=3),
)
def test_units_are_joined_never_cut_and_groups_of_look_alikes_stay_small(
    pairs: list[tuple[str, str]], exact: list[list[str]]
) -> None:
    seen: set[str] = set()
    exact = [g for g in exact if not seen & set(g) and not seen.update(g)]  # type: ignore[func-returns-value]
    near = [(a, b, 0.97) for a, b in pairs if a != b]
    none = [""] * 40
    units = together(Copies(exact, near), NAMES, ["x"] * 40, NAMES, none)
    unit = dict(zip(NAMES, units, strict=True))
    assert all(len({unit[name] for name in group}) == 1 for group in exact)
    sizes = {u: units.count(u) for u in units}
    largest = max([4, *map(len, exact)])  # a tenth of the only class
    assert max(sizes.values()) <= largest
    assert set(units) <= set(NAMES)


def test_people_with_copies_are_one_unit_and_given_splits_stand() -> None:
    copies = Copies([["a", "c"]], [("d", "e", 0.99)])
    people = ["p", "p", "q", "r", "s"]
    assert together(copies, list("abcde"), ["x"] * 5, people, [""] * 5) == ["p"] * 3 + ["r"] * 2
    given = ["train", "train", "test", "train", "train"]
    assert together(copies, list("abcde"), ["x"] * 5, list("abcde"), given) == list("abcdd")


def test_classes_whose_pictures_look_alike_still_have_every_part() -> None:
    """Pairs across classes are one unit each; no class may lose a part to another one's draw."""
    files = [f"{c:02d}-{i}" for c in range(20) for i in range(6)]
    labels = [name[:2] for name in files]
    near = [(f"{c:02d}-{i}", f"{c + 1:02d}-{i}", 0.99) for c in range(0, 20, 2) for i in range(6)]
    units = together(Copies([], near), files, labels, files, [""] * len(files))
    assert len(set(units)) == 60
    split = split_rows(labels, [""] * len(files), None, units, SplitConfig())
    assert not split.small
    parts = dict(zip(files, split.parts, strict=True))
    assert all(parts[a] == parts[b] for a, b, _ in near)


def test_what_is_cut_is_known() -> None:
    copies = Copies([["a", "b", "c"]], [("d", "e", 0.99)])
    parts = {"a": "train", "b": "test", "c": "train", "d": "val"}
    assert cut(copies, parts) == [("a", "b")]


# ---------------------------------------------------------------- in a run


def data_set(folder: Path, copied: int, splits: bool = False) -> Path:
    """Forty scenes in two classes, the first ``copied`` of which are there twice."""
    folder.mkdir()
    rows = ["file,label" + (",split" if splits else "")]
    for i in range(40):
        scene(i).save(folder / f"{i:02d}.png")
        rows.append(f"{i:02d}.png,{'ab'[i % 2]}" + (",train" if splits else ""))
        if i < copied:
            form = (
                {"quality": 92} if i % 3 else None
            )  # a third are equal files, the rest encoded again
            target = folder / f"copy{i:02d}.{'jpg' if form else 'png'}"
            scene(i).save(target, **(form or {}))
            rows.append(f"{target.name},{'ab'[i % 2]}" + (",test" if splits else ""))
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def table_of(out: Path, folder: Path, **over: dict) -> tuple:
    over = {"data": {"source": "folder", "path": str(folder), "image_size": 32}, **over}
    run = open_run(out, preset_for("demo", over))
    run.compute("data").result()
    stage = DATA.folder(run.folder)
    return read_table(stage / "samples.csv"), stage.figures


def cut_copies(table) -> int:
    parts = dict(zip(table["file"], table["split"], strict=True))
    stems = [n for n in parts if n.startswith("copy")]
    return sum(parts[n] != parts[n.removeprefix("copy")[:2] + ".png"] for n in stems)


def test_a_new_run_keeps_copies_in_one_split(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "data", 20)
    table, figures = table_of(tmp_path / "run", folder)
    assert cut_copies(table) == 0 and set(table["split"]) == {"train", "val", "test"}
    assert "14 pictures are equal files, in 7 groups." in figures["remarks"]
    assert "13 pairs of pictures look alike." in figures["remarks"]
    plain, _ = table_of(tmp_path / "other", folder, split={"copies": "anywhere"})
    assert cut_copies(plain) > 0, "else nothing was tried"


def test_copies_across_given_splits_are_named(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "data", 9, splits=True)
    _, figures = table_of(tmp_path / "run", folder, data={
        "source": "folder", "path": str(folder), "image_size": 32, "split_column": "split"
    })  # fmt: skip
    (named,) = [r for r in figures["remarks"] if "different splits" in r]
    assert "00.png in " in named and "copy00.png in test and 8 more" in named


def test_a_class_of_copies_is_too_small_and_the_sentence_says_why(tmp_path: Path) -> None:
    folder = data_set(tmp_path / "data", 0)
    rows = (folder / "labels.csv").read_text()
    for i in range(5):
        scene(99).save(folder / f"same{i}.png")
        rows += f"same{i}.png,c\n"
    (folder / "labels.csv").write_text(rows)
    with pytest.raises(DiffInfError, match=r"'c' \(1 picture\), copies of a picture counted once"):
        table_of(tmp_path / "run", folder)
