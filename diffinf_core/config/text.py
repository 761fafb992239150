"""Configurations as people write them: YAML, ``stage.key=value``.

An unknown key or an impossible value is one clear sentence.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from diffinf_core.config.models import RunConfig
from diffinf_core.records import DiffInfError

#: characters of a configuration, which has some thousands
_MOST = 1_000_000
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxlevel = 2


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over`` in place of its own, at every depth."""
    out = dict(base)
    for key, value in over.items():
        old = out.get(key)
        out[key] = (
            merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
        )
    return out


def explain(error: ValidationError) -> str:
    """The first complaint of pydantic as one sentence that names the key and the value."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "configuration"
    more = error.error_count() - 1
    tail = f" ({more} more)" if more else ""
    if first["type"] == "extra_forbidden":
        return f"Unknown configuration key {key!r}{tail}."
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    value = first.get("input")
    # a short form, as a few lines of YAML can stand for a list of any size
    shown = "" if isinstance(value, dict | BaseModel) else f" (got {_SHORT.repr(value)})"
    return f"Configuration key {key!r}: {reason}{shown}{tail}."


def to_yaml(config: RunConfig) -> str:
    """The whole configuration as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def described_yaml(config: RunConfig) -> str:
    """The whole configuration as YAML, with the meaning of each key behind it; reads back the same."""
    lines = []
    for section, stage in config:
        summary = (type(stage).__doc__ or "").split("\n")[0]
        lines.append(f"{section}:  # {summary}")
        for key, value in stage.model_dump(mode="json").items():
            field = type(stage).model_fields[key]
            flat = yaml.safe_dump(value, default_flow_style=True, width=10_000)
            text = f"{key}: {flat.removesuffix('...' + chr(10)).strip()}"
            choices = get_args(field.annotation)
            if get_origin(field.annotation) is Literal and len(choices) > 1:
                text += f"  # {' | '.join(map(str, choices))}: {field.description}"
            else:
                text += f"  # {field.description}"
            lines.append("  " + text)
    return "\n".join(lines) + "\n"


def from_yaml(text: str, name: str = "configuration") -> RunConfig:
    """Read back what :func:`to_yaml` wrote, or what a person wrote by hand."""
    if len(text) > _MOST:
        raise DiffInfError(f"{name} has {len(text):,} characters; {_MOST:,} are allowed.")
    try:
        data = yaml.safe_load(text)
    except RecursionError as error:
        raise DiffInfError(f"{name} is nested too deeply; settings have two levels.") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        reason = str(error).splitlines()[0].rstrip(".")
        raise DiffInfError(f"{name} is not valid YAML{where}: {reason}.") from error
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise DiffInfError(f"{name} must hold a mapping of stages, not a {type(data).__name__}.")
    try:
        return RunConfig.model_validate(data)
    except ValidationError as error:
        raise DiffInfError(f"{name}: {explain(error)}") from error


def from_file(file: Path) -> RunConfig:
    """The settings in a file; :class:`DiffInfError` for one that is missing, no text, or no settings."""
    try:
        with open(file, encoding="utf-8") as opened:
            text = opened.read(_MOST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise DiffInfError(f"{file} cannot be read ({error}).") from error
    return from_yaml(text, str(file))


def change(config: RunConfig, over: Mapping[str, Any], name: str = "--set") -> RunConfig:
    """A configuration with overrides as :func:`parse_overrides` gives them."""
    try:
        return RunConfig.model_validate(merge(config.model_dump(mode="json"), over))
    except ValidationError as error:
        raise DiffInfError(f"{name}: {explain(error)}") from error


def _default(*path: str) -> Any:
    """The default of a setting; None for an unknown one, which is refused where it is used."""
    model: Any = RunConfig
    for name in path[:-1]:
        model = model.model_fields[name].annotation if name in model.model_fields else BaseModel
    field = model.model_fields.get(path[-1])
    value = None if field is None else field.get_default()
    return list(value) if isinstance(value, tuple) else value


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """``["influence.tau=20"]`` to ``{"influence": {"tau": 20}}``; values are read as YAML.

    null stands for a setting's default.
    """
    out: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or "." not in key:
            raise DiffInfError(
                f"Cannot read {pair!r}; write stage.key=value, e.g. influence.tau=20."
            )
        node = out
        *path, last = key.strip().split(".")
        for part in path:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise DiffInfError(f"{pair!r} goes below {part!r}, which was given a value.")
        try:
            node[last] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise DiffInfError(f"Cannot read the value in {pair!r}.") from error
        if node[last] is None:
            node[last] = _default(*path, last)
    return out


def values_of(text: str) -> list[Any]:
    """``"1,2.5,guided"`` to a list, each value read as YAML."""
    try:
        found = [yaml.safe_load(part) for part in text.split(",")]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DiffInfError(f"Cannot read the values in {text!r}.") from error
    if None in found:
        raise DiffInfError(f"There is an empty value in {text!r}.")
    return found
