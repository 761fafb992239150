"""The result of a check: figures of the data set, and a finding for each thing that a person should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from diffinf_core.data.folder import Listing, Problem

#: refused: a run does not begin; warning: it does, and somebody should look; note: as it should be
Level = Literal["refused", "warning", "note"]


@dataclass(frozen=True)
class Example:
    """A small picture with a caption; ``jpeg`` is empty where the file cannot be shown."""

    caption: str
    jpeg: bytes = b""


@dataclass(frozen=True)
class Finding:
    """One kind of thing in a data set: how many there are, what a run does, and what a person can do.

    ``lines`` name some of them; ``examples`` show some, a row for pictures that belong together.
    """

    title: str
    count: int
    level: Level
    action: str
    lines: Sequence[str] = ()
    examples: Sequence[Sequence[Example]] = ()


@dataclass(frozen=True)
class Checked:
    """What :func:`diffinf_core.data.check.check_data_set` found under some settings.

    ``problems`` are what a run refuses. ``classes`` counts the pictures of each class in train, val and test,
    as a run would split them; ``groups`` and ``largest_group`` count those of ``data.group_column``;
    ``kinds`` counts file format and pixel mode, ``sizes`` width and height, the most frequent first;
    ``examples`` are pictures of each class.
    """

    name: str
    listing: Listing
    problems: Sequence[Problem]
    findings: Sequence[Finding]
    readable: int
    classes: Mapping[str, Mapping[str, int]]
    kinds: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[tuple[int, int], int] = field(default_factory=dict)
    groups: int = 0
    largest_group: int = 0
    examples: Mapping[str, Sequence[Example]] = field(default_factory=dict)
