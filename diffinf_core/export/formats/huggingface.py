"""A Hugging Face imagefolder: a folder per split with a table of metadata, and a card that types it.

``datasets.load_dataset(FOLDER)`` gives ClassLabel features in the order of the run. The table is
``metadata.csv``, unless that reader would turn text into something else ("NA" into nothing, "01" into 1, a
class "10" into a number); then it is ``metadata.jsonl``, where text stays text.
"""

from __future__ import annotations

import io
import json
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import pandas as pd

from diffinf_core.export.formats.format import Format, Layout
from diffinf_core.export.names import relative, without
from diffinf_core.export.plan import Picture, Plan
from diffinf_core.records import Progress
from diffinf_core.runs.cells import safe
from diffinf_core.runs.files import write_file, write_table

#: names of splits there, by ours
_NAMES = {"train": "train", "val": "validation", "test": "test"}
#: rows that ``datasets`` parses at once, each time with types of their own
_CHUNK = 10_000
_DTYPES = {"int64": "int64", "float64": "float64"}


def _place(picture: Picture, plan: Plan) -> str:
    name = without(relative(picture.file), ["images", picture.split, _NAMES[picture.split]])
    return posixpath.join(_NAMES[picture.split], name)


def _metadata(layout: Layout, split: str) -> pd.DataFrame:
    table = layout.of_split(split).drop(columns=["split"])
    names = table["file"].str.partition("/")[2]
    return pd.concat([names.rename("file_name"), table.drop(columns=["file"])], axis=1).reset_index(
        drop=True
    )


def csv_types(tables: list[pd.DataFrame]) -> dict[str, str] | None:
    """The type of each column as a reader of CSV guesses it; None where a guess loses text.

    ``tables`` are text, one per split. Types must be the same in each part that is parsed on its own.
    """
    types: dict[str, str] = {}
    for table in tables:
        for start in range(0, len(table), _CHUNK):
            part = table.iloc[start : start + _CHUNK].reset_index(drop=True)
            if (safe(part).to_numpy(object) != part.to_numpy(object)).any():
                return None  # it would be written with apostrophes
            guessed = pd.read_csv(io.StringIO(part.to_csv(index=False)), keep_default_na=True)
            for name in part.columns:
                kind = guessed[name].dtype.name
                if kind == "bool":
                    return None
                kind = kind if kind in _DTYPES else "string"
                if types.setdefault(str(name), kind) != kind:
                    return None
                again = guessed[name].astype(object).where(guessed[name].notna(), "").map(str)
                if (again != part[name]).any():
                    return None
    return types if types.get("label") == "string" else None


def _write(layout: Layout) -> Iterator[Progress]:
    splits = layout.plan.split_names
    tables = [_metadata(layout, split) for split in splits]
    as_csv = csv_types(tables) is not None
    for done, (split, table) in enumerate(zip(splits, tables, strict=True), 1):
        folder = layout.root / _NAMES[split]
        if as_csv:
            write_table(folder / "metadata.csv", table)
        else:

            def lines(file: BinaryIO, table: pd.DataFrame = table) -> None:
                for row in table.itertuples(index=False, name=None):
                    record = dict(zip(table.columns, row, strict=True))
                    file.write((json.dumps(record, ensure_ascii=False) + "\n").encode())

            write_file(folder / "metadata.jsonl", lines)
        yield Progress("export", done, len(splits), f"metadata of {split}")


def _head(plan: Plan, table: pd.DataFrame) -> Mapping[str, Any]:
    """The configuration that the reader takes from the front matter of the card."""
    splits = plan.split_names
    layout = Layout(plan.source, plan, table)
    types = csv_types([_metadata(layout, split) for split in splits])
    kinds = types or dict.fromkeys(_metadata(layout, splits[0]).columns, "string")
    names = {"class_label": {"names": {str(i): name for i, name in enumerate(plan.classes)}}}
    features: list[dict[str, Any]] = [{"name": "image", "dtype": "image"}]
    features += [
        {"name": name, "dtype": names if name == "label" else kind}
        for name, kind in kinds.items()
        if name != "file_name"
    ]
    files = [{"split": _NAMES[s], "path": f"{_NAMES[s]}/**"} for s in splits]
    return {
        "task_categories": ["image-classification"],
        "configs": [{"config_name": "default", "data_files": files, "features": features}],
    }


HUGGINGFACE = Format(
    "huggingface",
    "an imagefolder with metadata for datasets.load_dataset",
    'datasets.load_dataset(".")',
    _place,
    write=_write,
    head=_head,
)
