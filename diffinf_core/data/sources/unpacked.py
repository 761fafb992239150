"""A data set that was unpacked into a folder of its own, and how that folder is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffinf_core.config import DataConfig
from diffinf_core.runs.files import read_json, write_json

#: hidden, so that no source takes it for data; it is written last
MARK = ".diffinf-unpacked.json"


def write_mark(folder: Path, kind: str, settings: Mapping[str, Any]) -> None:
    """Say of which kind the folder is, and the settings that read it where the user gives none."""
    write_json(folder / MARK, {"kind": kind, "settings": dict(settings)})


def reading_unpacked(config: DataConfig, folder: Path) -> DataConfig:
    """The configuration that reads an unpacked folder."""
    mark = read_json(folder / MARK)
    default = DataConfig()
    given = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in mark["settings"].items()
        if getattr(config, key) == getattr(default, key)
    }
    return config.model_copy(update={**given, "path": folder, "kind": mark["kind"]})
