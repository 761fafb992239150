"""Pixels as they are decoded: depth and range, broken EXIF, sizes."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffinf_core.data.decode import (
    DEPTHS,
    Pixels,
    decode,
    decode_with_digest,
    depth_of,
    highest_level,
    open_upright,
)
from diffinf_core.records import DiffInfError

RAMP = np.tile(np.linspace(0, 1, 64), (64, 1))


def png16(path: Path, levels: np.ndarray) -> Path:
    """Levels (H, W) or (H, W, 3 or 4) as a PNG with sixteen bits per value."""
    height, width = levels.shape[:2]
    kind = {1: 0, 3: 2, 4: 6}[1 if levels.ndim == 2 else levels.shape[2]]
    rows = b"".join(b"\0" + levels[y].astype(">u2").tobytes() for y in range(height))

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def written(folder: Path, kind: str, levels: np.ndarray) -> Path:
    """A file of one of the kinds that hold sixteen bits."""
    if kind == "grey png":
        return png16(folder / "a.png", levels)
    if kind == "colour png":
        return png16(folder / "a.png", np.stack([levels] * 3, 2))
    if kind == "png with alpha":
        full = np.full_like(levels, levels.max())
        return png16(folder / "a.png", np.stack([levels] * 3 + [full], 2))
    Image.fromarray(levels.astype(np.uint16)).save(folder / "a.tif")
    return folder / "a.tif"


@pytest.mark.parametrize("kind", ["grey png", "colour png", "png with alpha", "tiff"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_values_are_scaled_by_the_bits_that_are_used(tmp_path: Path, kind: str, depth: int) -> None:
    levels = np.round(RAMP * ((1 << depth) - 1)).astype(np.int64)
    file = written(tmp_path, kind, levels)
    highest = highest_level(file)
    assert highest == levels.max() and depth_of(highest) == depth
    seen = decode(file, 64, Pixels(depth)).astype(int)
    assert np.abs(seen - (RAMP * 255)[..., None]).max() <= 3


@pytest.mark.parametrize("kind", ["grey png", "colour png", "tiff"])
def test_a_picture_is_never_black_or_cut_at_the_wrong_depth(tmp_path: Path, kind: str) -> None:
    file = written(tmp_path, kind, np.round(RAMP * 200).astype(np.int64))
    with pytest.raises(DiffInfError, match=r"up to 200, which are black among the 16 bits"):
        decode(file, 64, Pixels(16))
    file = written(tmp_path, kind, np.round(RAMP * 4000).astype(np.int64))
    with pytest.raises(DiffInfError, match=r"up to 4000, and data\.bit_depth=10 goes to 1023"):
        decode(file, 64, Pixels(10))


def test_a_colour_tiff_whose_sixteen_bits_are_not_used_is_refused(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    file = tmp_path / "a.tif"
    levels = np.round(RAMP * 1023).astype(np.uint16)
    tifffile.imwrite(file, np.stack([levels] * 3, 2), photometric="rgb")
    with pytest.raises(DiffInfError, match="colour TIFF of 16 bits"):
        decode(file, 64)


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_eight_bits_have_no_depth(tmp_path: Path, mode: str) -> None:
    for name in ("a.png", "a.tif", "a.bmp"):
        Image.new(mode, (8, 8), 1).save(tmp_path / name)
        assert highest_level(tmp_path / name) is None
    (tmp_path / "b.png").write_text("no picture")
    assert highest_level(tmp_path / "b.png") is None
    assert highest_level(tmp_path / "gone.png") is None


# ---------------------------------------------------------------- EXIF


def _exif(payload: bytes) -> bytes:
    """A JPEG segment APP1."""
    return b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload


@pytest.mark.parametrize(
    "payload",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x05\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0",
        b"Exif\0\0" + bytes(range(256)),
    ],
)
def test_broken_exif_costs_no_picture(tmp_path: Path, payload: bytes) -> None:
    levels = (np.tile(RAMP[..., None], (1, 1, 3)) * 255).astype(np.uint8)
    file = tmp_path / "a.jpg"
    Image.fromarray(levels).save(file, quality=95)
    plain, whole = decode(file, 64), file.read_bytes()
    file.write_bytes(whole[:2] + _exif(payload) + whole[2:])
    np.testing.assert_array_equal(decode(file, 64), plain)


# ---------------------------------------------------------------- size


def test_a_large_jpeg_is_read_reduced_and_another_large_picture_is_named(tmp_path: Path) -> None:
    image = Image.new("L", (12000, 9000), 200)
    image.save(tmp_path / "a.jpg", quality=10)
    assert np.abs(decode(tmp_path / "a.jpg", 32).astype(int) - 200).max() <= 2
    with pytest.raises(
        DiffInfError, match=r"12000 x 9000.*108\.0 megapixels.*max_megapixels is 100"
    ):
        open_upright(tmp_path / "a.jpg")
    Image.new("1", (12000, 9000)).save(tmp_path / "a.png")
    with pytest.raises(DiffInfError, match=r"data\.max_megapixels is 100"):
        decode(tmp_path / "a.png", 32)


def test_a_bomb_is_named_with_its_size(tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(DiffInfError, match="400 megapixels"):
        decode(tmp_path / "bomb.png", 32, Pixels(megapixels=178))


def test_the_digest_is_of_the_bytes_that_were_decoded(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray((RAMP * 255).astype(np.uint8)).save(file)
    image, sha = decode_with_digest(file, 32, Pixels())
    np.testing.assert_array_equal(image, decode(file, 32))
    assert sha == hashlib.sha256(file.read_bytes()).hexdigest()
