"""The nouns that every room shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class DiffInfError(Exception):
    """Something a user can put right; the message is one clear sentence and is shown as it is."""


@dataclass(frozen=True)
class Progress:
    """One event of a slow stage.

    ``done`` and ``total`` count the stage's own unit (batches, images, steps); ``values`` holds
    figures worth plotting; ``note`` is a short text for a person.
    """

    stage: str
    done: int
    total: int
    note: str = ""
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """One training picture with its assigned label."""

    id: str
    file: str
    label: str
    label_index: int
