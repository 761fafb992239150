"""FiftyOne's image classification format: ``data/`` and ``labels.json`` with classes and targets.

https://docs.voxel51.com/user_guide/import_datasets.html#fiftyoneimageclassificationdataset
A sample is known there by its path without the suffix. Columns become attributes of its label.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, BinaryIO

import pandas as pd

from diffinf_core.export.formats.format import Format, Layout
from diffinf_core.export.names import relative, without
from diffinf_core.export.plan import Picture, Plan
from diffinf_core.records import Progress
from diffinf_core.runs.files import write_file

#: fields that a Classification has by itself
_OWN = {"id", "tags", "label", "confidence", "logits", "attributes", "mask"}


def _place(picture: Picture, plan: Plan) -> str:
    above = [picture.split] if plan.options.splits == "all" else []
    return posixpath.join(*above, "data", without(relative(picture.file), ["data", "images"]))


def attribute_names(columns: list[str]) -> dict[str, str]:
    """Names of fields for columns: letters, digits and underscores, none of the format's own."""
    out: dict[str, str] = {}
    for column in columns:
        name = re.sub(r"\W", "_", column, flags=re.ASCII).strip("_") or "column"
        name = f"column_{name}" if name[0].isdigit() else name
        while name in _OWN or name in out.values():
            name += "_given"
        out[column] = name
    return out


def _targets(file: BinaryIO, table: pd.DataFrame, below: str, classes: tuple[str, ...]) -> None:
    index = {name: i for i, name in enumerate(classes)}
    columns = [c for c in table.columns if c not in ("file", "label", "split")]
    names = attribute_names(columns)
    file.write(f'{{"classes": {json.dumps(list(classes))},\n"labels": {{'.encode())
    for i, (_, row) in enumerate(table.iterrows()):
        path = PurePosixPath(row["file"]).relative_to(below)
        target: dict[str, Any] = {
            "label": index[row["label"]],
            "attributes": {names[c]: row[c] for c in columns},
        }
        line = f"{json.dumps(str(path.with_suffix('')))}: {json.dumps(target)}"
        file.write((("," if i else "") + "\n" + line).encode())
    file.write(b"\n}}\n")


def _write(layout: Layout) -> Iterator[Progress]:
    plan = layout.plan
    splits = plan.split_names if plan.options.splits == "all" else [""]
    for done, split in enumerate(splits, 1):
        table = layout.of_split(split) if split else layout.table
        below = posixpath.join(split, "data")
        write_file(
            layout.root / split / "labels.json",
            lambda file, t=table, b=below: _targets(file, t, b, plan.classes),  # type: ignore[misc]
        )
        yield Progress("export", done, len(splits), "labels.json")


FIFTYONE = Format(
    "fiftyone",
    "FiftyOne's image classification format",
    'fiftyone.Dataset.from_dir(".", dataset_type=fiftyone.types.FiftyOneImageClassificationDataset)',
    _place,
    write=_write,
    stems=True,
)
