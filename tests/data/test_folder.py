"""Reading a folder: what is taken, and one sentence naming the file or row for what is not."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffinf_core.config import DataConfig
from diffinf_core.data import decode as module
from diffinf_core.data.decode import Pixels, decode
from diffinf_core.data.rows import Row
from diffinf_core.data.sources import list_folder
from diffinf_core.records import DiffInfError
from tests.checked import problems_of
from tests.data.test_copies import scene

#: four quarters in four colours: no turn or mirror image of it looks the same
QUARTERS = np.zeros((48, 48, 3), np.uint8)
QUARTERS[:24, :24], QUARTERS[:24, 24:] = (200, 0, 0), (0, 200, 0)
QUARTERS[24:, :24], QUARTERS[24:, 24:] = (0, 0, 200), (200, 200, 0)


def picture(file: Path, image: Any = None, **options: Any) -> Path:
    """Write a picture."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(QUARTERS if image is None else image).save(file, **options)
    return file


def data(root: Path, table: str | bytes | None = None, **options: Any) -> DataConfig:
    """The configuration of a folder, with its table written."""
    if table is not None:
        root.mkdir(parents=True, exist_ok=True)
        (root / "labels.csv").write_bytes(table.encode() if isinstance(table, str) else table)
    return DataConfig(source="folder", path=root, **options)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a.png to d.png and sub/e.jpg."""
    for name in ("a.png", "b.png", "c.png", "d.png", "sub/e.jpg"):
        picture(tmp_path / "faces" / name)
    return tmp_path / "faces"


def refusal(config: DataConfig) -> str:
    """The one sentence of a folder that cannot be listed."""
    with pytest.raises(DiffInfError) as caught:
        list_folder(config)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and not re.search(r"\.\s+[A-Z]", text), text
    return text


# ---------------------------------------------------------------- a table


def test_a_table_gives_rows_in_its_order_with_all_other_columns(pictures: Path) -> None:
    table = "who,label,file,note\n7,sad,sub/e.jpg,\n007,happy, a.png ,NA\n"
    listing = list_folder(data(pictures, table))
    assert listing.rows == [
        Row("sub/e.jpg", "sad", {"who": "7", "note": ""}),
        Row("a.png", "happy", {"who": "007", "note": "NA"}),
    ]
    assert listing.classes == ["happy", "sad"] and not listing.problems
    assert listing.root == pictures


def test_pictures_without_a_row_are_counted_but_not_those_of_other_folders(pictures: Path) -> None:
    picture(pictures / "masks" / "a.png")
    listing = list_folder(data(pictures, "file,label\na.png,x\nb.png,y\n"))
    assert listing.unlabelled == 2  # c and d; sub and masks hold no labelled picture
    assert len(listing.rows) == 2


def test_files_that_are_no_pictures_are_not_counted(pictures: Path) -> None:
    (pictures / "readme.txt").write_text("hello")
    (pictures / "movie.mp4").write_bytes(b"0")
    assert list_folder(data(pictures, "file,label\na.png,x\nb.png,y\n")).unlabelled == 2


@pytest.mark.parametrize(
    "row,reason",
    [
        ("nowhere.png,x", "nowhere.png: no such file"),
        ("sub,x", "sub: no such file"),
        ("a.png,z", "a.png: named twice, first in row 2"),
        ("b.png,", "b.png: the label is empty"),
        ("b.png", "labels.csv: has 1 field where the header has 2"),
        ("b.png,x,y", "labels.csv: has 3 fields where the header has 2"),
        (",x", "(empty): the file name is empty"),
        ("../out.png,x", "../out.png: lies outside the data folder"),
        ("sub/../../out.png,x", "sub/../../out.png: lies outside the data folder"),
        ("ABSOLUTE,x", "lies outside the data folder"),
        ("link.png,x", "link.png: lies outside the data folder"),
        ("linked/out.png,x", "linked/out.png: lies outside the data folder"),
    ],
)
def test_a_bad_row_is_named_by_number_and_file_and_spares_the_others(
    pictures: Path, row: str, reason: str
) -> None:
    out = picture(pictures.parent / "out.png")
    (pictures / "link.png").symlink_to(out)
    (pictures / "linked").symlink_to(pictures.parent)
    row = row.replace("ABSOLUTE", str(out))
    listing = list_folder(data(pictures, f"file,label\na.png,x\n{row}\nc.png,y\n"))
    assert [r.file for r in listing.rows] == ["a.png", "c.png"]
    (problem,) = listing.problems
    assert str(problem).startswith("row 3: ") and str(problem).endswith(reason)


def test_an_absolute_name_inside_the_folder_and_a_link_that_stays_inside_are_fine(
    pictures: Path,
) -> None:
    (pictures / "link.png").symlink_to(pictures / "a.png")
    table = f"file,label\n{pictures / 'b.png'},x\nlink.png,y\n"
    listing = list_folder(data(pictures, table))
    assert len(listing.rows) == 2 and not listing.problems


def test_a_link_that_points_at_itself_is_a_problem_not_a_crash(pictures: Path) -> None:
    (pictures / "loop.png").symlink_to(pictures / "loop.png")
    listing = list_folder(data(pictures, "file,label\na.png,x\nloop.png,y\n"))
    assert [p.row for p in listing.problems] == [3]


def test_a_label_outside_the_given_classes_is_named(pictures: Path) -> None:
    config = data(pictures, "file,label\na.png,sad\nb.png,Happy\n", classes=("sad", "happy"))
    (problem,) = list_folder(config).problems
    assert str(problem) == "row 3: b.png: label 'Happy' is not one of sad, happy"


def test_given_classes_keep_their_order_and_leave_out_what_is_absent(pictures: Path) -> None:
    table = "file,label\na.png,c\nb.png,a\n"
    assert list_folder(data(pictures, table, classes=("c", "b", "a"))).classes == ["c", "a"]
    assert list_folder(data(pictures, table)).classes == ["a", "c"]


def test_an_empty_group_is_named(pictures: Path) -> None:
    config = data(pictures, "file,label,who\na.png,x,1\nb.png,y, \n", group_column="who")
    (problem,) = list_folder(config).problems
    assert str(problem) == "row 3: b.png: the column 'who' is empty"


def test_other_names_of_table_and_columns_are_followed(pictures: Path) -> None:
    (pictures / "ages.csv").write_text("file,years\na.png,old\nb.png,young\n")
    listing = list_folder(data(pictures, labels="ages.csv", label_column="years"))
    assert [r.label for r in listing.rows] == ["old", "young"]


def test_a_table_saved_by_a_spreadsheet_is_read(pictures: Path) -> None:
    table = b'\xef\xbb\xbffile,label\r\n"a.png","x, y"\r\nb.png,z\r\n'
    assert [r.label for r in list_folder(data(pictures, table)).rows] == ["x, y", "z"]


@pytest.mark.parametrize(
    "table,parts",
    [
        (b"", ["is empty"]),
        (b"picture,label\na.png,x\n", ["no column 'file'", "picture, label", "data.file_column"]),
        (b"file,emotion\na.png,x\n", ["no column 'label'", "file, emotion", "data.label_column"]),
        (b"file,lable\na.png,x\n", ["no column 'label'", "did you mean 'lable'"]),
        (b"file,label,\na.png,x,1\n", ["Column 3", "no name"]),
        (b"file,label,label\na.png,x,y\n", ["'label' twice"]),
        (
            "file,label\na.png,gl\u00fccklich\n".encode("latin-1"),
            ["row 2", "0xFC", "data.encoding"],
        ),
        (b'file,label\na.png,"x\n', ["cannot be read as CSV", "row 2"]),
    ],
)
def test_a_table_that_cannot_be_used_is_named(
    pictures: Path, table: bytes, parts: list[str]
) -> None:
    text = refusal(data(pictures, table))
    for part in [str(pictures / "labels.csv"), *parts]:
        assert part in text


def test_a_missing_group_column_is_named(pictures: Path) -> None:
    config = data(pictures, "file,label\na.png,x\n", group_column="who")
    assert "no column 'who'" in refusal(config)


def test_the_same_file_under_two_spellings_is_named_twice(pictures: Path) -> None:
    listing = list_folder(data(pictures, "file,label\na.png,x\n./a.png,y\nsub/../a.png,z\n"))
    assert [p.row for p in listing.problems] == [3, 4]


def test_a_row_after_a_blank_line_keeps_its_line_number(pictures: Path) -> None:
    listing = list_folder(data(pictures, "file,label\na.png,x\n\nnowhere.png,y\n"))
    assert [p.row for p in listing.problems] == [4]


def test_a_name_too_long_for_the_disk_is_a_problem_not_a_crash(pictures: Path) -> None:
    listing = list_folder(data(pictures, f"file,label\na.png,x\n{'n' * 5000},y\n"))
    assert [p.row for p in listing.problems] == [3]


# ---------------------------------------------------------------- sub-folders


def test_sub_folders_are_classes_and_loose_pictures_are_unlabelled(tmp_path: Path) -> None:
    for name in ("sad/b.png", "sad/deep/a.png", "happy/c.PNG", "loose.png"):
        picture(tmp_path / name)
    (tmp_path / "happy" / "notes.txt").write_text("no picture")
    listing = list_folder(data(tmp_path))
    found = {(r.file, r.label) for r in listing.rows}
    assert found == {("sad/b.png", "sad"), ("sad/deep/a.png", "sad"), ("happy/c.PNG", "happy")}
    assert [r.file for r in listing.rows] == sorted(r.file for r in listing.rows)
    assert listing.classes == ["happy", "sad"] and listing.unlabelled == 1


def test_a_sub_folder_that_is_no_class_and_a_link_out_are_named(tmp_path: Path) -> None:
    out = picture(tmp_path / "out.png")
    root = tmp_path / "faces"
    for name in ("sad/a.png", "happy/b.png", "masks/a.png"):
        picture(root / name)
    (root / "sad" / "link.png").symlink_to(out)
    listing = list_folder(data(root, classes=("happy", "sad")))
    assert {str(p) for p in listing.problems} == {
        "masks/a.png: folder 'masks' is not a class",
        "sad/link.png: lies outside the data folder; data.outside_links=true follows it",
    }
    assert {r.file for r in listing.rows} == {"sad/a.png", "happy/b.png"}


@pytest.mark.parametrize("content", [[], ["a.txt"], ["sub/b.txt"]])
def test_a_folder_without_pictures_is_named(tmp_path: Path, content: list[str]) -> None:
    for name in content:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert refusal(data(tmp_path)) == f"The folder {tmp_path} holds no pictures."


def test_a_folder_that_is_missing_is_a_file_or_has_no_labels_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "no") in refusal(data(tmp_path / "no"))
    file = picture(tmp_path / "faces" / "a.png")
    assert refusal(data(file)) == f"{file} is not a folder."
    text = refusal(data(file.parent))
    assert str(file.parent) in text and "labels.csv" in text and "sub-folder per class" in text


# ---------------------------------------------------------------- the whole check


def test_the_check_decodes_every_picture_and_names_the_broken_ones(pictures: Path) -> None:
    whole = (pictures / "b.png").read_bytes()
    (pictures / "b.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "c.png").write_text("not a picture")
    (pictures / "d.png").write_bytes(b"")
    table = "file,label\n" + "".join(f"{n}.png,{n}\n" for n in "abcd")
    listing, (*problems, small) = problems_of(data(pictures, table))
    assert len(listing.rows) == 4 and not listing.problems
    assert "'a' (1 picture)" in str(small) and "--drop-small-classes" in str(small)
    assert [p.file for p in problems] == ["b.png", "c.png", "d.png"]
    assert all("not a readable picture" in str(p) and "\n" not in str(p) for p in problems)


def test_one_class_only_is_a_problem(pictures: Path) -> None:
    _, problems = problems_of(data(pictures, "file,label\na.png,sad\nb.png,sad\n"))
    (problem,) = problems
    assert str(pictures) in str(problem) and "only one class (sad)" in str(problem)
    _, problems = problems_of(data(pictures, "file,label\n"))
    assert "only one class (none)" in str(problems[0])


def test_a_good_folder_has_no_problems(pictures: Path) -> None:
    names = [*"abcd", "f", "g"]
    for i, name in enumerate(names):
        picture(pictures / f"{name}.png", np.asarray(scene(i)))
    rows = "".join(f"{n}.png,{'sad' if i % 2 else 'happy'}\n" for i, n in enumerate(names))
    _, problems = problems_of(data(pictures, "file,label\n" + rows))
    assert problems == []


def test_the_id_of_a_row_is_twelve_digits_of_its_name_alone() -> None:
    assert Row("a.png", "x").id == Row("a.png", "y", {"k": "v"}).id != Row("b.png", "x").id
    assert re.fullmatch("[0-9a-f]{12}", Row("a.png", "x").id)


# ---------------------------------------------------------------- decoding


def corners(image: np.ndarray) -> np.ndarray:
    """The colours in the middle of the four quarters, shape (4, 3)."""
    s = image.shape[0]
    near, far = s // 4, 3 * s // 4
    return np.stack([image[y, x] for y in (near, far) for x in (near, far)]).astype(int)


#: what a camera stored, so that the viewer's turn of each EXIF orientation gives the picture back
STORED = {
    1: QUARTERS,
    2: QUARTERS[:, ::-1],
    3: QUARTERS[::-1, ::-1],
    4: QUARTERS[::-1],
    5: QUARTERS.transpose(1, 0, 2),
    6: np.rot90(QUARTERS, 1),
    7: np.rot90(QUARTERS, 2).transpose(1, 0, 2),
    8: np.rot90(QUARTERS, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_picture_is_turned_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = picture(
        tmp_path / f"a.{suffix}", np.ascontiguousarray(STORED[orientation]), exif=exif, quality=95
    )
    found = decode(file, 48)
    assert np.abs(corners(found) - corners(QUARTERS)).max() < 12


@pytest.mark.parametrize("shape", [(48, 48), (30, 90), (90, 30), (1, 1), (3, 501)])
@pytest.mark.parametrize("size", [32, 64])
def test_any_shape_becomes_a_square_cut_from_the_middle(
    tmp_path: Path, shape: tuple[int, int], size: int
) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    image[..., 0] = 250
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    image[top : top + side, left : left + side] = (0, 0, 250)
    found = decode(picture(tmp_path / "a.png", image), size)
    assert found.shape == (size, size, 3) and found.dtype == np.uint8
    middle = found[:, size // 8 : -size // 8] if shape[1] > shape[0] else found
    middle = middle[size // 8 : -size // 8] if shape[0] > shape[1] else middle
    assert (middle[..., 2] > 200).all() and (middle[..., 0] < 50).all()


def test_a_picture_of_the_right_size_keeps_every_pixel(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode(picture(tmp_path / "a.png", image), 64), image)


RAMP = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "RGBX", "CMYK"])
def test_every_usual_mode_becomes_the_same_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode in ("CMYK", "RGBX") else "png"
    level = (RAMP > 127).astype(np.uint8) * 255 if mode == "1" else RAMP
    file = tmp_path / f"a.{suffix}"
    grey = Image.fromarray(level)
    (grey if mode in ("L", "LA", "P", "1") else grey.convert("RGB")).convert(mode).save(file)
    found = decode(file, 64).astype(int)
    assert np.abs(found - level[..., None]).max() <= 4


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_picture_of_sixteen_bits_keeps_its_shades(tmp_path: Path, suffix: str) -> None:
    file = picture(tmp_path / f"a.{suffix}", RAMP.astype(np.uint16) * 257)
    found = decode(file, 64).astype(int)
    assert np.abs(found - RAMP[..., None]).max() <= 2


def test_a_palette_with_transparent_colours_is_read_without_a_warning(tmp_path: Path) -> None:
    image = Image.fromarray(QUARTERS).convert("P")
    image.save(tmp_path / "a.png", transparency=bytes([0] * 10 + [255] * 246))
    assert decode(tmp_path / "a.png", 48).shape == (48, 48, 3)


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = picture(tmp_path / "a.png")
    monkeypatch.setattr(module.Image.Image, "load", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(DiffInfError, match=r"48 x 48 pixels.*data\.max_megapixels is 0\.0023"):
        decode(file, 32, Pixels(megapixels=0.0023))
    monkeypatch.undo()
    assert decode(file, 32, Pixels(megapixels=0.002304)).shape == (32, 32, 3)


def test_a_small_file_that_unpacks_to_a_huge_picture_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 100_000
    with pytest.raises(DiffInfError, match="too"):
        decode(tmp_path / "bomb.png", 32)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_picture_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png")
    file.chmod(0)
    with pytest.raises(DiffInfError, match="not a readable picture"):
        decode(file, 32)


# ---------------------------------------------------------------- what nobody vouches for


@pytest.mark.parametrize(
    "row,reason",
    [
        ("b.png,sa\x1b[31md", "b.png: the label has the control character U+001B"),
        ("b.png," + "x" * 201, "b.png: the label is longer than 200 characters"),
        ("b\u202e.png,x", "b\ufffd.png: the file name has the control character U+202E"),
        ("n" * 1001 + ",x", "n...: the file name is longer than 1000 characters"),
        ("b.png,x," + "y" * 10_001, "the cell in column 'note' is longer than 10000 characters"),
    ],
)
def test_cells_that_are_too_long_or_cannot_be_seen_are_named(
    pictures: Path, row: str, reason: str
) -> None:
    listing = list_folder(
        data(pictures, f"file,label,note\na.png,x,\n{row}{',' * (2 - row.count(','))}\nc.png,y,\n")
    )
    assert [r.file for r in listing.rows] == ["a.png", "c.png"]
    (problem,) = listing.problems
    assert str(problem).startswith("row 3: ") and str(problem).endswith(reason)
    assert str(problem).isprintable() and len(str(problem)) < 300


def test_a_folder_whose_name_cannot_be_seen_is_no_class(tmp_path: Path) -> None:
    for name in ("sad/a.png", "happy/b.png", "ang\x07ry/c.png"):
        picture(tmp_path / name)
    listing = list_folder(data(tmp_path))
    assert listing.classes == ["happy", "sad"]
    assert "U+0007" in str(listing.problems[0]) and str(listing.problems[0]).isprintable()


def test_a_table_that_is_a_link_out_of_the_folder_is_not_read(pictures: Path) -> None:
    secret = pictures.parent / "secret.txt"
    secret.write_text("password,hunter2\n")
    (pictures / "labels.csv").symlink_to(secret)
    text = refusal(data(pictures))
    assert (
        "lies outside the data folder" in text and "hunter2" not in text and "password" not in text
    )


def test_a_picture_is_known_by_its_content_and_only_a_few_kinds_are_opened(tmp_path: Path) -> None:
    image = Image.fromarray(QUARTERS)
    image.save(tmp_path / "a.png", format="EPS")  # Pillow would start Ghostscript for it
    with pytest.raises(DiffInfError, match="not a readable picture"):
        decode(tmp_path / "a.png", 32)
    image.save(tmp_path / "b.png", format="GIF")
    assert decode(tmp_path / "b.png", 32).shape == (32, 32, 3)


def test_a_huge_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = picture(tmp_path / "a.png")
    monkeypatch.setattr(module, "MAX_FILE_BYTES", file.stat().st_size - 1)
    monkeypatch.setattr(module.Image, "open", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(DiffInfError, match="too large for a picture"):
        decode(file, 32)
