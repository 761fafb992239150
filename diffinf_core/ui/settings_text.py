"""The settings of an edit in words: what sets two versions apart."""

from __future__ import annotations

from collections.abc import Mapping

from diffinf_core.config import RepairConfig
from diffinf_core.engine import NOT_OF_A_VERSION
from diffinf_core.records import Edit

#: settings that do not change what an edit looks like, or not in a way worth naming
_SILENT = NOT_OF_A_VERSION | {"precision", "seed"}


def settings_of(edit: Edit) -> dict[str, object]:
    """All settings of an edit: one that came after it was made has its default, which changes nothing."""
    return {**RepairConfig().model_dump(mode="json"), **edit.settings}


def settings_apart(*settings: Mapping[str, object]) -> list[str]:
    """The names of those settings of an edit in which some of these differ."""
    names = dict.fromkeys(key for each in settings for key in each if key not in _SILENT)
    return [key for key in names if any(s.get(key) != settings[0].get(key) for s in settings)]


def setting(value: object) -> str:
    """A value of a setting as text."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:g}" if number else str(value)


def differs(edit: Edit, usual: dict[str, object]) -> str:
    """What sets a version's settings apart from the run's own."""
    settings = settings_of(edit)
    apart = [key for key in settings_apart(settings, usual) if key in usual]
    return ", ".join(f"{key} {setting(settings[key])}" for key in apart) or "as configured"
