"""Take the small copies of a picture out of its metadata: an edit must not carry what it replaced.

Cameras keep a thumbnail in the second directory of EXIF, makers further previews in notes of their own,
editors and telephones pictures in XMP. Everything else of the metadata keeps its bytes and its place.
https://www.cipa.jp/std/documents/e/DC-X008-Translation-2019-E.pdf, section 4.5
"""

from __future__ import annotations

import re
import struct

_PREFIX = b"Exif\0\0"
_JPEG = re.compile(rb"\xff\xd8\xff.*\xff\xd9", re.DOTALL)
_XMP = re.compile(rb"<(\w+):Thumbnails\b.*?</\1:Thumbnails>", re.DOTALL)
#: a JPEG in base64, in which line ends may be written as entities
_XMP_JPEG = re.compile(rb"/9j/(?:[A-Za-z0-9+/=\s]|&#[xX]?[0-9A-Fa-f]{1,4};){16,}")
#: tags of where a thumbnail lies and how long it is: strips, and a JPEG
_PLACES = ((0x0111, 0x0117), (0x0201, 0x0202))


def without_thumbnail(exif: bytes) -> bytes:
    """EXIF whose previews are zeroes and whose second directory nothing points to; of the same length."""
    start = len(_PREFIX) if exif.startswith(_PREFIX) else 0
    out = bytearray(exif)
    try:
        for begin, end in _unlinked(out, start):
            out[begin:end] = bytes(len(out[begin:end]))
    except struct.error:  # a broken one is kept, less the JPEGs in it
        pass
    return _JPEG.sub(lambda found: bytes(len(found.group())), bytes(out))


def without_preview(xmp: bytes) -> bytes:
    """An XMP packet without thumbnails and other JPEGs, such as a picture before it was blurred."""
    return _XMP_JPEG.sub(b"", _XMP.sub(b"", xmp))


def _unlinked(exif: bytearray, start: int) -> list[tuple[int, int]]:
    """Unlink the second directory; where the thumbnail that it describes lies."""
    order = "<" if exif[start : start + 2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", exif, start + 4)
    (entries,) = struct.unpack_from(order + "H", exif, start + first)
    link = start + first + 2 + 12 * entries
    (second,) = struct.unpack_from(order + "I", exif, link)
    if not second:
        return []
    struct.pack_into(order + "I", exif, link, 0)
    values = _numbers(exif, start, start + second, order)
    return [
        (start + offset, start + offset + n)
        for offsets, counts in _PLACES
        for offset, n in zip(values.get(offsets, []), values.get(counts, []), strict=False)
    ]


def _numbers(exif: bytearray, start: int, at: int, order: str) -> dict[int, list[int]]:
    """The values of each tag of a directory that holds short or long integers."""
    out: dict[int, list[int]] = {}
    (entries,) = struct.unpack_from(order + "H", exif, at)
    for k in range(entries):
        tag, kind, count = struct.unpack_from(order + "HHI", exif, at + 2 + 12 * k)
        if kind not in (3, 4) or count > len(exif):
            continue
        form = f"{order}{count}{'H' if kind == 3 else 'I'}"
        value = at + 10 + 12 * k
        if struct.calcsize(form) > 4:
            value = start + struct.unpack_from(order + "I", exif, value)[0]
        out[tag] = list(struct.unpack_from(form, exif, value))
    return out
