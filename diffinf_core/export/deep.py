"""Write PNG files with sixteen bits for each of several channels, which Pillow cannot.

Pillow writes the file, with all of its metadata, in eight bits; here its pixels are replaced.
https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = 8
_UP = 2


def with_sixteen_bits(png: bytes, levels: NDArray[np.uint16]) -> bytes:
    """A PNG file of eight bits with other pixels: ``levels`` (H, W, channels), as many as it has."""
    rows = levels.astype(">u2").reshape(len(levels), -1).view(np.uint8)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.hstack([np.full((len(rows), 1), _UP, np.uint8), rows - above])
    out, at, written = bytearray(png[:_SIGNATURE]), _SIGNATURE, False
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        at += 12 + size
        if kind == b"IHDR":
            content = content[:8] + b"\x10" + content[9:12] + b"\0"
        elif kind == b"IDAT":
            if written:
                continue
            content, written = zlib.compress(filtered.tobytes(), 6), True
        out += struct.pack(">I", len(content)) + kind + content
        out += struct.pack(">I", zlib.crc32(kind + content))
    return bytes(out)
