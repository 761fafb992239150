"""Write the refined data set D' (equation 13) as a folder with one manifest.

Originals are copied byte for byte; edits are lossless PNG and say in their metadata that they are
synthetic. Nothing in the source folder is touched. The folder appears whole or not at all.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from diffinf_core.correction.edits import read_record
from diffinf_core.data.ingest import source_folder
from diffinf_core.data.lineage import FOLDER as ROUNDS
from diffinf_core.data.lineage import origin
from diffinf_core.data.overlay import read_picture
from diffinf_core.data.update import refuse_changed
from diffinf_core.records import DiffInfError, Progress, RefinedSample
from diffinf_core.review.refine import refined_set
from diffinf_core.runs.files import (
    file_digest,
    staged_folder,
    sync_folder,
    write_json,
    write_table,
)
from diffinf_core.runs.locks import exclusive
from diffinf_core.runs.run import FOLDERS, Run

#: of labels.csv
COLUMNS = ("file", "label", "assigned_label", "source", "id")


@dataclass(frozen=True)
class _Item:
    """One picture of the export: ``file`` is copied to ``name``."""

    sample: RefinedSample
    file: Path
    name: str


def _item(sample: RefinedSample, root: Path) -> _Item:
    file = root / sample.file if sample.edit is None else sample.edit.folder / "edit.png"
    return _Item(sample, file, f"images/{sample.id}{file.suffix.lower()}")


def export_folder(run: Run, target: str | Path, undecided: str = "original") -> Iterator[Progress]:
    """Export the training split after review.

    ``undecided`` says what happens to edited samples on which nobody has decided, see
    :func:`diffinf_core.review.refine.refine`. Writes ``images/``, ``labels.csv`` (file, label,
    assigned_label, source, id) and ``manifest.json`` (hashes, lineage, settings, and under ``earlier``
    what earlier rounds repaired, relabelled and dropped).

    Raises :class:`DiffInfError` where ``target`` is in use: a folder that is not empty, one that another
    export is writing, or one inside the run or the data set.
    """
    target = Path(target).resolve()  # the lock and the rename want no link
    root = source_folder(run)
    _check_target(target, run)
    refuse_changed(run, "The export was not written")
    refined = refined_set(run, undecided)
    items = [_item(sample, root) for sample in refined.kept]
    for item in items:
        if not item.file.is_file():
            raise DiffInfError(f"{item.file} is missing; the export was not written.")
    entries = [_entry(item) for item in items]
    total = len(entries)
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.parent / f".{target.name}.diffinf-export.lock"
    busy = f"Another export is writing {_braced(target)}{{holder}}; wait for it."
    with exclusive(lock, busy, keep=False), _refused(target):
        _check_target(target, run)
        with staged_folder(target) as beside:
            (beside / "images").mkdir()
            for i, (item, entry) in enumerate(zip(items, entries, strict=True)):
                if item.sample.edit is not None:
                    read_picture(item.file)  # a damaged one is not for others to find
                _copy(item.file, beside / item.name)
                entry["sha256"] = file_digest(beside / item.name)
                if (i + 1) % 100 == 0 or i + 1 == total:
                    yield Progress("export", i + 1, total, "writing pictures")
            written = sum(1 for _ in (beside / "images").iterdir())
            if written != total:
                raise DiffInfError(
                    f"{written} of {total} pictures were written; the export was not made."
                )
            manifest = {
                "made_by": "DiffInf",
                "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "notice": "Pictures with source 'repaired' are synthetic edits, not photographs.",
                "undecided": undecided,
                "n": total,
                "n_original": len(refined.samples),
                "dropped": list(refined.dropped),
                "earlier": [
                    {k: v for k, v in asdict(e).items() if v is not None} for e in refined.earlier
                ],
                "classes": list(refined.classes),
                "configuration": run.config.model_dump(mode="json"),
                "samples": entries,
            }
            rows = [
                {
                    "file": item.name,
                    "label": item.sample.label,
                    "assigned_label": item.sample.assigned,
                    "source": item.sample.source,
                    "id": item.sample.id,
                }
                for item in items
            ]
            sync_folder(beside / "images")
            write_table(beside / "labels.csv", pd.DataFrame(rows, columns=list(COLUMNS)))
            write_json(beside / "manifest.json", manifest)


def _braced(target: Path) -> str:
    """A path as part of a format string."""
    return str(target).replace("{", "{{").replace("}", "}}")


@contextmanager
def _refused(target: Path) -> Iterator[None]:
    """A target that something else has taken meanwhile is a sentence."""
    try:
        yield
    except FileExistsError as error:
        raise DiffInfError(
            f"Something else was written to {target} meanwhile; choose a new folder for the export."
        ) from error


def _check_target(target: Path, run: Run) -> None:
    """Refuse a target that holds something, or that lies where a run or a data set keeps its files."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DiffInfError(f"{target} exists and is not empty; choose a new folder for the export.")
    home, first = run.root.resolve(), origin(run).resolve()
    own = [source_folder(run).resolve(), *(home / name for name in FOLDERS)]
    own += [first / name for name in FOLDERS if first == home or name != ROUNDS]
    if first != home:  # other rounds of the same run, and the folder that holds them
        own += [p.resolve() for p in (first / ROUNDS).iterdir() if p.resolve() != home]
    taken = next((folder for folder in own if target.is_relative_to(folder)), None)
    if taken is None and target in (home, first, first / ROUNDS):
        taken = target
    if taken is not None:
        raise DiffInfError(
            f"{target} lies inside {taken}, which is not for exports; choose another folder."
        )


def _copy(source: Path, target: Path) -> None:
    """Copy a file and bring it to the disk."""
    with open(source, "rb") as given, open(target, "wb") as out:
        shutil.copyfileobj(given, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())


def _entry(item: _Item) -> dict[str, Any]:
    """A picture's place in the manifest."""
    sample = item.sample
    out: dict[str, Any] = {
        "id": sample.id,
        "file": item.name,
        "label": sample.label,
        "original": sample.file,
        "source": sample.source,
    }
    if sample.edit is not None:
        edit = read_record(sample.edit.folder)
        out |= {
            "synthetic": True,
            "version": edit.version,
            "settings": edit.settings,
            "generator": edit.generator,
            "identity": edit.identity,
            "perceptual": edit.perceptual,
        }
    if sample.decision is not None:
        out["decision"] = {
            "action": sample.decision.action,
            "reviewer": sample.decision.reviewer,
            "time": sample.decision.time,
            "comment": sample.decision.comment,
        }
    return out
