"""What a run's source was when it was read, and what has changed since: labels, pictures, rows.

The data stage keeps the size, time and digest of the table and of each picture (``source.csv``,
``source.json``). Its key holds the generation of the source, a token in the run's ``source.json`` that
changes only when a changed source is taken over; so a table of samples never mixes two states, and what was
computed from an earlier one stays where it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.data.folder import Listing
from diffinf_core.data.pictures import Stat
from diffinf_core.data.rows import Row
from diffinf_core.data.text import shown
from diffinf_core.records import DiffInfError
from diffinf_core.runs.cells import readable
from diffinf_core.runs.files import digest, read_json, write_json, write_table
from diffinf_core.runs.run import Run

#: in the folder of the data stage: a row per picture, and the table's size, time and digest
ROWS, TABLE = "source.csv", "source.json"
#: in the run's folder: which state of the source it is computed from; absent for the first
GENERATION = "source.json"
_NAMED = 3


@dataclass(frozen=True)
class Changes:
    """How a source differs from what a run was computed from; names of files, and labels before and after.

    ``columns`` are rows whose other cells changed.
    """

    labels: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    replaced: Sequence[str] = ()
    added: Sequence[str] = ()
    removed: Sequence[str] = ()
    columns: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.labels or self.replaced or self.added or self.removed or self.columns)

    def __str__(self) -> str:
        kinds = (
            ("label", "changed", [f"{f}: {a} -> {b}" for f, (a, b) in self.labels.items()]),
            ("picture", "replaced", self.replaced),
            ("row", "added", self.added),
            ("row", "gone", self.removed),
            ("row", "with other cells", self.columns),
        )
        out = []
        for noun, verb, names in kinds:
            if names:
                listed = ", ".join(map(shown, names[:_NAMED]))
                more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
                out.append(
                    f"{len(names):,} {noun}{'' if len(names) == 1 else 's'} {verb} ({listed}{more})"
                )
        return ", ".join(out)


def generation(run: Run) -> str:
    """The token of the source's state that a run is computed from; empty for the first."""
    file = run.root / GENERATION
    return str(read_json(file)["generation"]) if file.exists() else ""


def set_generation(run: Run, token: str) -> None:
    """Compute the run from another state of its source from here on."""
    if token != generation(run):
        write_json(run.root / GENERATION, {"generation": token})


def table_state(path: Path) -> dict[str, Any] | None:
    """The name, size, time and SHA-256 of a table; None where there is none."""
    if not path.exists():
        return None
    seen = path.stat()
    return {
        "name": path.name,
        "size": seen.st_size,
        "time": seen.st_mtime_ns,
        "sha256": _file_sha(path),
    }


def _file_sha(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_state(
    folder: Path,
    rows: Sequence[Row],
    stats: Sequence[Stat],
    digests: NDArray[np.uint8],
    table: Mapping[str, Any] | None,
    token: str,
) -> None:
    """Keep what was read; the digest (N, 32) of a picture that could not be read is zeros."""
    columns = {
        "file": [row.file for row in rows],
        "label": [row.label for row in rows],
        "rest": [digest(row.split, row.extra) for row in rows],
        "size": [size for size, _ in stats],
        "time": [time for _, time in stats],
        "sha256": [bytes(row).hex() for row in digests],
    }
    write_table(folder / ROWS, pd.DataFrame(columns))
    write_json(folder / TABLE, {"table": table, "generation": token})


def read_state(folder: Path) -> pd.DataFrame | None:
    """What :func:`write_state` kept of the pictures, as text; None in runs of earlier versions."""
    file = folder / ROWS
    if not file.exists():
        return None
    # not kept in memory: under a seal nobody may know the labels before noise
    return readable(pd.read_csv(file, dtype=str, keep_default_na=False))


def table_unchanged(folder: Path, path: Path) -> bool:
    """Whether the table has the content that a data stage in ``folder`` read."""
    before = read_json(folder / TABLE)["table"]
    if before is None or not path.exists():
        return before is None and not path.exists()
    seen = path.stat()
    if (seen.st_size, seen.st_mtime_ns) == (before["size"], before["time"]):
        return True
    return seen.st_size == before["size"] and _file_sha(path) == before["sha256"]


def pictures_changed(root: Path, before: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Files with another content than a data stage read, and files that are gone.

    A file whose size and time are the same counts as the same; of others the digest decides.
    """
    replaced, gone = [], []
    for file, size, time, sha in zip(
        before["file"], before["size"], before["time"], before["sha256"], strict=True
    ):
        try:
            seen = (root / file).stat()
            if (str(seen.st_size), str(seen.st_mtime_ns)) == (size, time):
                continue
            if str(seen.st_size) != size or _file_sha(root / file) != sha:
                replaced.append(file)
        except OSError:
            gone.append(file)
    return replaced, gone


def compare(before: pd.DataFrame, listing: Listing | None, root: Path) -> Changes:
    """The changes since ``before``; ``listing`` is None where the table is known to be the same."""
    replaced, gone = pictures_changed(root, before)
    if listing is None:
        return Changes(replaced=replaced, removed=gone)
    now = {row.file: row for row in listing.rows}
    removed = [file for file in before["file"] if file not in now]
    labels, columns = {}, []
    for file, label, rest in zip(before["file"], before["label"], before["rest"], strict=True):
        row = now.get(file)
        if row is None:
            continue
        if row.label != label:
            labels[file] = (label, row.label)
        elif digest(row.split, row.extra) != rest:
            columns.append(file)
    known = set(before["file"])
    return Changes(
        labels,
        [file for file in replaced if file in now],
        [file for file in now if file not in known],
        removed,
        columns,
    )


def refuse_mid_change(root: Path, files: Sequence[str], before: Sequence[Stat]) -> None:
    """Refuse pictures that changed between two looks at them: their pixels would be of two states."""
    from diffinf_core.data.pictures import stats_of

    for file, old, new in zip(files, before, stats_of(root, files), strict=True):
        if old != new:
            raise DiffInfError(f"{root / file} changed while the data set was read; run again.")
