"""What kind of file this is, by its first bytes: a name may say anything."""

from __future__ import annotations

import contextlib
import os
from functools import lru_cache
from pathlib import Path

#: formats that are decoded, as Pillow names them; for some others it would run external programs
READABLE = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "PPM")
#: suffixes under which people keep them; a file of such a name that holds something else is a problem
PICTURE_SUFFIXES = frozenset({
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif",
    ".avif", ".avifs", ".ppm", ".pgm", ".pbm", ".pnm",
})  # fmt: skip
#: pictures for which there is no decoder here, by suffix
OTHER_PICTURES = frozenset({
    ".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".svg", ".psd", ".xcf", ".raw", ".cr2", ".cr3", ".nef",
    ".arw", ".dng", ".orf", ".rw2", ".raf", ".exr", ".hdr", ".tga", ".ico", ".eps", ".dcm", ".npy",
})  # fmt: skip
#: as much of a file as is read to know its kind
HEAD = 32
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"), (b"8BPS", "PSD"),
    (b"\xff\x0a", "JXL"), (b"\0\0\0\x0cJXL ", "JXL"), (b"\0\0\0\x0cjP  ", "JPEG2000"),
)  # fmt: skip


@lru_cache(maxsize=1)
def has_heif() -> bool:
    """Whether HEIC pictures can be decoded; registers the decoder of the extra ``heic``."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def readable() -> tuple[str, ...]:
    """The formats that can be decoded on this machine, as Pillow names them."""
    return (*READABLE, "HEIF") if has_heif() else READABLE


def kind_of(head: bytes) -> str | None:
    """The format of a picture from its first :data:`HEAD` bytes, None for what is no picture."""
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        brands = {head[8:12], *(head[i : i + 4] for i in range(16, len(head) - 3, 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIF" if brands & _HEIF_BRANDS else None
    # two letters are too few to tell: what follows them must fit, too
    if head[:2] == b"BM" and head[14:18] in (b"\x0c\0\0\0", b"(\0\0\0", b"l\0\0\0", b"|\0\0\0"):
        return "BMP"
    if len(head) > 2 and head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PPM"
    return None


def kind_of_file(path: str | Path) -> str | None:
    """:func:`kind_of` a file; None where it cannot be read."""
    with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
        return kind_of(file.read(HEAD))
    return None


def is_candidate(path: str | os.PathLike[str]) -> bool:
    """Whether a file is taken for a picture: its suffix says so, or its content is one that can be decoded.

    A picture's suffix is enough, so that a broken picture is named rather than passed over.
    """
    name = os.fspath(path)
    return os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES or kind_of_file(name) in readable()  # noqa: PTH122


def left_out_kind(path: str) -> str:
    """The kind of a file that is no picture, for a count: its suffix, or what its content says."""
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122
    if suffix:
        return suffix
    kind = kind_of_file(path)
    return f".{kind.lower()}" if kind else "without suffix"


def why_unreadable(path: Path) -> str | None:
    """What a person can do about a picture that no decoder here reads; None where nothing is known."""
    kind = kind_of_file(path)
    if kind == "HEIF" and not has_heif():
        return "HEIC needs: pip install 'diffinf-core[heic]'"
    if kind is not None and kind not in readable():
        return f"{kind} pictures cannot be read; convert it to PNG or JPEG"
    return None
