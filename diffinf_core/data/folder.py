"""What a source lists: rows, problems, the order of classes, and what was passed over."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from diffinf_core.config import DataConfig
from diffinf_core.data.decode import decode, open_upright
from diffinf_core.data.rows import Problem, Row, inside
from diffinf_core.records import DiffInfError

__all__ = [
    "Listing",
    "Problem",
    "Row",
    "decode",
    "inside",
    "needs_table",
    "open_upright",
    "too_few_classes",
]


@dataclass(frozen=True)
class Listing:
    """What a folder holds: good rows, problems, class order and pictures without a label.

    ``taken_for`` says what the folder was taken for, ``remarks`` what was passed over, a sentence each, and
    ``lost`` counts pictures and films, by kind, that nothing here can read.
    """

    root: Path
    rows: list[Row]
    problems: list[Problem]
    classes: list[str]
    unlabelled: int
    taken_for: str = ""
    remarks: tuple[str, ...] = ()
    lost: dict[str, int] = field(default_factory=dict)


def needs_table(config: DataConfig, root: Path) -> None:
    """Refuse settings that name a table, or a column of it, for a folder that has none."""
    if config.labels != "labels.csv":
        raise DiffInfError(f"{root} holds no table {config.labels}.")
    for option in ("group_column", "split_column", "file_column"):
        if column := getattr(config, option):
            raise DiffInfError(
                f"data.{option} {column!r} needs the table {config.labels}, and {root} has none."
            )


def too_few_classes(listing: Listing) -> str:
    """The message for a data set that cannot train a classifier."""
    return f"only one class ({', '.join(listing.classes) or 'none'}); at least two are needed"
