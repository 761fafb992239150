"""Edits as files among their neighbours: what the format, mode and metadata of the original become."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from diffinf_core.data.decode import sixteen_bit_colours
from diffinf_core.export.deep import with_sixteen_bits
from diffinf_core.export.encoding import as_png, paste, suffix_of
from diffinf_core.export.marks import AI_EDITED, mark
from diffinf_core.export.thumbnails import without_thumbnail
from diffinf_core.records import DiffInfError

SIZE = 32
NOTES = {"Software": "DiffInf", "Synthetic": "edited"}


def change() -> np.ndarray:
    """A change in the middle."""
    out = np.zeros((SIZE, SIZE, 3), np.float32)
    out[12:20, 12:20] = (40, 30, -20)
    return out


def picture(mode: str, side: int = 256) -> Image.Image:
    """A smooth picture without extremes."""
    y, x = np.mgrid[:side, :side]
    rgb = np.stack([80 + x / 4, 90 + y / 4, 100 + (x + y) / 8], 2).astype(np.uint8)
    if mode == "I;16":
        return Image.fromarray((rgb[..., 0].astype(np.uint16)) * 256)
    image = Image.fromarray(rgb)
    if mode in ("RGBA", "LA"):
        image = image.convert(mode)
        image.putalpha(200)
        return image
    return image.quantize(64) if mode == "P" else image.convert(mode)


CASES = [
    ("a.png", "RGB", {}), ("a.png", "L", {}), ("a.png", "LA", {}), ("a.png", "RGBA", {}),
    ("a.png", "I;16", {}), ("a.png", "P", {}), ("a.png", "1", {}), ("a.bmp", "RGB", {}),
    ("a.tif", "RGB", {"compression": "tiff_lzw"}), ("a.tif", "CMYK", {}), ("a.jpg", "RGB", {}),
    ("a.jpg", "L", {}), ("a.jpg", "CMYK", {}), ("a.webp", "RGB", {"lossless": True}),
    ("a.webp", "RGB", {"quality": 90}), ("a.gif", "P", {}), ("a.ppm", "RGB", {}),
]  # fmt: skip


@pytest.mark.parametrize("name,mode,options", CASES)
@pytest.mark.parametrize("like", [False, True])
def test_outside_of_the_change_pixels_are_equal_after_decoding(
    tmp_path: Path, name: str, mode: str, options: dict[str, Any], like: bool
) -> None:
    file = tmp_path / name
    picture(mode).save(file, **options)
    done = paste(file, change(), SIZE, NOTES, like)
    again = tmp_path / f"b{done.suffix}"
    again.write_bytes(done.data)
    assert done.suffix == suffix_of(file, like)
    with Image.open(file) as old, Image.open(again) as new:
        assert old.size == new.size
        lossy = name.endswith(".jpg") or options.get("quality")
        if like or (not lossy and name != "a.gif"):
            assert new.format == old.format
            if mode not in ("P", "1"):
                assert new.mode == old.mode
        else:
            assert new.format == "PNG"
        # Pillow clips sixteen bits where it converts them
        a, b = (
            np.asarray(i, int)[..., None] // 256
            if i.mode == "I;16"
            else np.asarray(i.convert("RGB"), int)
            for i in (old, new)
        )
    outside = np.ones(a.shape[:2], bool)
    outside[56:200, 56:200] = False
    moved = np.abs(a - b)
    assert moved[outside].max() <= (12 if like and lossy else 0)
    if mode != "1":
        assert moved[112:144, 112:144].mean() > 5


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_inside_is_the_enlarged_change(tmp_path: Path, mode: str) -> None:
    picture(mode).save(tmp_path / "a.png")
    done = paste(tmp_path / "a.png", change(), SIZE, NOTES)
    (tmp_path / "b.png").write_bytes(done.data)
    a, b = (np.asarray(Image.open(tmp_path / n).convert(mode), int) for n in ("a.png", "b.png"))
    inside = (b - a)[112:144, 112:144]
    expected = [40, 30, -20] if mode != "L" else [round(0.299 * 40 + 0.587 * 30 - 0.114 * 20)]
    assert (inside.reshape(-1, inside.shape[2] if inside.ndim == 3 else 1)[:, :3] == expected).all()


def test_like_the_original_means_its_tables_sampling_and_metadata(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    picture("RGB").save(
        tmp_path / "a.jpg", quality=71, subsampling=2, progressive=True, exif=exif,
        dpi=(300, 300), icc_profile=b"profile", comment=b"mine",
    )  # fmt: skip
    done = paste(tmp_path / "a.jpg", change(), SIZE, NOTES, like_original=True)
    (tmp_path / "b.jpg").write_bytes(done.data)
    with Image.open(tmp_path / "a.jpg") as a, Image.open(tmp_path / "b.jpg") as b:
        assert isinstance(a, JpegImagePlugin.JpegImageFile)
        assert isinstance(b, JpegImagePlugin.JpegImageFile)
        assert a.quantization == b.quantization
        assert JpegImagePlugin.get_sampling(a) == JpegImagePlugin.get_sampling(b) == 2
        for name in ("exif", "dpi", "icc_profile", "comment", "progressive"):
            assert a.info[name] == b.info[name], name
        assert AI_EDITED.encode() in b.info["xmp"]


@pytest.mark.parametrize(
    "name,options", [("a.png", {}), ("a.jpg", {}), ("a.webp", {}), ("a.tif", {})]
)
@pytest.mark.parametrize("like", [False, True])
def test_edits_are_marked_in_every_format_that_can_say_it(
    tmp_path: Path, name: str, options: dict[str, Any], like: bool
) -> None:
    picture("RGB").save(tmp_path / name, **options)
    done = paste(tmp_path / name, change(), SIZE, NOTES, like)
    (tmp_path / f"b{done.suffix}").write_bytes(done.data)
    with Image.open(tmp_path / f"b{done.suffix}") as image:
        tags = getattr(image, "tag_v2", {})
        assert AI_EDITED in str(image.info.get("xmp") or tags[700])
        if done.suffix == ".png":
            assert image.info["Synthetic"] == "edited"


def test_png_text_and_a_packet_of_the_original_stay(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    old = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
        'syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'dc:format="image/png"/></rdf:RDF></x:xmpmeta>'
    )
    info = PngInfo()
    info.add_text("Author", "Grüße")
    info.add_itxt("XML:com.adobe.xmp", old)
    picture("RGB").save(tmp_path / "a.png", pnginfo=info)
    done = paste(tmp_path / "a.png", change(), SIZE, NOTES)
    (tmp_path / "b.png").write_bytes(done.data)
    with Image.open(tmp_path / "b.png") as image:
        assert image.info["Author"] == "Grüße"
        packet = image.info["xmp"] if "xmp" in image.info else image.info["XML:com.adobe.xmp"]
        text = packet.decode() if isinstance(packet, bytes) else packet
        assert "image/png" in text and AI_EDITED in text
        ElementTree.fromstring(text)


def test_a_packet_that_is_none_gives_way() -> None:
    for broken in (b"", b"nonsense", b"</rdf:RDF>"):
        assert mark(broken) == mark()


def test_an_edit_without_change_leaves_every_pixel(tmp_path: Path) -> None:
    picture("RGB").save(tmp_path / "a.jpg")
    done = paste(tmp_path / "a.jpg", change() * 0, SIZE, NOTES)
    (tmp_path / "b.png").write_bytes(done.data)
    a, b = (np.asarray(Image.open(tmp_path / n)) for n in ("a.jpg", "b.png"))
    assert (a == b).all()


def test_the_same_edit_gives_the_same_bytes(tmp_path: Path) -> None:
    picture("RGB").save(tmp_path / "a.jpg")
    for like in (False, True):
        one, two = (paste(tmp_path / "a.jpg", change(), SIZE, NOTES, like) for _ in range(2))
        assert one == two
    small = np.asarray(picture("RGB", SIZE))
    assert as_png(small, NOTES) == as_png(small, NOTES)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(DiffInfError, match=r"a\.png is no picture that an edit can be put onto"):
        paste(tmp_path / "a.png", change(), SIZE, NOTES)


def deep_png(file: Path, depth: int, side: int = 256) -> np.ndarray:
    """Write an RGB PNG of sixteen bits whose values use ``depth`` of them; its levels (H, W, 3)."""
    y, x = np.mgrid[:side, :side]
    levels = np.stack([80 + x / 4, 90 + y / 4, 100 + (x + y) / 8], 2) * (1 << (depth - 8))
    levels = (levels + (x[..., None] + y[..., None]) % 3).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray((levels >> 8).astype(np.uint8)).save(buffer, "PNG", dpi=(72, 72))
    file.write_bytes(with_sixteen_bits(buffer.getvalue(), levels))
    return levels


@pytest.mark.parametrize("depth", [10, 12, 16])
def test_a_colour_picture_of_sixteen_bits_keeps_them_all(tmp_path: Path, depth: int) -> None:
    file, again = tmp_path / "a.png", tmp_path / "b.png"
    levels = deep_png(file, depth)
    done = paste(file, change(), SIZE, NOTES, depth=depth)
    again.write_bytes(done.data)
    with Image.open(file) as old, Image.open(again) as new:
        assert (sixteen_bit_colours(old, file) == levels).all()
        found = sixteen_bit_colours(new, again)
        assert new.info["dpi"] == old.info["dpi"] and new.text["Software"] == "DiffInf"
    assert found is not None
    outside = np.ones(levels.shape[:2], bool)
    outside[56:200, 56:200] = False
    assert (found[outside] == levels[outside]).all()
    centre = found[128, 128].astype(int) - levels[128, 128]
    assert centre.tolist() == [v * (1 << (depth - 8)) for v in (40, 30, -20)]


def test_the_preview_of_what_was_replaced_goes_and_the_rest_of_the_metadata_stays(
    tmp_path: Path,
) -> None:
    small = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(small, "JPEG")
    thumbnail = small.getvalue()
    exif = b"Exif\0\0" + exif_with(thumbnail)
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="3">'
        b"<xmp:Thumbnails><rdf:Alt><rdf:li>QUJD</rdf:li></rdf:Alt></xmp:Thumbnails>"
        b"</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    file = tmp_path / "a.jpg"
    picture("RGB").save(file, exif=exif, xmp=xmp)
    assert thumbnail in file.read_bytes()
    for like in (False, True):
        done = paste(file, change(), SIZE, NOTES, like)
        assert thumbnail not in done.data and thumbnail[-100:-2] not in done.data
        again = tmp_path / f"b{done.suffix}"
        again.write_bytes(done.data)
        with Image.open(again) as new:
            found = new.getexif()
            assert found[271] == "Camera" and not found.get_ifd(1)
            packet = new.info.get("xmp") or new.text["XML:com.adobe.xmp"].encode()
        assert b"Thumbnails" not in packet and b'Rating="3"' in packet


def exif_with(thumbnail: bytes) -> bytes:
    """EXIF with the maker's name, and a JPEG in its second directory."""
    maker = b"Camera\0\0"
    first = struct.pack("<HHHIII", 1, 271, 2, 7, 8 + 18, 8 + 18 + len(maker))
    jpeg = 8 + 18 + len(maker) + 2 + 3 * 12 + 4
    second = struct.pack("<H", 3) + b"".join(
        struct.pack("<HHII", tag, 4, 1, value)
        for tag, value in ((259, 6), (513, jpeg), (514, len(thumbnail)))
    )
    return b"II*\0" + struct.pack("<I", 8) + first + maker + second + bytes(4) + thumbnail


def test_broken_exif_costs_nothing_but_the_previews_in_it() -> None:
    for broken in (b"", b"Exif\0\0", b"Exif\0\0II*\0", b"II*\0\xff\xff\xff\xff", b"nonsense"):
        assert without_thumbnail(broken) == broken
    held = b"Exif\0\0MM\0*\xff\xff\xff\xffabc\xff\xd8\xff\xe0small\xff\xd9xyz"
    found = without_thumbnail(held)
    assert len(found) == len(held) and found.endswith(b"xyz") and b"small" not in found


def test_tags_of_a_tiff_stay(tmp_path: Path) -> None:
    file, again = tmp_path / "a.tif", tmp_path / "b.tif"
    picture("RGB").save(file, tiffinfo={271: "Camera", 315: "Ann", 33432: "CC BY"})
    again.write_bytes(paste(file, change(), SIZE, NOTES).data)
    with Image.open(again) as new:
        assert [new.tag_v2[t] for t in (271, 315, 33432)] == ["Camera", "Ann", "CC BY"]
