"""Data sets of the Hugging Face library on disk: Arrow files of ``save_to_disk``, Parquet files of the Hub.

Read with pyarrow alone, a batch at a time; pictures are written out byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from diffinf_core.config import DataConfig
from diffinf_core.data.kinds import HEAD, kind_of
from diffinf_core.data.sources.base import PackedSource
from diffinf_core.data.sources.unpacked import write_mark
from diffinf_core.data.split import split_named
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.extras import optional_imports
from diffinf_core.runs.files import staged_folder, write_table

#: rows of a Parquet file held in memory at once
_BATCH = 256


def _parts(root: Path) -> dict[str, list[Path]]:
    """The files of each split in order; empty where the folder is no such data set."""
    index = root / "dataset_dict.json"
    if index.is_file():
        names = json.loads(index.read_text(encoding="utf-8")).get("splits", [])
        return {str(n): sorted((root / str(n)).glob("*.arrow")) for n in names if _plain(str(n))}
    if (root / "dataset_info.json").is_file() and (files := sorted(root.glob("*.arrow"))):
        return {"": files}
    out: dict[str, list[Path]] = {}
    for file in sorted([*root.glob("*.parquet"), *root.glob("data/*.parquet")]):
        name, dash, rest = file.stem.partition("-")
        if dash and "-of-" in rest:
            out.setdefault(name, []).append(file)
    order = ("train", "val", "test", None)
    return dict(sorted(out.items(), key=lambda part: order.index(split_named(part[0]))))


def _plain(name: str) -> bool:
    return name not in ("", ".", "..") and "/" not in name and "\\" not in name


def _batches(file: Path) -> Iterator[Any]:
    with optional_imports():
        import pyarrow as pa
        import pyarrow.parquet as pq
    try:
        if file.suffix == ".parquet":
            yield from pq.ParquetFile(file).iter_batches(_BATCH)
            return
        with pa.memory_map(str(file)) as mapped:
            yield from pa.ipc.open_stream(mapped)
    except (pa.ArrowInvalid, OSError) as error:
        raise DiffInfError(f"{file} cannot be read: {str(error).splitlines()[0]}.") from error


def _features(schema: Any, root: Path) -> dict[str, Any]:
    """The library's description of each column; empty where there is none."""
    stored = (schema.metadata or {}).get(b"huggingface")
    if stored:
        return json.loads(stored).get("info", {}).get("features") or {}
    for file in (root / "dataset_info.json", *root.glob("*/dataset_info.json")):
        if file.is_file():
            return json.loads(file.read_text(encoding="utf-8")).get("features") or {}
    return {}


class Datasets(PackedSource):
    """A data set as ``datasets`` keeps it on disk, unpacked into pictures and a table of all its columns."""

    name = "datasets"
    about = (
        "a data set of Hugging Face datasets on disk (save_to_disk, or Parquet files of the Hub)"
    )

    @classmethod
    def recognises(cls, config: DataConfig) -> bool:
        """A folder with the library's description, or Parquet files named ``train-00000-of-00001``."""
        try:
            return config.path is not None and config.path.is_dir() and bool(_parts(config.path))
        except (OSError, ValueError, AttributeError):
            return False

    def unpack(self, target: Path) -> Iterator[Progress]:
        """Write ``<split>/<row>.<suffix>`` and ``labels.csv``: file, label, split, and every other column."""
        parts = _parts(self.root) if self.root.is_dir() else {}
        if not any(parts.values()):
            raise DiffInfError(f"{self.root} holds no data set of Hugging Face datasets.")
        first = next(file for files in parts.values() for file in files)
        batch = next(iter(_batches(first)), None)
        if batch is None:
            raise DiffInfError(f"{first} holds no rows.")
        columns = _Columns.of(batch.schema, self.config, self.root)
        with staged_folder(target) as beside:
            records: list[dict[str, str]] = []
            for part, files in parts.items():
                folder = part or "pictures"
                (beside / folder).mkdir(exist_ok=True)
                at = 0
                for file in files:
                    for batch in _batches(file):
                        for row in batch.to_pylist():
                            name = columns.write(row, beside, folder, at, file)
                            records.append(columns.record(row, name, split_named(part) or ""))
                            at += 1
                        yield Progress(
                            "data", len(records), len(records), f"unpacking {part}".strip()
                        )
            write_table(beside / "labels.csv", pd.DataFrame(records))
            given = any(record["split"] for record in records)
            settings = {
                "labels": "labels.csv", "label_column": "label", "file_column": "file",
                "split_column": "split" if given else None, "classes": columns.classes,
            }  # fmt: skip
            write_mark(beside, "table", settings)


class _Columns:
    """Which column is the picture, which the label, and how the label's numbers are called."""

    def __init__(
        self, picture: str, label: str, classes: list[str] | None, others: list[str]
    ) -> None:
        self.picture, self.label, self.classes, self.others = picture, label, classes, others

    @classmethod
    def of(cls, schema: Any, config: DataConfig, root: Path) -> _Columns:
        """From the library's description; :class:`DiffInfError` where no picture or label is among them."""
        features, names = _features(schema, root), list(schema.names)
        kinds = {n: (features.get(n) or {}) for n in names}
        kinds = {n: k.get("_type") if isinstance(k, dict) else None for n, k in kinds.items()}
        pictures = [n for n in names if kinds[n] == "Image"]
        pictures = pictures or [n for n in ("image", "img") if n in names]
        labels = [n for n in names if kinds[n] == "ClassLabel"]
        label = config.label_column if config.label_column in names else None
        if label is None and len(labels) == 1:
            (label,) = labels
        if not pictures or label is None:
            what = "picture" if not pictures else f"column {config.label_column!r}"
            raise DiffInfError(
                f"{root} has no {what}; its columns are {', '.join(names)}, and data.label_column chooses."
            )
        known = features.get(label) or {}
        classes = known.get("names") if kinds[label] == "ClassLabel" else None
        others = [n for n in names if n not in (label, *pictures)]
        return cls(pictures[0], label, classes, others)

    def write(self, row: dict[str, Any], beside: Path, folder: str, at: int, file: Path) -> str:
        """Write a row's picture, whose name is returned."""
        picture = row[self.picture]
        raw = picture.get("bytes") if isinstance(picture, dict) else None
        if not raw:
            raise DiffInfError(
                f"Row {at} of {file} names a picture and does not hold it; save the data set "
                "with its pictures."
            )
        suffix = (kind_of(raw[:HEAD]) or "bin").lower().replace("jpeg", "jpg")
        name = f"{folder}/{at:07d}.{suffix}"
        (beside / name).write_bytes(raw)
        return name

    def record(self, row: dict[str, Any], name: str, part: str) -> dict[str, str]:
        """A row of the table as text."""
        value = row[self.label]
        if self.classes is not None and isinstance(value, int):
            value = self.classes[value] if 0 <= value < len(self.classes) else ""
        ours = {"file": name, "label": "" if value is None else str(value), "split": part}
        given = {f"{n}_given" if n in ours else n: row[n] for n in self.others}
        return ours | {n: "" if v is None else str(v) for n, v in given.items()}
