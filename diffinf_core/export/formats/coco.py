"""COCO-style JSON: one annotation per picture, whose box is the whole picture and whose category the class.

https://cocodataset.org/#format-data
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from diffinf_core.export.encoding import upright_size
from diffinf_core.export.formats.format import Format, Layout, in_images, write_json_lists
from diffinf_core.records import Progress


def _images(layout: Layout, rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for at, row in zip(rows.index.tolist(), rows.to_dict("records"), strict=True):
        width, height = upright_size(layout.root / row["file"])
        own = {str(k): v for k, v in row.items() if k not in ("file", "id", "label")}
        yield {
            "id": at + 1,
            "file_name": row["file"],
            "width": width,
            "height": height,
            "sample_id": row["id"],
            **own,
        }


def _annotations(layout: Layout, rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    index = {name: i for i, name in enumerate(layout.plan.classes)}
    for at, file, label in zip(rows.index.tolist(), rows["file"], rows["label"], strict=True):
        width, height = upright_size(layout.root / file)
        yield {
            "id": at + 1,
            "image_id": at + 1,
            "category_id": index[label] + 1,
            "bbox": [0, 0, width, height],
            "segmentation": [[0, 0, width, 0, width, height, 0, height]],
            "area": width * height,
            "iscrowd": 0,
        }


def _write(layout: Layout) -> Iterator[Progress]:
    head = {
        "info": {"description": "refined data set", "contributor": "DiffInf"},
        "licenses": [],
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(layout.plan.classes)],
    }
    splits = layout.plan.split_names
    for done, split in enumerate(splits, 1):
        rows = layout.of_split(split)
        lists = {"images": _images(layout, rows), "annotations": _annotations(layout, rows)}
        write_json_lists(layout.root / "annotations" / f"{split}.json", head, lists)
        yield Progress("export", done, len(splits), f"annotations of {split}")


COCO = Format(
    "coco",
    "COCO-style JSON, a whole-picture annotation each",
    'pycocotools.coco.COCO("annotations/train.json")',
    in_images,
    write=_write,
)
