"""Figures of a picture file that need none of its pixels. The mark that says AI-edited is not among them."""

from __future__ import annotations

import io
import math
import struct

from PIL import Image, JpegImagePlugin

#: the figures, in their order
NAMES = (
    "format", "mode", "width", "height", "bytes per pixel", "EXIF", "colour profile", "resolution",
    "JPEG quantisation", "chroma subsampling", "progressive", "interlaced",
)  # fmt: skip
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "HEIF")
_MODES = ("L", "LA", "RGB", "RGBA", "P", "PA", "CMYK", "1", "I", "I;16", "F")


def coded_bytes(data: bytes) -> int:
    """Bytes that hold pixels; of a JPEG, PNG or WebP without metadata, so that no mark counts."""
    if data.startswith(b"\x89PNG"):
        return sum(n for kind, n in _png_chunks(data) if kind == b"IDAT")
    if data.startswith(b"\xff\xd8"):
        return len(data) - _jpeg_metadata(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return sum(n for kind, n in _riff_chunks(data) if kind in (b"VP8 ", b"VP8L", b"ALPH"))
    return len(data)


def _png_chunks(data: bytes) -> list[tuple[bytes, int]]:
    out, at = [], 8
    while at + 8 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        out.append((data[at + 4 : at + 8], size))
        at += 12 + size
    return out


def _riff_chunks(data: bytes) -> list[tuple[bytes, int]]:
    out, at = [], 12
    while at + 8 <= len(data):
        (size,) = struct.unpack("<I", data[at + 4 : at + 8])
        out.append((data[at : at + 4], size))
        at += 8 + size + size % 2
    return out


def _jpeg_metadata(data: bytes) -> int:
    """Bytes of the application and comment segments before the first scan."""
    at, out = 2, 0
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        marker = data[at + 1]
        size = int.from_bytes(data[at + 2 : at + 4], "big") + 2
        if 0xE0 <= marker <= 0xEF or marker == 0xFE:
            out += size
        at += size
    return out


def properties(data: bytes) -> list[float]:
    """The figures :data:`NAMES` of a picture file, given as its bytes."""
    with Image.open(io.BytesIO(data)) as image:
        info = image.info
        tables, sampling = 0.0, -1.0
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            tables = float(sum(sum(table) for table in image.quantization.values()))
            sampling = float(JpegImagePlugin.get_sampling(image))
        dpi = info.get("dpi", (0, 0))
        return [
            float(_index(_FORMATS, str(image.format))),
            float(_index(_MODES, image.mode.split(";")[0] if image.mode != "I;16" else "I;16")),
            float(image.width),
            float(image.height),
            math.log(coded_bytes(data) / (image.width * image.height)),
            float(bool(info.get("exif"))),
            float(bool(info.get("icc_profile"))),
            float(dpi[0]) if isinstance(dpi, tuple) else 0.0,
            tables,
            sampling,
            float(bool(info.get("progressive"))),
            float(bool(info.get("interlace"))),
        ]


def _index(known: tuple[str, ...], name: str) -> int:
    return known.index(name) if name in known else len(known)
