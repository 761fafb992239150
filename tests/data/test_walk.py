"""What lies in a folder: by content, systems' own files counted, links followed inside and named outside."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from diffinf_core.data import kinds
from diffinf_core.data.decode import decode
from diffinf_core.data.kinds import HEAD, kind_of, readable
from diffinf_core.data.walk import walk
from diffinf_core.records import DiffInfError

#: as a phone writes it: the brand says HEIC, and no decoder of Pillow's own reads it
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def picture(file: Path, form: str = "PNG", size: int = 8) -> Path:
    """A small picture of one colour in some format, whatever the name."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), (200, 30, 30)).save(file, form)
    return file


@pytest.mark.parametrize("form", kinds.READABLE)
def test_every_format_that_is_decoded_is_known_by_its_content(tmp_path: Path, form: str) -> None:
    file = picture(tmp_path / "no_suffix", form)
    assert kind_of(file.read_bytes()[:HEAD]) == form
    assert walk(tmp_path).pictures == ["no_suffix"]
    assert decode(file, 32).shape == (32, 32, 3)


@pytest.mark.parametrize("mode,suffix", [("1", "pbm"), ("L", "pgm"), ("RGB", "ppm")])
def test_portable_maps_are_pictures(tmp_path: Path, mode: str, suffix: str) -> None:
    Image.new(mode, (8, 8)).save(tmp_path / f"a.{suffix}")
    assert walk(tmp_path).pictures == [f"a.{suffix}"]
    assert decode(tmp_path / f"a.{suffix}", 32).shape == (32, 32, 3)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"BM is a company",
        b"P",
        b"Pages",
        b"P7 x",
        b"RIFF____WAVE",
        b"\0\0\0\x18ftypmp42",
        b"<html>",
    ],
)
def test_what_only_begins_like_a_picture_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    found = walk(tmp_path)
    assert found.pictures == [] and found.left_out == {"without suffix": 1}


def test_a_picture_suffix_is_enough_so_that_a_broken_picture_is_named(tmp_path: Path) -> None:
    for suffix in kinds.PICTURE_SUFFIXES:
        (tmp_path / f"a{suffix.upper()}").write_text("<html>404</html>")
    assert len(walk(tmp_path).pictures) == len(kinds.PICTURE_SUFFIXES)


def test_a_film_of_a_picture_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert decode(tmp_path / "a.gif", 32)[0, 0].tolist() == [255, 0, 0]


def test_heic_is_read_with_its_extra(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    heif.from_pillow(Image.new("RGB", (64, 64), (200, 30, 30))).save(buffer, quality=90)
    (tmp_path / "a.heic").write_bytes(buffer.getvalue())
    assert walk(tmp_path).pictures == ["a.heic"]
    assert abs(int(decode(tmp_path / "a.heic", 32)[16, 16, 0]) - 200) < 12


@pytest.fixture
def no_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the extra."""
    for module in (kinds,):
        monkeypatch.setattr(module, "has_heif", lambda: False)


@pytest.mark.usefixtures("no_heif")
def test_without_the_extra_heic_is_counted_and_named(tmp_path: Path) -> None:
    assert readable() == kinds.READABLE
    for i in range(10):
        (tmp_path / f"{i}.heic").write_bytes(HEIC)
    (tmp_path / "readme.txt").write_text("x")
    found = walk(tmp_path)
    assert found.lost == {".heic": 10}
    assert found.remarks() == [
        "1 kind left out: 10 .heic.", "1 kind that are no pictures: 1 .txt."
    ]  # fmt: skip
    (tmp_path / "phone.jpg").write_bytes(HEIC)  # a name that lies
    with pytest.raises(DiffInfError, match=r"pip install 'diffinf-core\[heic\]'"):
        decode(tmp_path / "phone.jpg", 32)


# ---------------------------------------------------------------- hidden and system files


@pytest.mark.parametrize(
    "name",
    [
        ".ipynb_checkpoints/1-checkpoint.jpg", "happy/.ipynb_checkpoints/1.jpg", "__MACOSX/happy/._1.jpg",
        "happy/._1.jpg", "happy/.DS_Store", "happy/Thumbs.db", "@eaDir/1.jpg", "happy/desktop.ini",
        "$RECYCLE.BIN/1.jpg", ".git/objects/1.jpg", "happy/.hidden.png",
    ],
)  # fmt: skip
def test_hidden_and_system_files_are_skipped_and_counted(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "happy" / "a.png")
    picture(tmp_path / name)
    found = walk(tmp_path)
    assert found.pictures == ["happy/a.png"] and found.skipped == 1 and not found.left_out
    assert found.remarks() == ["1 hidden or system file skipped."]


def test_a_data_folder_may_itself_lie_in_a_hidden_one(tmp_path: Path) -> None:
    picture(tmp_path / ".cache" / "happy" / "a.png")
    assert walk(tmp_path / ".cache").pictures == ["happy/a.png"]


# ---------------------------------------------------------------- links


def test_links_inside_are_followed_and_those_outside_named_or_allowed(tmp_path: Path) -> None:
    root = tmp_path / "faces"
    picture(root / "happy" / "a.png")
    picture(tmp_path / "else" / "sad" / "b.png")
    picture(tmp_path / "c.png")
    (root / "joyful").symlink_to(root / "happy")
    (root / "happy" / "same.png").symlink_to("a.png")
    (root / "sad").symlink_to(tmp_path / "else" / "sad")
    (root / "happy" / "c.png").symlink_to(tmp_path / "c.png")
    inside = ["happy/a.png", "happy/same.png", "joyful/a.png", "joyful/same.png"]
    found = walk(root)
    assert found.pictures == inside and found.outside == ["happy/c.png", "joyful/c.png", "sad"]
    found = walk(root, outside=True)
    assert found.pictures == sorted([*inside, "happy/c.png", "joyful/c.png", "sad/b.png"])
    assert not found.outside


@pytest.mark.parametrize("target", [".", "..", "loop", "nowhere", "../happy"])
@pytest.mark.parametrize("outside", [False, True])
def test_a_link_in_a_circle_or_to_nothing_ends_and_is_named(
    tmp_path: Path, target: str, outside: bool
) -> None:
    root = tmp_path / "faces"
    picture(root / "happy" / "a.png")
    (root / "happy" / "loop").symlink_to(target)
    found = walk(root, outside)
    assert found.pictures == ["happy/a.png"]
    assert found.broken == ["happy/loop"] and not found.outside
