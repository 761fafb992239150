"""The options that say what a run is made of, shared by the verbs that begin one or look at its data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from diffinf_core.config import PRESETS, RunConfig, change, from_file, parse_overrides, preset_for
from diffinf_core.records import DiffInfError

Preset = Annotated[str, typer.Option(help=f"One of: {', '.join(PRESETS)}.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML instead of a preset.")]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Go on without unreadable pictures and bad rows.")
]
DropSmall = Annotated[
    bool,
    typer.Option("--drop-small-classes", help="Leave out classes too small for every split."),
]
FileColumn = Annotated[
    str | None, typer.Option(help="Column of the file name, as data.file_column.")
]
LabelColumn = Annotated[str | None, typer.Option(help="Column of the class, as data.label_column.")]
SplitColumn = Annotated[
    str | None, typer.Option(help="Column of train, val and test, as data.split_column.")
]


#: settings that hold a path
_PATHS = (
    ("data", "features"),
    ("repair", "generator"),
    ("generator", "first_stage"),
    ("generator", "unlabelled"),
)


def with_full_paths(over: dict[str, Any]) -> dict[str, Any]:
    """Overrides whose paths are absolute, for they are kept, and read from another folder."""
    for section, key in _PATHS:
        value = over.get(section, {}).get(key)
        # a first stage may be a name, such as auto
        if isinstance(value, str) and (key != "first_stage" or Path(value).exists()):
            over[section][key] = str(Path(value).resolve())
    return over


def with_options(settings: Sequence[str] | None, options: Mapping[str, Any]) -> list[str]:
    """The settings with those of options that were given, quoted, so that a column may be called 1."""
    given = {key: value for key, value in options.items() if value not in (None, False)}
    return [*(settings or []), *(f"{key}={json.dumps(value)}" for key, value in given.items())]


def new_config(
    preset: str, file: Path | None, settings: Sequence[str] | None, **data: Any
) -> RunConfig:
    """The configuration of a new run on ``data``, which goes before a YAML file's and after ``--set``."""
    over = with_full_paths(parse_overrides(list(settings or [])))
    if file is not None:
        if not file.exists():
            raise DiffInfError(f"The configuration file {file} does not exist.")
        over.setdefault("data", {}).update(data)
        return change(from_file(file), over, str(file))
    given = over.setdefault("data", {})
    for key, value in data.items():
        given.setdefault(key, value)
    return preset_for(preset, over)


def source_settings(text: str) -> dict[str, str]:
    """A folder, or KIND:PATH, as values of the data section."""
    from diffinf_core.engine import named_source

    return named_source(text)
