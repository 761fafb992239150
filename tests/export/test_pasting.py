"""An edit's change on the original: where it lies, what it changes, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from diffinf_core.data.decode import decode
from diffinf_core.export.pasting import (
    Placement,
    add_change,
    centre_crop,
    change_of,
    placed,
    upright,
)

SIZE = 32


def assembled(change: np.ndarray, placement: Placement, width: int, height: int) -> np.ndarray:
    """The whole change (height, width, 3)."""
    out = np.zeros((height, width, 3), np.float32)
    for rows, columns, band in placed(change, placement, width, height):
        out[rows, columns] = band
    return out


def blob(size: int = SIZE, level: int = 40) -> np.ndarray:
    """A change of one level in the middle, nothing elsewhere."""
    out = np.zeros((size, size, 3), np.float32)
    out[size // 4 : -size // 4, size // 4 : -size // 4] = level
    return out


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_are_those_of_pillow(orientation: int) -> None:
    width, height = 5, 3
    stored = np.arange(width * height, dtype=np.uint8).reshape(height, width)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(stored)
    image.info["exif"] = exif.tobytes()
    turned = np.asarray(ImageOps.exif_transpose(image))
    matrix = upright(width, height, orientation)
    for y in range(height):
        for x in range(width):
            u, v = np.floor(matrix @ [x + 0.5, y + 0.5, 1]).astype(int)
            assert turned[v, u] == stored[y, x]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(256, 256), (320, 256), (250, 401)])
def test_a_change_lies_where_the_crop_saw_it(
    tmp_path: Path, orientation: int, size: tuple[int, int]
) -> None:
    """Pasted onto a grey picture, the working picture of the result shows the change in its place."""
    change = np.zeros((SIZE, SIZE, 3), np.float32)
    change[6:14, 18:26] = 60
    change[20:24, 8:12] = -60
    width, height = size
    pixels = np.full((height, width, 3), 128, np.uint8)
    placement = centre_crop(width, height, SIZE, orientation)
    for rows, columns, band in placed(change, placement, width, height):
        pixels[rows, columns] = add_change(pixels[rows, columns], "RGB", band)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    seen = decode(tmp_path / "x.png", SIZE).astype(float) - 128
    interior = np.abs(change).max(2) > 0
    assert np.abs(seen - change)[interior].mean() < 6
    far = np.ones((SIZE, SIZE), bool)
    far[4:16, 16:28] = far[18:26, 6:14] = False
    assert np.abs(seen)[far].max() <= 1


def test_a_jpeg_that_was_decoded_smaller_has_the_same_place(tmp_path: Path) -> None:
    """Sides that are no multiple of eight are rounded up by a reduced decoding."""
    from diffinf_core.export.encoding import paste

    width, height = 1001, 1203
    Image.fromarray(np.full((height, width, 3), 128, np.uint8)).save(tmp_path / "a.jpg")
    change = np.zeros((SIZE, SIZE, 3), np.float32)
    change[2:8, 20:28] = 60
    written = paste(tmp_path / "a.jpg", change, SIZE, {})
    (tmp_path / "b.png").write_bytes(written.data)
    seen = decode(tmp_path / "b.png", SIZE).astype(float) - 128
    at = np.argwhere(np.abs(seen).max(2) > 30)
    assert at.min(0).tolist() == [2, 20] and at.max(0).tolist() == [7, 27]


def turned_crop(width: int, height: int, degrees: float, zoom: float) -> Placement:
    """A crop about the centre of a picture, turned: what an alignment of faces does."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * zoom
    shift = np.array([SIZE / 2, SIZE / 2]) - turn @ [width / 2, height / 2]
    return Placement(np.concatenate([turn, shift[:, None]], 1))


@pytest.mark.parametrize("degrees", [0.0, 7.0, 90.0, -33.0])
def test_at_eight_times_the_size_the_inside_is_the_enlarged_change_and_nothing_else_moves(
    degrees: float,
) -> None:
    """A crop of 256 pixels within 400 x 300, turned, edited at 32."""
    rng = np.random.default_rng(1)
    original = rng.integers(60, 190, (300, 400, 3)).astype(np.uint8)
    placement = turned_crop(400, 300, degrees, 1 / 8)
    change = blob()
    # a slope, so that a shift or a turn would show
    change += np.linspace(0, 20, SIZE, dtype=np.float32)[None, :, None] * (change > 0)
    pasted = original.copy()
    for rows, columns, band in placed(change, placement, 400, 300):
        pasted[rows, columns] = add_change(original[rows, columns], "RGB", band)
    grid = np.stack(np.meshgrid(np.arange(400) + 0.5, np.arange(300) + 0.5), 2)
    u = grid @ placement.matrix[:, :2].T + placement.matrix[:, 2]
    # two working pixels inside the changed square, where the slope is all there is
    inside = ((u > 10) & (u < 22)).all(2)
    expected = 40 + 20 * (u[..., 0] - 0.5) / (SIZE - 1)
    moved = pasted.astype(int) - original
    assert inside.sum() > 5000
    assert np.abs(moved[inside] - expected[inside][:, None]).max() <= 1
    outside = ((u < 5) | (u > 27)).any(2)
    assert (moved[outside] == 0).all() and outside.sum() > 50000


def test_bands_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    change, placement = blob(), turned_crop(300, 200, 12, 1 / 5)
    whole = assembled(change, placement, 300, 200)
    monkeypatch.setattr("diffinf_core.export.pasting._BAND", 1000)
    assert len(list(placed(change, placement, 300, 200))) > 5
    assert np.abs(assembled(change, placement, 300, 200) - whole).max() < 1e-3


def test_a_crop_inside_the_picture_is_faded_at_its_sides_and_a_whole_picture_is_not() -> None:
    everywhere = np.full((SIZE, SIZE, 3), 50, np.float32)
    whole = assembled(everywhere, centre_crop(64, 64, SIZE), 64, 64)
    assert np.abs(whole - 50).max() < 1e-3
    # the crop of a wide picture ends inside it left and right, not above and below
    wide = assembled(everywhere, centre_crop(128, 64, SIZE), 128, 64)
    assert (wide[:, :32] == 0).all() and (wide[:, 96:] == 0).all()
    assert np.abs(wide[:, 40:88] - 50).max() < 1e-3
    edge = wide[32, 32:40, 0]
    assert (np.diff(edge[:6]) > 0).all() and edge[0] < 15


def test_of_the_working_size_itself_the_change_stands_as_it_is() -> None:
    change = blob()
    assert (
        np.abs(assembled(change, centre_crop(SIZE, SIZE, SIZE), SIZE, SIZE) - change).max() < 1e-4
    )


def test_onto_a_smaller_original_the_change_is_averaged() -> None:
    fine = np.zeros((SIZE, SIZE, 3), np.float32)
    fine[::2, ::2] = 80
    small = assembled(fine, centre_crop(8, 8, SIZE), 8, 8)
    assert np.abs(small - 20).max() < 4


def test_decoding_noise_is_no_change_and_what_changed_keeps_its_surroundings() -> None:
    rng = np.random.default_rng(0)
    reconstruction = rng.integers(50, 200, (SIZE, SIZE, 3)).astype(np.uint8)
    noise = rng.integers(-2, 3, reconstruction.shape)
    assert (change_of((reconstruction + noise).astype(np.uint8), reconstruction) == 0).all()
    edit = reconstruction + noise
    edit[10:14, 10:14] += 40
    change = change_of(edit.astype(np.uint8), reconstruction)
    assert (change[9:15, 9:15] == (edit - reconstruction)[9:15, 9:15]).all()
    assert (change[:, 20:] == 0).all()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16", "CMYK"])
def test_every_mode_takes_the_change_it_would_show(mode: str) -> None:
    """Grey levels change by the luma, colours band by band; alpha and black ink stay."""
    base = Image.new("RGB", (4, 4), (100, 120, 140))
    deep = Image.fromarray(np.full((4, 4), 120 * 256, np.uint16))
    image = deep if mode == "I;16" else base.convert(mode)
    before = np.asarray(image)
    change = np.broadcast_to(np.float32([10, 20, -30]), (4, 4, 3)).copy()
    after = add_change(before, mode, change)
    assert after.shape == before.shape and after.dtype == before.dtype
    luma = round(0.299 * 10 + 0.587 * 20 - 0.114 * 30)
    if mode == "I;16":
        assert abs(int(after[0, 0]) - int(before[0, 0]) - 11.31 * 256) < 2
    elif mode in ("L", "LA"):
        first = after.reshape(4, 4, -1)[0, 0]
        assert int(first[0]) - int(before.reshape(4, 4, -1)[0, 0, 0]) == luma
    else:
        shown = np.asarray(Image.fromarray(after, mode).convert("RGB"))[0, 0].astype(int)
        assert np.abs(shown - [110, 140, 110]).max() <= 1
    if mode in ("LA", "RGBA"):
        assert (after[..., -1] == 255).all()
