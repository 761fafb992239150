"""The settings of an edit in words: what sets two versions apart."""

from __future__ import annotations

from collections.abc import Mapping

from diffinf_core.records import Edit

#: settings that do not change what an edit looks like, or not in a way worth naming
_SILENT = {"batch_size", "generator", "tries", "reached", "precision", "seed"}


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
    apart = [key for key in settings_apart(edit.settings, usual) if key in edit.settings]
    return ", ".join(f"{key} {setting(edit.settings[key])}" for key in apart) or "as configured"
