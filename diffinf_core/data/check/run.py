"""Check a data set: list it, read every picture once, look for copies, plan the split; nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import numpy as np

from diffinf_core.config import RunConfig
from diffinf_core.data.check.findings import SHOWN, Album, Seen, findings
from diffinf_core.data.check.measure import Measured, measure
from diffinf_core.data.check.result import Checked, Example, Finding
from diffinf_core.data.copies import Copies, find_copies
from diffinf_core.data.folder import Listing, Problem, too_few_classes
from diffinf_core.data.ingest import listed
from diffinf_core.data.planning import group_of, split_of_listing, without
from diffinf_core.data.sources import packed_source
from diffinf_core.data.sources.unpacked import reading_unpacked
from diffinf_core.data.split import PARTS, Split, too_small
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.scratch import scratch_folder

#: examples of all classes together, and sizes that are told apart
_MOST_EXAMPLES, _MOST_SIZES = 120, 20


def check_data_set(config: RunConfig) -> Generator[Progress, None, Checked]:
    """Everything that a run would find in the data set of ``config``, and what it would do about it.

    The pictures are read once and memory grows by the table's rows alone. Raises :class:`DiffInfError` where
    nothing can be listed at all.
    """
    if config.data.path is None:
        raise DiffInfError("There is nothing to check in rendered faces; give a data set.")
    packed, name = packed_source(config.data), str(config.data.path)
    if packed is None:
        return (yield from _check(config, name))
    with scratch_folder() as scratch:
        folder = Path(scratch) / "unpacked"
        yield from packed.unpack(folder)
        inner = config.model_copy(update={"data": reading_unpacked(config.data, folder)})
        return (yield from _check(inner, name))


def _check(config: RunConfig, name: str) -> Generator[Progress, None, Checked]:
    data = config.data
    listing = listed(data)
    files = [row.file for row in listing.rows]
    measured = yield from measure(listing.root, files, data)
    copies = yield from find_copies(files, measured.digests, measured.grey, "check")
    # what a run would go on with, or what it would get if the pictures were repaired
    used = without(listing, measured.bad_files) if data.skip_bad else listing
    split, refused = _split(used, config, copies)
    parts = {row.file: part for row, part in zip(used.rows, split.parts, strict=True) if part}
    bad = [Problem(None, file, reason) for file, reason in measured.bad_files.items()]
    album = Album(listing.root, measured.pixels, data.align)
    results = list(findings(Seen(config, listing, measured, copies, parts), album))
    results[:0] = [Finding(str(p), 0, "refused", "A run refuses the data set.") for p in refused]
    results += _small(split, config)
    groups = Counter(group_of(row, data.group_column) for row in used.rows)
    return Checked(
        name=name,
        listing=listing,
        problems=[*([] if data.skip_bad else [*listing.problems, *bad]), *refused],
        findings=sorted(results, key=lambda f: ("refused", "warning", "note").index(f.level)),
        readable=len(files) - len(bad),
        classes=_counts(used, parts),
        kinds=dict(measured.kinds.most_common()),
        sizes=_sizes(measured),
        groups=len(groups) if data.group_column else 0,
        largest_group=max(groups.values(), default=0) if data.group_column else 0,
        examples=_examples(used, measured, album),
    )


def _split(used: Listing, config: RunConfig, copies: Copies) -> tuple[Split, list[Problem]]:
    """The split that a run would make, and why it would refuse to."""
    root, together = str(used.root), config.split.copies == "together"
    nothing = Split([""] * len(used.rows))
    if len(used.classes) < 2:
        return nothing, [Problem(None, root, too_few_classes(used))]
    try:
        split = split_of_listing(used, config.data, config.split, copies if together else None)
    except DiffInfError as error:
        return nothing, [Problem(None, root, str(error))]
    if split.small and config.split.small_classes == "refuse":
        grouped = config.data.group_column is not None
        reason = too_small(split.small, config.split, grouped, together)
        return split, [Problem(None, root, reason)]
    return split, []


def _small(split: Split, config: RunConfig) -> list[Finding]:
    how = {
        "drop": "left out (split.small_classes=drop).",
        "train": "in training, and no figure on the test split is about them (split.small_classes=train).",
    }.get(config.split.small_classes)
    if how is None or not split.small:
        return []
    lines = [f"{name}: {n:,}" for name, n in split.small.items()]
    return [
        Finding(
            "Classes too small for every split", len(lines), "warning", f"They are {how}", lines
        )
    ]


def _counts(used: Listing, parts: Mapping[str, str]) -> dict[str, dict[str, int]]:
    counts = Counter((row.label, parts.get(row.file, "")) for row in used.rows)
    return {
        name: {part: counts[name, part] for part in (*PARTS, "") if part or counts[name, ""]}
        for name in used.classes
    }


def _sizes(measured: Measured) -> dict[tuple[int, int], int]:
    sides = measured.sides[measured.digests.any(1)]
    if not len(sides):
        return {}
    found, counts = np.unique(sides, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:_MOST_SIZES]
    return {(int(found[i, 0]), int(found[i, 1])): int(counts[i]) for i in order}


def _examples(used: Listing, measured: Measured, album: Album) -> dict[str, Sequence[Example]]:
    """The first pictures of each class that can be read."""
    each = max(1, min(SHOWN, _MOST_EXAMPLES // max(1, len(used.classes))))
    chosen: dict[str, list[str]] = {name: [] for name in used.classes[:_MOST_EXAMPLES]}
    bad = measured.bad_files
    for row in used.rows:
        names = chosen.get(row.label)
        if names is not None and len(names) < each and row.file not in bad:
            names.append(row.file)
    return {name: [album.example(file) for file in files] for name, files in chosen.items()}
