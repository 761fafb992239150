"""Faces brought to FFHQ's framing, recorded so that it can be undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from diffinf_core.config import DataConfig, preset_for
from diffinf_core.data import faces as detector
from diffinf_core.data import framing as module
from diffinf_core.data.alignment import alignment_of
from diffinf_core.data.faces import Faces, find_faces
from diffinf_core.data.framing import ALIGNMENT, beyond_border, ffhq_square, framed, read_framed
from diffinf_core.data.ingest import DATA, SEVERAL
from diffinf_core.data.part import run_pictures
from diffinf_core.engine import open_run
from diffinf_core.export.encoding import paste
from diffinf_core.records import DiffInfError
from diffinf_core.runs.tables import read_table
from tests.checked import checked
from tests.data.test_copies import scene

LONDON = Path(__file__).parents[3] / "shared" / "data" / "london"
#: eyes, nose and mouth of a face looking straight ahead, eyes 40 apart and mouth 50 below
STRAIGHT = np.array([[80, 90], [120, 90], [100, 115], [85, 140], [115, 140]], float)


def moved(points: np.ndarray, angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ turn.T + shift


# ---------------------------------------------------------------- the square


def test_the_square_is_that_of_ffhq() -> None:
    """By its script half a side is max(2 x 40, 1.8 x 50) = 90, and the centre 5 below the eyes."""
    matrix = ffhq_square(STRAIGHT, 128)
    corners = np.array([[10, 5, 1], [190, 185, 1], [100, 95, 1]], float)
    assert np.allclose(corners @ matrix.T, [[0, 0], [128, 128], [64, 64]])


@given(st.floats(-3, 3), st.floats(0.1, 20), st.tuples(st.floats(-500, 500), st.floats(-500, 500)))
def test_the_framing_follows_the_face(
    angle: float, scale: float, shift: tuple[float, float]
) -> None:
    points = moved(STRAIGHT, angle, scale, shift)
    matrix, plain = ffhq_square(points, 64), ffhq_square(STRAIGHT, 64)
    ones = np.ones((5, 1))
    at = np.hstack([points, ones]) @ matrix.T
    assert np.allclose(at, np.hstack([STRAIGHT, ones]) @ plain.T, atol=1e-6)
    turn = matrix[:, :2]
    assert np.allclose(turn @ turn.T, np.eye(2) * np.linalg.det(turn), atol=1e-9)
    assert np.linalg.det(turn) > 0


def test_points_in_one_place_are_no_face() -> None:
    with pytest.raises(DiffInfError, match="no face"):
        ffhq_square(np.ones((5, 2)), 64)


@pytest.mark.parametrize("factor", [0.5, 1, 3, 7.5])
def test_a_crop_without_rotation_is_the_resized_crop(factor: float) -> None:
    small = scene(3, 96)
    side = round(96 * factor)
    image = small.resize((side, side), Image.Resampling.BICUBIC)
    scale = 32 / (side / 2)
    matrix = np.array([[scale, 0, -scale * side / 4], [0, scale, -scale * side / 4]])
    box = (side / 4, side / 4, 3 * side / 4, 3 * side / 4)
    expected = image.resize((32, 32), Image.Resampling.BICUBIC, box=box)
    assert np.abs(framed(image, matrix, 32).astype(int) - np.asarray(expected)).mean() < 4


def test_beyond_the_border_the_picture_is_mirrored_and_fades() -> None:
    image = scene(4, 64)
    matrix = np.array([[1, 0, 16], [0, 1, 0]], float)  # sixteen pixels beyond the left side
    out = framed(image, matrix, 64).astype(int)
    assert np.abs(out[:, 16:] - np.asarray(image)[:, :48]).mean() < 2
    assert np.abs(out[:, 15] - out[:, 16]).mean() < 12
    spread = out[:, 0].std((0, 1)).mean(), out[:, 16].std((0, 1)).mean()
    assert spread[0] < spread[1] / 2, "it fades to one colour"
    assert beyond_border(matrix, 64, 64, 64) == 0.25


# ---------------------------------------------------------------- the detector


def test_of_several_faces_the_largest_is_taken_and_unsure_ones_do_not_count() -> None:
    boxes = np.array([[0, 0, 9, 9, 0.99], [0, 0, 90, 90, 0.5], [10, 10, 30, 30, 0.95]])
    points = np.arange(30, dtype=float).reshape(3, 5, 2)
    found = detector._largest(boxes, points, np.array([2.0, 4.0]))
    assert found.count == 2 and found.points is not None
    assert np.allclose(found.points, (points[2] + 0.5) * [2, 4])
    assert detector._largest(boxes[1:2], points[1:2], np.ones(2)).count == 0
    assert detector._largest(np.zeros((0, 5)), points[:0], np.ones(2)).count == 0


@pytest.mark.parametrize("size", [(3, 3), (64, 64), (1000, 20), (1, 900)])
def test_pictures_without_a_face_of_any_size_have_none(size: tuple[int, int]) -> None:
    pytest.importorskip("facenet_pytorch")
    assert find_faces(Image.new("RGB", size, "grey")) == Faces(0)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    detector._networks.cache_clear()
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    with pytest.raises(DiffInfError, match=r"facenet_pytorch is not installed.*\[faces\]"):
        detector.load_detector()


@pytest.mark.skipif(not LONDON.is_dir(), reason="the photographs are not here")
def test_a_turned_photograph_is_framed_as_the_upright_one(tmp_path: Path) -> None:
    pytest.importorskip("facenet_pytorch")
    file = sorted(LONDON.glob("*_neutral.jpg"))[0]
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    plain = read_framed(file, 64)
    assert plain.faces == 1
    wide = Image.new("RGB", (image.width * 2, image.height * 2), image.getpixel((2, 2)))
    wide.paste(image, (image.width // 2, image.height // 2))
    wide.rotate(20, Image.Resampling.BICUBIC, fillcolor=image.getpixel((2, 2))).save(
        tmp_path / "t.png"
    )
    turned = read_framed(tmp_path / "t.png", 64)
    # where eyes and mouth are, on the way through the turned picture
    cos, sin = np.cos(np.radians(20)), np.sin(np.radians(20))
    spin = np.array([[cos, sin], [-sin, cos]])  # as Pillow turns, about the middle
    middle = np.array(image.size) / 2
    points = np.array([[24, 31], [40, 31], [32, 44]], float)
    there = (points - plain.matrix[:, 2]) @ np.linalg.inv(plain.matrix[:, :2]).T
    in_wide = (there - middle) @ spin.T + 2 * middle
    again = np.column_stack([in_wide, np.ones(3)]) @ turned.matrix.T
    assert np.abs(again - points).max() < 4, "of 64 pixels"
    assert plain.beyond > 0.3 > turned.beyond


# ---------------------------------------------------------------- in check, run and export


def points_of(name: str) -> np.ndarray:
    """Where a face is said to be in picture ``name``, each somewhere else."""
    i = int(name[:2])
    return moved(STRAIGHT, (i % 7 - 3) / 12, 0.8 + i % 5 / 20, (20 + i % 4, 10 + i % 3))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty scenes of 240 x 200 pixels with a face each; 07 shows none, 08 and 09 two."""
    root = tmp_path / "faces"
    root.mkdir()
    rows, names = ["file,label"], {}
    for i in range(40):
        image = scene(i, 240).crop((0, 0, 240, 200))
        image.save(root / f"{i:02d}.png")
        rows.append(f"{i:02d}.png,{'ab'[i % 2]}")
        names[image.tobytes()] = f"{i:02d}.png"
    (root / "labels.csv").write_text("\n".join(rows) + "\n")

    def find(image: Image.Image) -> Faces:
        name = names[image.tobytes()]
        if name == "07.png":
            return Faces(0)
        return Faces(2 if name in ("08.png", "09.png") else 1, points_of(name))

    monkeypatch.setattr(module, "find_faces", find)
    for place in ("pictures", "check.measure"):
        monkeypatch.setattr(f"diffinf_core.data.{place}.load_detector", lambda: None)
    return root


def settings(folder: Path, **over: Any) -> dict[str, Any]:
    return {"source": "folder", "path": str(folder), "image_size": 64, "align": True, **over}


def compute(out: Path, folder: Path, **over: Any) -> Any:
    run = open_run(out, preset_for("demo", {"data": settings(folder, **over)}))
    run.compute("data").result()
    return run


def test_pictures_without_a_face_are_refused_by_name_or_skipped(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(DiffInfError, match=r"07\.png: no face was detected.*--skip-bad"):
        compute(tmp_path / "refused", folder)
    run = compute(tmp_path / "run", folder, skip_bad=True)
    stage = DATA.folder(run.folder)
    assert stage.figures["n"] == 39 and stage.figures["skipped"]["pictures"] == 1
    skipped = read_table(stage / "skipped.csv")
    assert skipped["file"].tolist() == ["07.png"] and "no face" in skipped["reason"][0]
    (several,) = [r for r in stage.figures["remarks"] if "Several faces" in r]
    assert "2 pictures: 08.png, 09.png." in several
    assert read_table(stage / SEVERAL)["faces"].tolist() == ["2", "2"]
    one = compute(tmp_path / "one", folder, skip_bad=True, one_face=True)
    assert DATA.folder(one.folder).figures["n"] == 37


def test_each_framing_is_recorded_beside_its_picture(folder: Path, tmp_path: Path) -> None:
    run = compute(tmp_path / "run", folder, skip_bad=True)
    stage = DATA.folder(run.folder)
    table, recorded = read_table(stage / "samples.csv"), np.load(stage.path / ALIGNMENT)
    assert recorded.shape == (39, 8)
    for row in (0, 7, 20, 38):  # 07 is gone, so rows moved up
        name = table["file"][row]
        matrix = alignment_of(run.folder, table["id"][row])
        assert matrix is not None and np.array_equal(matrix, ffhq_square(points_of(name), 64))
        with Image.open(folder / name) as image:
            expected = framed(image.convert("RGB"), matrix, 64)
        assert np.array_equal(run_pictures(run.folder).read([row])[0], expected)
    plain = compute(tmp_path / "plain", folder, align=False)
    sample = read_table(DATA.folder(plain.folder) / "samples.csv")["id"][0]
    assert alignment_of(plain.folder, sample) is None


def test_framings_follow_a_data_set_that_changed(folder: Path, tmp_path: Path) -> None:
    run = compute(tmp_path / "run", folder, skip_bad=True)
    (folder / "03.png").unlink()
    table = folder / "labels.csv"
    table.write_text(table.read_text().replace("03.png,b\n", ""))
    run.source.update().result()
    for row in read_table(DATA.folder(run.folder) / "samples.csv").itertuples():
        expected = ffhq_square(points_of(row.file), 64)
        assert np.array_equal(alignment_of(run.folder, row.id), expected)


def test_the_check_names_and_shows_faces(folder: Path) -> None:
    over = settings(folder)
    result = checked(DataConfig(**over))
    titles = {finding.title: finding for finding in result.findings}
    none, several = titles["Pictures without a face"], titles["Pictures with several faces"]
    assert none.count == 1 and none.level == "refused" and "07.png: no face" in none.lines[0]
    assert none.examples[0][0].jpeg and [p.file for p in result.problems] == ["07.png"]
    assert list(several.lines) == ["08.png: 2 faces", "09.png: 2 faces"]
    tight = titles["Pictures that end within FFHQ's framing"]
    beyond = {
        f"{i:02d}.png": beyond_border(ffhq_square(points_of(f"{i:02d}.png"), 64), 240, 200, 64)
        for i in range(40)
    }
    expected = [name for name, part in beyond.items() if part > 0.1 and name != "07.png"]
    assert [line.split(":")[0] for line in tight.lines] == expected and tight.count == len(expected)
    assert not checked(DataConfig(**over | {"skip_bad": True})).problems


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("angle", [0, 0.4, -0.7])
def test_a_change_of_a_framed_face_goes_back_to_where_it_was(
    tmp_path: Path, orientation: int, angle: float
) -> None:
    """Framed again, the photograph shows the change; far from the face it is what it was, byte for byte."""
    points = moved(STRAIGHT, angle, 3, (300, 250))
    size, matrix = 64, ffhq_square(points, 64)
    stored = Image.new("RGB", (1200, 1000), (90, 120, 140))
    stored.putdata([(90, 120, 140 + (i % 7)) for i in range(1200 * 1000)])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photograph.png", exif=exif)
    change = np.zeros((size, size, 3), np.float32)
    change[24:40, 24:40] = 50
    done = paste(tmp_path / "photograph.png", change, size, {}, alignment=matrix)
    (tmp_path / "edited.png").write_bytes(done.data)
    from diffinf_core.data.decode import open_upright

    before, after = (open_upright(tmp_path / f"{n}.png") for n in ("photograph", "edited"))
    seen = framed(after, matrix, size).astype(int) - framed(before, matrix, size)
    assert np.abs(seen[26:38, 26:38] - 50).max() <= 2
    outside = seen.copy()
    outside[22:42, 22:42] = 0
    assert np.abs(outside).max() <= 1
    old, new = np.asarray(before).astype(int), np.asarray(after)
    rows, columns = np.nonzero((old != new).any(2))
    at = np.column_stack([columns + 0.5, rows + 0.5, np.ones(len(rows))]) @ matrix.T
    assert len(rows) > 1000 and at.min() > 20 and at.max() < 44
