"""Edited pictures as files among their neighbours: size, mode, orientation and metadata of the original.

Lossless unless asked otherwise: an original in a lossless format gives a file of that format, any other a
PNG. ``like_original`` encodes again as the original was, a JPEG with its own quantisation tables and chroma
subsampling.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, PngImagePlugin

from diffinf_core.data.decode import sixteen_bit_colours
from diffinf_core.data.kinds import readable
from diffinf_core.export.deep import with_sixteen_bits
from diffinf_core.export.marks import mark
from diffinf_core.export.names import fitting_suffix
from diffinf_core.export.pasting import (
    Floats,
    Placement,
    add_change,
    aligned,
    centre_crop,
    placed,
    reduced,
)
from diffinf_core.export.thumbnails import without_preview, without_thumbnail
from diffinf_core.records import DiffInfError

_LOSSLESS = {"PNG", "BMP", "TIFF", "PPM"}
_ORIENTATION = 0x0112
_XMP_TEXT = "XML:com.adobe.xmp"
#: modes by their number of channels
_DEEP = {2: "LA", 3: "RGB", 4: "RGBA"}
#: older programs write EXIF and XMP as hexadecimal text of a PNG
_RAW = ("Raw profile type exif", "Raw profile type APP1", "Raw profile type xmp")
#: description, make, model, software, date, artist, copyright
_TIFF_TAGS = (270, 271, 272, 305, 306, 315, 33432)


@dataclass(frozen=True)
class Encoded:
    """A picture file to be written: its bytes and the suffix that its format has."""

    data: bytes
    suffix: str


def open_stored(path: Path) -> Image.Image:
    """A picture as it is stored, not turned upright; :class:`DiffInfError` for none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(path, formats=readable())
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DiffInfError(
            f"{path} is no picture that an edit can be put onto ({error})."
        ) from error


def suffix_of(path: Path, like_original: bool = False) -> str:
    """The suffix of the file that :func:`paste` makes for an original."""
    with open_stored(path) as image:
        form = _form(image)
        if like_original or form in _LOSSLESS or _is_lossless_webp(path):
            return fitting_suffix(path.suffix, form)
    return ".png"


def _form(image: Image.Image) -> str:
    # telephones add further pictures behind a JPEG
    return "JPEG" if image.format == "MPO" else str(image.format)


def _is_lossless_webp(path: Path) -> bool:
    with open(path, "rb") as file:
        head = file.read(64)
    return head[8:12] == b"WEBP" and b"VP8L" in head


def paste(
    original: Path,
    change: Floats,
    size: int,
    notes: Mapping[str, str],
    like_original: bool = False,
    depth: int = 16,
    alignment: NDArray[np.float64] | None = None,
) -> Encoded:
    """The original with a change (S, S, 3), in levels of 255, made at working ``size``; marked as AI-edited.

    ``notes`` are text entries of a PNG; files with more than eight bits use ``depth`` of them; ``alignment``
    (2, 3) says how a face was framed. Pixels that the change does not reach keep their values.
    """
    with open_stored(original) as image:
        form, lossless_webp = _form(image), _is_lossless_webp(original)
        width, height = image.size
        placement = _placement(original, image, size, alignment)
        palette = image.copy() if image.mode == "P" else None
        mode = _editable_mode(image)
        levels = sixteen_bit_colours(image, original)
        if levels is not None:
            pixels = levels.astype(np.uint16)
            mode = _DEEP[levels.shape[2]]  # Pillow may have opened another
        else:
            pixels = np.array(image if image.mode == mode else image.convert(mode))
        touched = np.zeros((height, width), bool) if palette is not None else None
        for rows, columns, band in placed(change, placement, width, height):
            pixels[rows, columns] = add_change(pixels[rows, columns], mode, band, depth)
            if touched is not None:
                touched[rows, columns] = np.rint(band).any(2)
        kept = _metadata(image)
        if levels is not None:
            high = Image.fromarray((pixels >> 8).astype(np.uint8), mode)
            data = with_sixteen_bits(_saved(high, "PNG", kept, notes, {}), pixels)
            return Encoded(data, suffix_of(original))
        edited = Image.fromarray(pixels, None if mode.startswith("I") else mode)
        if like_original:
            if palette is not None and touched is not None:
                edited = _quantised(edited, palette, touched)
            suffix = fitting_suffix(original.suffix, form)
            return _like(image, edited, form, kept, notes, suffix, lossless_webp)
        if lossless_webp:
            form = "WEBP"
        elif form not in _LOSSLESS:
            form = "PNG"
        suffix = suffix_of(original)
        if form == "PNG" and mode == "CMYK":
            edited = edited.convert("RGB")
            kept.pop("icc_profile", None)  # of inks
        options: dict[str, Any] = {"lossless": True, "exact": True} if form == "WEBP" else {}
        if form == "TIFF":
            given = str(image.info.get("compression", "raw"))
            options["compression"] = "tiff_deflate" if "jpeg" in given else given
        return Encoded(_saved(edited, form, kept, notes, options), suffix)


def _placement(
    original: Path, image: Image.Image, size: int, alignment: NDArray[np.float64] | None
) -> Placement:
    if alignment is not None:
        return aligned(alignment, image.width, image.height, _orientation(image))
    seen = _decoded_size(original, size)
    placement = centre_crop(*seen, size, _orientation(image))
    return reduced(placement, round(image.width / seen[0]))


def as_png(picture: NDArray[np.uint8], notes: Mapping[str, str]) -> Encoded:
    """An edit at working size, (S, S, 3), as PNG; marked as AI-edited."""
    return Encoded(_saved(Image.fromarray(picture), "PNG", {"xmp": mark()}, notes, {}), ".png")


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # Pillow turns it upright itself, and gives the size of that
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a broken EXIF costs no picture
        return 1


def _decoded_size(path: Path, size: int) -> tuple[int, int]:
    """Width and height at which :func:`diffinf_core.data.decode.decode` reads a picture."""
    with open_stored(path) as image:
        image.draft("RGB", (2 * size, 2 * size))
        return image.size


def _editable_mode(image: Image.Image) -> str:
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK") or image.mode.startswith("I"):
        return image.mode
    if image.mode == "1":
        return "L"
    return "RGBA" if "A" in image.getbands() or "transparency" in image.info else "RGB"


def _quantised(
    edited: Image.Image, palette: Image.Image, touched: NDArray[np.bool_]
) -> Image.Image:
    """Back to the original's palette; pixels that were not touched keep their entry."""
    again = edited.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE)
    entries = np.where(touched, np.asarray(again), np.asarray(palette)).astype(np.uint8)
    out = Image.fromarray(entries, "P")
    out.putpalette(palette.getpalette() or [])
    if "transparency" in palette.info:
        out.info["transparency"] = palette.info["transparency"]
    return out


def _metadata(image: Image.Image) -> dict[str, Any]:
    """What a file of the original's kind says beside its pixels, as arguments of ``save``."""
    info = image.info
    xmp = info.get("xmp") or info.get(_XMP_TEXT) or b""
    packet = xmp.encode() if isinstance(xmp, str) else xmp
    out: dict[str, Any] = {"xmp": mark(without_preview(packet))}
    for name in ("exif", "icc_profile", "dpi", "comment"):
        if info.get(name):
            out[name] = info[name]
    if "exif" not in out and _RAW[0] in info:
        out["exif"] = _from_raw(str(info[_RAW[0]]))
    if out.get("exif"):
        out["exif"] = without_thumbnail(out["exif"])
    tags = getattr(image, "tag_v2", {})
    out["tags"] = {tag: tags[tag] for tag in _TIFF_TAGS if tag in tags}
    if isinstance(image, PngImagePlugin.PngImageFile):
        out["text"] = {k: str(v) for k, v in image.text.items() if k not in (_XMP_TEXT, *_RAW)}
    return out


def _from_raw(text: str) -> bytes:
    """EXIF from a text entry: its name, its length, then hexadecimal digits; nothing from a broken one."""
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return b""


def _like(
    image: Image.Image,
    edited: Image.Image,
    form: str,
    kept: dict[str, Any],
    notes: Mapping[str, str],
    suffix: str,
    lossless_webp: bool,
) -> Encoded:
    options: dict[str, Any] = {}
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        options["qtables"] = image.quantization
        if (sampling := JpegImagePlugin.get_sampling(image)) >= 0:
            options["subsampling"] = sampling
        options["progressive"] = bool(image.info.get("progressive"))
    elif form == "WEBP":
        options = {"lossless": True, "exact": True} if lossless_webp else {"quality": 80}
    elif form == "TIFF":
        options["compression"] = image.info.get("compression", "raw")
    return Encoded(_saved(edited, form, kept, notes, options), suffix)


def _saved(
    image: Image.Image,
    form: str,
    kept: dict[str, Any],
    notes: Mapping[str, str],
    options: dict[str, Any],
) -> bytes:
    given = {k: v for k, v in kept.items() if k not in ("text", "xmp", "comment", "tags")}
    if form == "PNG":
        text = PngImagePlugin.PngInfo()
        for key, value in {**kept.get("text", {}), **notes}.items():
            text.add_itxt(key, value) if not value.isascii() else text.add_text(key, value)
        text.add_itxt(_XMP_TEXT, kept["xmp"].decode())
        given["pnginfo"] = text
    elif form in ("JPEG", "WEBP", "AVIF"):
        given["xmp"] = kept["xmp"]
        if form == "JPEG" and "comment" in kept:
            given["comment"] = kept["comment"]
    elif form == "TIFF":
        given["tiffinfo"] = {**kept["tags"], 700: kept["xmp"]}
        given.pop("exif", None)  # the tags of the file itself
    elif form in ("BMP", "PPM", "GIF"):  # they hold no XMP; the manifest says it
        given = {k: v for k, v in given.items() if k == "dpi" and form == "BMP"}
    out = io.BytesIO()
    image.save(out, form, **given, **options)
    return out.getvalue()


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture as the eye sees it; its pixels are not decoded."""
    with open_stored(path) as image:
        width, height = image.size
        return (height, width) if _orientation(image) in (5, 6, 7, 8) else (width, height)
