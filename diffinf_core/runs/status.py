"""Which stages of a run are done, for the cost of one read.

A small index beside the configuration keeps where each stage lies, under a fingerprint of what that depends on:
the configuration, the versions of the code, and size and time of the files from outside. Whether a stage is
done is never stored: its mark is looked at, so another process that finishes a stage, or a folder that was
removed by hand, is seen at once. The index is written only where something is computed; a reader that finds
none, or an old one, works the keys out and keeps them in memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import digest, write_json
from diffinf_core.runs.run import DONE_FILE, Run, StageFolder
from diffinf_core.runs.stages import Stage, reachable

INDEX_FILE = ".status.json"

#: "fingerprint", and "marks": for each stage the folders that it needs, each with the stamp of its mark
Index = dict[str, Any]
_memory: WeakKeyDictionary[Run, Index] = WeakKeyDictionary()


def _stamp(file: Path) -> list[int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]


def _named(run: Run, file: Path) -> str:
    """A path that stays the same where the run's folder is moved."""
    return str(file.relative_to(run.root)) if file.is_relative_to(run.root) else str(file)


def _fingerprint(run: Run, stages: Sequence[Stage]) -> str:
    everything = reachable(run, stages)
    versions = [[stage.name, stage.version] for stage in everything]
    files = {f: None for stage in everything for f in stage.watched(run, *stage.parameters)}
    stamps = [[_named(run, file), _stamp(file)] for file in files]
    return digest(run.config.model_dump(mode="json"), str(run.edits), versions, stamps)


def _marks(run: Run, stage: Stage) -> list[list[Any]] | None:
    """The folders of a stage and of its parts; None where they are not known yet."""
    try:
        folders = [stage.folder(run), *(part.folder(run) for part in stage.parts_of(run))]
    except DiffInfError:
        return None
    return [[_named(run, f.path), _stamp(f / DONE_FILE)] for f in folders]


def _current(run: Run, index: Index | None, fingerprint: str) -> bool:
    if index is None or index["fingerprint"] != fingerprint:
        return False
    # A key can depend on what an earlier stage wrote, so all are worked out anew where one mark changed.
    marks = (mark for found in index["marks"].values() for mark in found or ())
    return all(_stamp(run.root / folder / DONE_FILE) == stamp for folder, stamp in marks)


def _stored(run: Run) -> Index | None:
    try:
        index = json.loads((run.root / INDEX_FILE).read_text())
        return index if isinstance(index["marks"], dict) and index["fingerprint"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _index(run: Run, stages: Sequence[Stage]) -> Index:
    fingerprint = _fingerprint(run, stages)
    for index in (_memory.get(run), _stored(run)):
        if index is not None and _current(run, index, fingerprint):
            break
    else:
        marks = {stage.name: _marks(run, stage) for stage in stages}
        index = {"fingerprint": fingerprint, "marks": marks}
    _memory[run] = index
    return index


def status(run: Run, stages: Sequence[Stage]) -> dict[str, bool]:
    """Whether each of some stages is done, in their order; none is before those in front of it are."""
    out: dict[str, bool] = {}
    for name, marks in _index(run, stages)["marks"].items():
        there = marks is not None and all(stamp is not None for _, stamp in marks)
        out[name] = there and all(out.values())
    return out


def write_index(run: Run, stages: Sequence[Stage]) -> None:
    """Keep the index for the next process that opens the run; for whoever computes in it."""
    index = _index(run, stages)
    if _stored(run) != index:
        write_json(run.root / INDEX_FILE, index)


def outdated(run: Run, stages: Sequence[Stage]) -> str | None:
    """One sentence where another version of the code computed a run, so that it must be computed again."""
    for stage in stages:
        if stage.done(run):
            continue
        marks = (run.root / "stages").glob(f"{stage.name}-*/{DONE_FILE}")
        versions = [StageFolder(mark.parent, "").version for mark in marks]
        if versions and stage.version not in versions:
            return (
                f"{run.root} was computed by another version of DiffInf and must be computed again from "
                f"the stage {stage.name!r} on; its decisions and edits are kept."
            )
    return None
