"""Read a data set from a folder: pictures and a table of labels, or one sub-folder per class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diffinf_core.config import DataConfig
from diffinf_core.data.decode import decode
from diffinf_core.data.rows import Problem, Row, inside
from diffinf_core.data.table import table_path
from diffinf_core.data.table_rows import rows_of_table
from diffinf_core.data.text import MAX_FILE_NAME, MAX_LABEL, bad_text, natural_key
from diffinf_core.records import DiffInfError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Listing:
    """What a folder holds: good rows, problems, class order and pictures without a label."""

    root: Path
    rows: list[Row]
    problems: list[Problem]
    classes: list[str]
    unlabelled: int
    remarks: tuple[str, ...] = ()


def _from_folders(
    root: Path, config: DataConfig, present: set[str]
) -> tuple[list[Row], list[Problem], int]:
    rows: list[Row] = []
    problems: list[Problem] = []
    for name in sorted(present):
        parts = Path(name).parts
        if len(parts) < 2:
            continue
        label = parts[0]
        wrong = bad_text(name, MAX_FILE_NAME) or bad_text(label, MAX_LABEL)
        if wrong:
            problems.append(Problem(None, name, f"the name {wrong}"))
        elif config.classes and label not in config.classes:
            problems.append(Problem(None, name, f"folder {label!r} is not a class"))
        elif inside(root, name) is None:
            problems.append(Problem(None, name, "lies outside the data folder"))
        else:
            rows.append(Row(name, label))
    return rows, problems, len(present) - len(rows)


def list_folder(config: DataConfig) -> Listing:
    """List a folder without decoding its pictures.

    Raises :class:`DiffInfError` where nothing can be listed at all: no folder, no pictures, no
    usable table. Single bad rows are returned as problems.
    """
    assert config.path is not None
    root = config.path
    if not root.exists():
        raise DiffInfError(f"The folder {root} does not exist.")
    if not root.is_dir():
        raise DiffInfError(f"{root} is not a folder.")
    present = {
        str(p.relative_to(root))
        for p in root.rglob("*")
        if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()
    }
    if not present:
        raise DiffInfError(f"The folder {root} holds no pictures.")
    table, remarks = table_path(root, config.labels), tuple[str, ...]()
    if table.exists():
        if inside(root, table.name) is None:
            raise DiffInfError(f"{table} lies outside the data folder; put the table itself there.")
        read = rows_of_table(root, table, config, present)
        rows, problems, unlabelled, remarks = (
            read.rows, read.problems, read.unlabelled, read.remarks
        )  # fmt: skip
    else:
        needs_table(config, root)
        rows, problems, unlabelled = _from_folders(root, config, present)
        if not rows and not problems:
            raise DiffInfError(
                f"{root} has neither {config.labels} (columns file, {config.label_column}) "
                "nor one sub-folder per class."
            )
    labels = {r.label for r in rows}
    classes = (
        [c for c in config.classes if c in labels]
        if config.classes
        else sorted(labels, key=natural_key)
    )
    return Listing(root, rows, problems, classes, unlabelled, remarks)


def check_folder(config: DataConfig) -> tuple[Listing, list[Problem]]:
    """List a folder and decode every picture; the second value holds every problem."""
    listing = list_folder(config)
    problems = list(listing.problems)
    for row in listing.rows:
        try:
            decode(listing.root / row.file, config.image_size)
        except DiffInfError as error:
            problems.append(Problem(None, row.file, str(error)))
    if len(listing.classes) < 2:
        problems.append(Problem(None, str(listing.root), too_few_classes(listing)))
    return listing, problems


def needs_table(config: DataConfig, root: Path) -> None:
    """Refuse settings that name a table, or a column of it, for a folder that has none."""
    if config.labels != "labels.csv":
        raise DiffInfError(f"{root} has no table {config.labels}.")
    for option in ("group_column", "split_column", "file_column"):
        if column := getattr(config, option):
            raise DiffInfError(
                f"data.{option} {column!r} needs the table {config.labels}, and {root} has none."
            )


def too_few_classes(listing: Listing) -> str:
    """The message for a data set that cannot train a classifier."""
    return f"only one class ({', '.join(listing.classes) or 'none'}); at least two are needed"
