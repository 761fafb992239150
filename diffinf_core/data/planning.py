"""Which rows of a listing become samples of a run, and in which split; refused before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from diffinf_core.config import DataConfig, SplitConfig
from diffinf_core.data.copies import Copies, together
from diffinf_core.data.folder import Listing, too_few_classes
from diffinf_core.data.rows import Problem, Row
from diffinf_core.data.split import Split, split_rows, too_small
from diffinf_core.records import DiffInfError


@dataclass(frozen=True)
class Plan:
    """The samples of a run: ``parts`` holds the split of each of ``rows``, ``classes`` their order.

    ``left_out`` counts the pictures of each class that is too small and left out, ``trained_only`` those of
    each class that no figure on the test split is about; ``skipped`` are bad rows and pictures.
    """

    rows: list[Row]
    parts: list[str]
    classes: list[str]
    left_out: Mapping[str, int]
    trained_only: Mapping[str, int]
    skipped: list[Problem]


def group_of(row: Row, column: str | None) -> str:
    """What must not be cut by a split: the row's cell in ``column``, or its file."""
    return row.extra.get(column, row.file) if column else row.file


def split_of_listing(
    listing: Listing, data: DataConfig, split: SplitConfig, copies: Copies | None = None
) -> Split:
    """The split of the rows of a listing, ``copies`` of a picture in one part as far as none is given.

    See :func:`diffinf_core.data.split.split_rows`.
    """
    column = data.group_column
    grouped = column is not None and all(column in row.extra for row in listing.rows)
    labels, given = [row.label for row in listing.rows], [row.split for row in listing.rows]
    files = [row.file for row in listing.rows]
    units = [group_of(row, column) for row in listing.rows] if grouped else files
    if copies is not None:
        units = together(copies, files, labels, units, given)
    return split_rows(labels, given, units if grouped else None, units, split)


def make_plan(
    listing: Listing, data: DataConfig, split: SplitConfig, copies: Copies | None = None
) -> Plan:
    """The plan of a listing; ``copies`` stay in one split.

    Raises :class:`DiffInfError` for what cannot become a run: bad rows unless ``data.skip_bad``, fewer than
    two classes, a class that lacks a part unless ``split.small_classes`` says what becomes of it.
    """
    if listing.problems and not data.skip_bad:
        more = len(listing.problems) - 1
        tail = f" and {more} more" if more else ""
        raise DiffInfError(
            f"{listing.root / data.labels} has bad rows: {listing.problems[0]}{tail}; "
            f"'diffinf check {listing.root}' lists them all, and --skip-bad goes on without them."
        )
    if len(listing.classes) < 2:
        raise DiffInfError(f"{listing.root} has {too_few_classes(listing)}.")
    done = split_of_listing(listing, data, split, copies)
    if done.small and split.small_classes == "refuse":
        sentence = too_small(done.small, split, data.group_column is not None, copies is not None)
        raise DiffInfError(f"{listing.root}: {sentence}.")
    kept = [i for i, part in enumerate(done.parts) if part]
    rows, counts = [listing.rows[i] for i in kept], Counter(row.label for row in listing.rows)
    there = {row.label for row in rows}
    classes = [name for name in listing.classes if name in there]
    if len(classes) < 2:
        raise DiffInfError(
            f"{listing.root} has {len(classes)} class large enough for the split, and two are needed; add "
            "pictures, or take the small ones for training with --set split.small_classes=train."
        )
    dropped = split.small_classes == "drop"
    small = {name: counts[name] for name in done.small}
    return Plan(
        rows,
        [done.parts[i] for i in kept],
        classes,
        small if dropped else {},
        {} if dropped else small,
        list(listing.problems),
    )


def without(listing: Listing, bad: Mapping[str, str]) -> Listing:
    """The listing without the files of ``bad``, each of which becomes a problem with its reason."""
    rows = [row for row in listing.rows if row.file not in bad]
    return replace(
        listing,
        rows=rows,
        problems=[*listing.problems, *(Problem(None, file, why) for file, why in bad.items())],
        classes=_still_there(listing.classes, {row.label for row in rows}),
    )


def _still_there(classes: list[str], labels: Collection[str]) -> list[str]:
    return [name for name in classes if name in labels]
