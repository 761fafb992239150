"""Pictures as they are decoded: upright, RGB, eight bits, whatever the file holds; bombs stay closed.

Values of more than eight bits are scaled by the bits that the data set uses, not by those that its files
could hold: ten-bit values in a sixteen-bit file would otherwise come out black.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from diffinf_core.data.kinds import readable, why_unreadable
from diffinf_core.records import DiffInfError

MAX_FILE_BYTES = 500_000_000
#: numbers of bits that cameras and scanners use
DEPTHS = (8, 10, 12, 14, 16)
_BITS_PER_SAMPLE = 258
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Pixels:
    """How pixels are read: the ``depth`` in bits of files with more than eight, and the size that is allowed.

    Pictures of more than ``megapixels`` are refused, but for JPEGs that are read reduced, which may have up
    to 178 million pixels.
    """

    depth: int = 16
    megapixels: float = 100.0


PLAIN = Pixels()


def open_upright(
    path: Path, draft: int | None = None, pixels: Pixels = PLAIN, raw: bytes | None = None
) -> Image.Image:
    """A picture as the eye sees it: upright, RGB, eight bits, transparency over white; at its own size.

    With ``draft`` a JPEG may come smaller, with sides of at least that many pixels. ``raw`` are the file's
    bytes where they have been read. Raises :class:`DiffInfError` with the reason for a file that is no
    picture, is broken or too large; decompression bombs are not decompressed.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DiffInfError("the file is too large for a picture")
        with warnings.catch_warnings():
            # of broken metadata, and of sizes: the limit is ours, and Pillow's error at twice its own stands
            warnings.simplefilter("ignore")
            source = path if raw is None else io.BytesIO(raw)
            with Image.open(source, formats=readable()) as image:
                _check_size(image, draft, pixels)
                deep = sixteen_bit_colours(image, path, raw)
                if deep is not None:
                    return _upright(_scaled(deep, pixels.depth), image)
                if draft is not None:
                    image.draft("RGB", (draft, draft))
                image.load()
                return _upright(_to_rgb(image, pixels.depth), image)
    except DiffInfError:
        raise
    except Image.DecompressionBombError as error:
        count = re.search(r"\d+", str(error))
        size = f" {int(count.group()) / 1e6:,.0f}" if count else ""
        raise DiffInfError(
            f"too large: it has{size} megapixels, and more than 178 are never read"
        ) from error
    except Exception as error:
        known = why_unreadable(path) or f"not a readable picture ({type(error).__name__})"
        raise DiffInfError(known) from error


def decode(path: Path, size: int, pixels: Pixels = PLAIN) -> NDArray[np.uint8]:
    """A picture as uint8 (size, size, 3): :func:`open_upright`, centre-cropped to a square, resized."""
    return _square(open_upright(path, 2 * size, pixels), size)


def read_bytes(path: Path) -> bytes:
    """A picture's file; :class:`DiffInfError` for one that is too large or cannot be opened."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DiffInfError("the file is too large for a picture")
        return path.read_bytes()
    except OSError as error:
        raise DiffInfError(f"cannot be read ({error.strerror or error})") from error


def decode_bytes(path: Path, raw: bytes, size: int, pixels: Pixels) -> NDArray[np.uint8]:
    """:func:`decode` of a file whose bytes have been read."""
    return _square(open_upright(path, 2 * size, pixels, raw), size)


def decode_with_digest(path: Path, size: int, pixels: Pixels) -> tuple[NDArray[np.uint8], str]:
    """:func:`decode` and the SHA-256 of the bytes that were decoded, read once."""
    raw = read_bytes(path)
    return decode_bytes(path, raw, size, pixels), hashlib.sha256(raw).hexdigest()


def _square(upright: Image.Image, size: int) -> NDArray[np.uint8]:
    return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS), np.uint8)


def _check_size(image: Image.Image, draft: int | None, pixels: Pixels) -> None:
    count = image.width * image.height
    reduced = draft is not None and image.format == "JPEG"
    if count > pixels.megapixels * 1e6 and not reduced:
        raise DiffInfError(
            f"{image.width} x {image.height} pixels are too large: {count / 1e6:,.1f} megapixels, and "
            f"data.max_megapixels is {pixels.megapixels:g}"
        )


def _upright(image: Image.Image, source: Image.Image) -> Image.Image:
    """Turned as the EXIF orientation of ``source`` says; broken EXIF says nothing."""
    try:
        turn = _TURNS.get(source.getexif().get(_ORIENTATION, 1))
    except Exception:  # whatever a parser of broken data raises: the pixels are fine
        return image
    return image if turn is None else image.transpose(turn)


def sixteen_bit_colours(
    image: Image.Image, path: Path, raw: bytes | None = None
) -> NDArray[np.int64] | None:
    """Levels (H, W, C) of a PNG with sixteen bits for each of several channels; None for any other file.

    Pillow keeps their high bytes alone, which are black where fewer bits are used.
    """
    if image.format != "PNG" or image.mode not in ("RGB", "RGBA", "LA"):
        return None
    start = raw[:26] if raw is not None else _head(path)
    if len(start) < 26 or start[24] != 16:
        return None
    import torch
    from torchvision.io import ImageReadMode, decode_image

    content = torch.frombuffer(bytearray(raw or path.read_bytes()), dtype=torch.uint8)
    levels = decode_image(content, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
    return levels.astype(np.int64)


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(26)


def _scaled(levels: NDArray[np.int64], depth: int) -> Image.Image:
    """Levels (H, W) or (H, W, C) of ``depth`` bits as an RGB picture of eight."""
    if int(levels.max(initial=0)) >= 1 << depth:
        raise DiffInfError(
            f"has values up to {int(levels.max())}, and data.bit_depth={depth} goes to {(1 << depth) - 1}"
        )
    eight = (levels >> (depth - 8)).astype(np.uint8)
    if not eight.any() and levels.any():
        raise DiffInfError(
            f"has values up to {int(levels.max())}, which are black among the {depth} bits of the other "
            "pictures; save it with their range"
        )
    if eight.ndim == 3 and eight.shape[2] in (2, 4):
        return _over_white(Image.fromarray(eight, "LA" if eight.shape[2] == 2 else "RGBA"))
    return Image.fromarray(
        eight[..., 0] if eight.ndim == 3 and eight.shape[2] == 1 else eight
    ).convert("RGB")


def _to_rgb(image: Image.Image, depth: int) -> Image.Image:
    """Eight bits, three channels, transparency over white; of a picture with its pixels loaded."""
    if image.mode == "F":
        raise DiffInfError("floating-point pixels have no known range")
    if image.mode.startswith("I"):
        return _scaled(_levels(image), depth)
    if image.format == "TIFF" and image.mode in ("RGB", "RGBA"):
        _refuse_dark_sixteen_bits(image)
    if "A" in image.getbands() or "transparency" in image.info:
        return _over_white(image.convert("RGBA"))
    return image.convert("RGB")


def _levels(image: Image.Image) -> NDArray[np.int64]:
    levels = np.asarray(image).astype(np.int64)
    if levels.min(initial=0) < 0 or levels.max(initial=0) > 65535:
        raise DiffInfError("has more than sixteen bits per pixel")
    return levels


def _over_white(image: Image.Image) -> Image.Image:
    over = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")


def _refuse_dark_sixteen_bits(image: Image.Image) -> None:
    """Of a colour TIFF with sixteen bits Pillow keeps the high bytes, so fewer bits cannot be scaled."""
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, ())
    brightest = int(np.asarray(image).max(initial=0))
    if bits and max(bits) == 16 and brightest < 64:
        raise DiffInfError(
            "a colour TIFF of 16 bits that uses 14 of them at most; save it as PNG, or with 8 bits"
        )


def highest_level(path: Path, pixels: Pixels = PLAIN) -> int | None:
    """The highest value of a picture with more than eight bits; None for eight bits and unreadable files.

    Costs a header for most files, and the pixels of the others.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(26)
        png, tiff, pnm = (
            start[:4] == b"\x89PNG",
            start[:4] in (b"II*\0", b"MM\0*"),
            start[:1] == b"P",
        )
        if not (tiff or pnm or (png and start[24:25] == b"\x10")):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=readable()) as image:
                if image.width * image.height > pixels.megapixels * 1e6:
                    return None
                deep = sixteen_bit_colours(image, path, None)
                if deep is None and image.mode.startswith("I"):
                    deep = _levels(image)
                return None if deep is None else int(deep.max(initial=0))
    except Exception:  # it is named when it is decoded
        return None


def depth_of(highest: int) -> int:
    """The bits that values up to ``highest`` use, one of :data:`DEPTHS`."""
    return next((depth for depth in DEPTHS if highest < 1 << depth), 16)
