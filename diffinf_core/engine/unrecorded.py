"""Damage in the stages of an earlier version, which recorded neither sizes nor digests of their files."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from diffinf_core.data.overlay import PICTURES, map_array
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_json
from diffinf_core.runs.inventory import FILES, MARK, Damage, complete_stages
from diffinf_core.runs.tables import read_table

#: files without which a stage is not complete
_NEEDED = {
    "data": ("samples.csv", "classes.json"),
    "classifier": ("final.pt", "history.json", "signals.npy"),
    "gradients": ("terms.npy",),
    "influence": ("scores.csv",),
    "predictor": ("out_of_fold.npy",),
    "repair": ("versions.json",),
}
_READERS: dict[str, Callable[[Path], object]] = {
    ".npy": map_array, ".csv": read_table, ".json": read_json,
}  # fmt: skip


def unrecorded(folder: Path) -> bool:
    """Whether a complete stage recorded nothing of its files."""
    return FILES not in read_json(folder / MARK)


def unrecorded_damage(folder: Path) -> Iterator[Damage]:
    """What is visibly wrong with the files of such a stage: missing, unreadable, not of one length."""
    kind = folder.name.rsplit("-", 1)[0]
    for name in _NEEDED.get(kind, ()):
        if reason := _unreadable(folder / name):
            yield Damage(folder / name, reason)
            return
    if kind != "data" or not (folder / PICTURES).exists():  # a round holds only what it replaced
        return
    if reason := _unreadable(folder / PICTURES):
        yield Damage(folder / PICTURES, reason)
        return
    rows, pictures = len(read_table(folder / "samples.csv")), len(map_array(folder / PICTURES))
    if rows != pictures:
        yield Damage(folder / "samples.csv", f"has {rows:,} rows for {pictures:,} pictures")


def _unreadable(file: Path) -> str:
    try:
        if not file.is_file():
            return "is missing"
        if file.stat().st_size == 0:
            return "is empty"
        if reader := _READERS.get(file.suffix):
            reader(file)
    except (DiffInfError, OSError, ValueError):
        return "is damaged"
    return ""


def refuse_unrecorded_damage(root: Path) -> None:
    """Raise :class:`DiffInfError` for a stage of an earlier version that is visibly damaged."""
    for folder in complete_stages(root):
        for damage in unrecorded_damage(folder) if unrecorded(folder) else ():
            raise DiffInfError(
                f"{damage}; 'diffinf doctor {shlex.quote(str(root))} --repair' computes it again."
            )
