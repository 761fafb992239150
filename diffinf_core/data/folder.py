"""Rows of a data set, its table of labels, and pictures as they are decoded."""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from diffinf_core.config import DataConfig
from diffinf_core.data.kinds import readable, why_unreadable
from diffinf_core.data.table import (
    MAX_CELL,
    MAX_FILE_NAME,
    MAX_LABEL,
    bad_text,
    read_table,
    shown,
)
from diffinf_core.records import DiffInfError

MAX_PIXELS = 64_000_000
MAX_FILE_BYTES = 500_000_000
FILE_COLUMN = "file"


@dataclass(frozen=True)
class Row:
    """One labelled picture: ``file`` relative to the root, ``extra`` the other columns as text.

    ``split`` is train, val or test where the data set gives it, else empty.
    """

    file: str
    label: str
    extra: dict[str, str] = field(default_factory=dict)
    split: str = ""

    @property
    def id(self) -> str:
        """Twelve hex digits that stay the same wherever the folder lies."""
        return hashlib.sha256(self.file.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Problem:
    """One problem of a data set; ``row`` is the line of the table, or None."""

    row: int | None
    file: str
    reason: str

    def __str__(self) -> str:
        return (f"row {self.row}: " if self.row else "") + f"{shown(self.file)}: {self.reason}"


@dataclass(frozen=True)
class Listing:
    """What a folder holds: good rows, problems, class order and pictures without a label.

    ``taken_for`` says what the folder was taken for, ``remarks`` what was passed over, a sentence each, and
    ``lost`` counts pictures and films, by kind, that nothing here can read.
    """

    root: Path
    rows: list[Row]
    problems: list[Problem]
    classes: list[str]
    unlabelled: int
    taken_for: str = ""
    remarks: tuple[str, ...] = ()
    lost: dict[str, int] = field(default_factory=dict)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that the file system cannot hold
        return False


def inside(root: Path, name: str, outside: bool = False) -> Path | None:
    """The file, if it lies under root once links are followed; with ``outside`` links may lead out."""
    try:
        path = (root / name).resolve()
    except (OSError, ValueError, RuntimeError):
        return None
    here = Path(os.path.abspath(root / name))  # noqa: PTH100 (resolving would follow links)
    if outside and here.is_relative_to(os.path.abspath(root)):  # noqa: PTH100
        return path
    return path if path.is_relative_to(root.resolve()) else None


def _to_rgb(image: Image.Image) -> Image.Image:
    """Eight bits, three channels, transparency over white."""
    if image.mode == "F":
        raise DiffInfError("floating-point pixels have no known range")
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise DiffInfError("has more than sixteen bits per pixel")
        # Pillow clips what is above 255; sixteen bits are a range, not an overflow.
        image = Image.fromarray((levels >> 8).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return image.convert("RGB")


def open_upright(path: Path, draft: int | None = None) -> Image.Image:
    """A picture as the eye sees it: upright, RGB, eight bits, transparency over white; at its own size.

    With ``draft`` a JPEG may come smaller, with sides of at least that many pixels.
    Raises :class:`DiffInfError` with the reason for a file that is no picture, is broken, or has more than
    64 million pixels; decompression bombs are not decompressed.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DiffInfError("the file is too large for a picture")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=readable()) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DiffInfError(f"{image.width} x {image.height} pixels is too large")
                if draft is not None:
                    image.draft("RGB", (draft, draft))
                return _to_rgb(ImageOps.exif_transpose(image))
    except DiffInfError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DiffInfError("too many pixels for a picture") from error
    except Exception as error:
        known = why_unreadable(path) or f"not a readable picture ({type(error).__name__})"
        raise DiffInfError(known) from error


def decode(path: Path, size: int) -> np.ndarray:
    """A picture as uint8 (size, size, 3): :func:`open_upright`, centre-cropped to a square, resized."""
    upright = open_upright(path, draft=2 * size)
    square = ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS)
    return np.asarray(square, np.uint8)


def _reason(name: str, label: str, record: dict[Any, Any], config: DataConfig) -> str:
    """What is wrong with the cells of a row, apart from its file; empty if nothing is."""
    if not name:
        return "the file name is empty"
    wrong = bad_text(name, MAX_FILE_NAME)
    if wrong:
        return f"the file name {wrong}"
    if not label:
        return "the label is empty"
    wrong = bad_text(label, MAX_LABEL)
    if wrong:
        return f"the label {wrong}"
    if config.classes and label not in config.classes:
        return f"label {label!r} is not one of {', '.join(config.classes)}"
    if config.group_column and not record[config.group_column].strip():
        return f"the column {config.group_column!r} is empty"
    for column, cell in record.items():
        if len(cell) > MAX_CELL:
            return f"the cell in column {column!r} is longer than {MAX_CELL} characters"
    return ""


def rows_of_table(
    root: Path, path: Path, config: DataConfig, present: set[str]
) -> tuple[list[Row], list[Problem], int]:
    """Rows, problems and how many of the folder's pictures, ``present``, are unlabelled."""
    needed = [FILE_COLUMN, config.label_column]
    table = read_table(path, needed + ([config.group_column] if config.group_column else []))
    rows: list[Row] = []
    problems: list[Problem] = []
    files: set[Path] = set()
    others = [c for c in table.columns if c not in (FILE_COLUMN, config.label_column)]
    for number, record in enumerate(table.to_dict("records"), start=2):
        if not any(record.values()):
            continue
        name, label = record[FILE_COLUMN].strip(), record[config.label_column].strip()
        reason = _reason(name, label, record, config)
        picture = None if reason else inside(root, name, config.outside_links)
        if not reason:
            if picture is None:
                reason = "lies outside the data folder"
            elif not _is_file(picture):
                reason = "no such file"
            elif picture in files:
                reason = "named twice"
        if reason or picture is None:
            problems.append(Problem(number, name or "(empty)", reason))
            continue
        files.add(picture)
        rows.append(Row(name, label, {str(c): record[c] for c in others}))
    # Pictures in other folders, such as masks, are not meant to be labelled.
    seen = {row.file for row in rows}
    homes = {str(Path(name).parent) for name in seen}
    return rows, problems, sum(str(Path(name).parent) in homes for name in present - seen)


def too_few_classes(listing: Listing) -> str:
    """The message for a data set that cannot train a classifier."""
    return f"only one class ({', '.join(listing.classes) or 'none'}); at least two are needed"
