"""What a format is: where it puts each picture, and which files of its own it writes beside them."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from diffinf_core.export.names import relative, without
from diffinf_core.export.plan import Picture, Plan
from diffinf_core.records import Progress
from diffinf_core.runs.files import write_file, write_table


@dataclass(frozen=True)
class Layout:
    """An export whose pictures are written: its folder, its plan, and its table.

    ``table`` has a row per picture: :data:`diffinf_core.export.plan.COLUMNS`, then the data set's own, all
    text; "file" is the path below ``root``.
    """

    root: Path
    plan: Plan
    table: pd.DataFrame

    def of_split(self, split: str) -> pd.DataFrame:
        """The rows of one split."""
        return self.table[self.table["split"] == split]


def _nothing(layout: Layout) -> Iterator[Progress]:
    yield from ()


def _labels(layout: Layout) -> None:
    write_table(layout.root / "labels.csv", layout.table)


def _no_head(plan: Plan, table: pd.DataFrame) -> Mapping[str, Any] | None:
    return None


@dataclass(frozen=True)
class Format:
    """One format.

    ``place(picture, plan)`` is where a picture goes, before names are made unique. ``write`` writes what the
    format needs beside the pictures, ``table`` the table that every export has. ``head`` is front matter of
    the data card. ``stems``: files that differ in nothing but their suffix would be confused. ``known``: only
    files with a suffix of :data:`diffinf_core.export.names.KNOWN` are seen. ``partial``: only pictures that
    were edited are written. ``usage`` is a line of code that opens it.
    """

    name: str
    title: str
    usage: str
    place: Callable[[Picture, Plan], str]
    write: Callable[[Layout], Iterator[Progress]] = _nothing
    table: Callable[[Layout], None] = _labels
    head: Callable[[Plan, pd.DataFrame], Mapping[str, Any] | None] = _no_head
    stems: bool = False
    known: bool = False
    partial: bool = False


def in_images(picture: Picture, plan: Plan) -> str:
    """``images/`` and the picture's own path."""
    return posixpath.join("images", without(relative(picture.file), ["images"]))


def write_json_lists(
    path: Path, head: Mapping[str, Any], lists: Mapping[str, Iterable[Mapping[str, Any]]]
) -> None:
    """Write a JSON object with long lists of objects, one a line, without holding their text in memory."""

    def write(file: BinaryIO) -> None:
        lines = [f"{json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in head.items()]
        file.write(("{\n" + "".join(f"{line},\n" for line in lines)).encode())
        for n, (name, items) in enumerate(lists.items()):
            file.write(f"{json.dumps(name)}: [".encode())
            for i, item in enumerate(items):
                file.write((("," if i else "") + "\n" + json.dumps(item, allow_nan=False)).encode())
            file.write(("\n]" + (",\n" if n + 1 < len(lists) else "\n}\n")).encode())

    write_file(path, write)
