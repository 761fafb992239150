"""No small copy of the original stays inside an edited file, in whatever way it was put there."""

from __future__ import annotations

import base64
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from diffinf_core.export.encoding import paste
from diffinf_core.export.marks import AI_EDITED
from diffinf_core.export.thumbnails import without_preview, without_thumbnail

SIZE = 32
TEXT = b"Camera\0"


def thumbnail() -> bytes:
    """A JPEG such as cameras put into EXIF."""
    out = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (24, 32, 3)).astype(np.uint8)
    Image.fromarray(noise).save(out, "JPEG")
    return out.getvalue()


def exif(
    order: str, second: list[tuple[int, int, int, int]], blob: bytes, own: bytes = b""
) -> bytes:
    """EXIF with a make, an orientation, a maker note, and a second directory with these entries.

    ``second`` holds tag, type, count and value; a value of -1 is where ``blob`` lies.
    """
    first = [(0x010F, 2, len(TEXT), -2), (0x0112, 3, 1, 6), (0x927C, 7, max(1, len(own)), -3)]
    heap = 8 + 2 + 12 * len(first) + 4 + 2 + 12 * len(second) + 4
    at = {-2: heap, -3: heap + len(TEXT), -1: heap + len(TEXT) + len(own)}
    out = b"MM" if order == ">" else b"II"
    out += struct.pack(order + "HI", 42, 8)
    follow = [8 + 2 + 12 * len(first) + 4, 0]
    for entries, following in zip((first, second), follow, strict=True):
        out += struct.pack(order + "H", len(entries))
        for tag, kind, count, value in entries:
            out += struct.pack(order + "HHI", tag, kind, count)
            if kind == 3 and value >= 0:
                out += struct.pack(order + "HH", value, 0)
            else:
                out += struct.pack(order + "I", at.get(value, value))
        out += struct.pack(order + "I", following)
    return b"Exif\0\0" + out + TEXT + own + blob


def jpeg_entries(blob: bytes) -> list[tuple[int, int, int, int]]:
    """The directory of a JPEG thumbnail."""
    return [(0x0103, 3, 1, 6), (0x0201, 4, 1, -1), (0x0202, 4, 1, len(blob))]


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("cut", [0, 40])
def test_a_jpeg_thumbnail_is_gone_and_the_other_tags_stay(order: str, cut: int) -> None:
    """``cut``: one whose end is missing, as some cameras write them."""
    blob = thumbnail()[: -cut or None]
    given = exif(order, jpeg_entries(blob), blob)
    assert Image.Exif() is not None and blob in given
    left = without_thumbnail(given)
    assert len(left) == len(given) and blob not in left and left.endswith(bytes(len(blob)))
    parsed = Image.Exif()
    parsed.load(left)
    assert parsed[0x010F] == "Camera" and parsed[0x0112] == 6
    assert not parsed.get_ifd(1)


@pytest.mark.parametrize("order", [">", "<"])
def test_an_uncompressed_thumbnail_is_gone(order: str) -> None:
    blob = bytes(range(1, 200))
    entries = [(0x0103, 3, 1, 1), (0x0111, 4, 1, -1), (0x0117, 4, 1, len(blob))]
    left = without_thumbnail(exif(order, entries, blob))
    assert blob not in left and left.endswith(bytes(len(blob)))


def test_a_preview_in_a_maker_note_is_gone() -> None:
    left = without_thumbnail(exif(">", [], b"", own=b"Maker" + thumbnail()))
    assert thumbnail() not in left and b"Maker" in left and b"\xff\xd8\xff" not in left


@pytest.mark.parametrize("given", [b"", b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"x" * 40])
def test_broken_exif_is_no_error_and_keeps_its_bytes(given: bytes) -> None:
    assert without_thumbnail(given) == given


def test_exif_without_previews_keeps_every_byte() -> None:
    plain = Image.Exif()
    plain[0x010F], plain[0x0112] = "Camera", 6
    assert without_thumbnail(plain.tobytes()) == plain.tobytes()


PACKET = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    'syntax-ns#"><rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:g="http://ns.adobe.com/xap/1.0/g/img/" '
    'xmlns:GImage="http://ns.google.com/photos/1.0/image/" dc:format="image/jpeg"{0}>{1}'
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def packets() -> dict[str, str]:
    """XMP packets that hold a picture: an editor's thumbnail, an attribute, a list under another name."""
    text = base64.b64encode(thumbnail()).decode()
    lines = "&#xA;".join(text[i : i + 76] for i in range(0, len(text), 76))
    return {
        "editor": PACKET.format(
            "",
            "<xmp:Thumbnails><rdf:Alt><rdf:li rdf:parseType='Resource'><g:image>"
            f"{lines}</g:image></rdf:li></rdf:Alt></xmp:Thumbnails>",
        ),
        "telephone": PACKET.format(f' GImage:Data="{text}"', ""),
        "other": PACKET.format("", f"<g:image>{text}</g:image>"),
    }


@pytest.mark.parametrize("kind", ["editor", "telephone", "other"])
def test_a_packet_without_its_picture_is_still_one(kind: str) -> None:
    from xml.etree import ElementTree

    left = without_preview(packets()[kind].encode())
    assert b"/9j/" not in left and b'dc:format="image/jpeg"' in left
    ElementTree.fromstring(left.decode())
    assert without_preview(PACKET.format("", "").encode()) == PACKET.format("", "").encode()


def pasted(path: Path, like: bool) -> bytes:
    """The file of an edit of a picture."""
    change = np.zeros((SIZE, SIZE, 3), np.float32)
    change[12:20, 12:20] = 40
    return paste(path, change, SIZE, {}, like).data


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
@pytest.mark.parametrize("like", [False, True])
def test_an_edited_file_shows_the_original_nowhere(tmp_path: Path, name: str, like: bool) -> None:
    blob = thumbnail()
    given = exif(">", jpeg_entries(blob), blob, own=b"Maker" + blob)
    image = Image.fromarray(
        np.random.default_rng(0).integers(90, 160, (64, 64, 3)).astype(np.uint8)
    )
    packet = packets()["editor"]
    if name == "a.png":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", packet)
        image.save(tmp_path / name, exif=given, pnginfo=text)
    else:
        image.save(tmp_path / name, exif=given, xmp=packet.encode())
    assert blob in (tmp_path / name).read_bytes()
    data = pasted(tmp_path / name, like)
    assert blob not in data and base64.b64encode(blob)[:40] not in data
    assert AI_EDITED.encode() in data
    with Image.open(io.BytesIO(data)) as out:
        assert out.getexif()[0x010F] == "Camera" and not out.getexif().get_ifd(1)
        assert b"image/jpeg" in data


@pytest.mark.parametrize("key", ["Raw profile type exif", "Raw profile type APP1"])
def test_exif_in_a_text_entry_of_a_png_becomes_exif_without_its_thumbnail(
    tmp_path: Path, key: str
) -> None:
    blob = thumbnail()
    given = exif(">", jpeg_entries(blob), blob)
    text = PngImagePlugin.PngInfo()
    text.add_text(key, f"\nexif\n{len(given):8d}\n{given.hex()}\n")
    image = Image.fromarray(np.full((64, 48, 3), 120, np.uint8))
    image.save(tmp_path / "a.png", pnginfo=text)
    data = pasted(tmp_path / "a.png", False)
    assert blob.hex().encode() not in data and blob not in data
    with Image.open(io.BytesIO(data)) as out:
        out.load()
        assert key not in out.text
        if key.endswith("exif"):  # the one that readers turn pictures by
            assert out.getexif()[0x0112] == 6


def test_a_tiff_keeps_its_description_and_not_its_orientation(tmp_path: Path) -> None:
    """Pillow turns the pixels of a TIFF upright; the tag would turn them again."""
    tags = {270: "at the sea", 271: "Maker", 272: "Model", 305: "scanner", 306: "2020:01:01 00:00:00",
            315: "Ann", 33432: "(c) Ann", 274: 6}  # fmt: skip
    image = Image.fromarray(np.full((48, 64, 3), 120, np.uint8))
    image.save(tmp_path / "a.tif", tiffinfo=tags, dpi=(200, 200))
    for like in (False, True):
        with Image.open(io.BytesIO(pasted(tmp_path / "a.tif", like))) as out:
            written = dict(out.tag_v2)
            assert {tag: written[tag] for tag in tags if tag != 274} == {
                tag: value for tag, value in tags.items() if tag != 274
            }
            assert 274 not in written and out.size == (48, 64)
            assert round(out.info["dpi"][0]) == 200 and AI_EDITED in str(written[700])
