"""Write the refined data set D' (equation 13) as a folder with one manifest.

Originals are copied byte for byte; edits are lossless PNG and say in their metadata that they are
synthetic. Nothing in the source folder is touched. The folder appears whole or not at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from diffinf_core.export.plan import Item, plan_export
from diffinf_core.records import DiffInfError, Edit, Progress
from diffinf_core.runs.files import file_digest, publish_folder, read_json, write_json
from diffinf_core.runs.run import Run


def export_folder(run: Run, target: Path, undecided: str = "original") -> Iterator[Progress]:
    """Export the training split after review.

    ``undecided`` says what happens to repaired samples that nobody decided on: "original" keeps
    them as they were, "repaired" takes the edit. Writes ``images/``, ``labels.csv`` (file, label,
    assigned_label, source, id) and ``manifest.json`` (hashes, lineage, settings, and under ``earlier``
    what earlier rounds repaired, relabelled and dropped).
    """
    plan = plan_export(run, undecided)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DiffInfError(f"{target} exists and is not empty; choose a new folder for the export.")
    for item in plan.items:
        if not item.file.is_file():
            raise DiffInfError(f"{item.file} is missing; the export was not written.")
    entries = [_entry(item) for item in plan.items]
    total = len(entries)
    # publish_folder builds in one go; the copying itself is what takes time, so it is staged here.
    beside = target.parent / f".{target.name}.export"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        (beside / "images").mkdir(parents=True)
        for i, (item, entry) in enumerate(zip(plan.items, entries, strict=True)):
            shutil.copyfile(item.file, beside / item.name)
            entry["sha256"] = file_digest(beside / item.name)
            if (i + 1) % 100 == 0 or i + 1 == total:
                yield Progress("export", i + 1, total, "writing pictures")
        manifest = {
            "made_by": "DiffInf",
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "notice": "Pictures with source 'repaired' are synthetic edits, not photographs.",
            "undecided": undecided,
            "n": total,
            "n_original": plan.n_original,
            "dropped": list(plan.dropped),
            "earlier": [
                {k: v for k, v in asdict(e).items() if v is not None} for e in plan.earlier
            ],
            "classes": list(plan.classes),
            "configuration": run.config.model_dump(mode="json"),
            "samples": entries,
        }
        rows = [
            {
                "file": item.name,
                "label": item.label,
                "assigned_label": item.assigned,
                "source": item.source,
                "id": item.id,
            }
            for item in plan.items
        ]
        pd.DataFrame(rows).to_csv(beside / "labels.csv", index=False)
        write_json(beside / "manifest.json", manifest)
        if target.exists():
            target.rmdir()
        publish_folder(target, lambda folder: _move_into(beside, folder))
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _entry(item: Item) -> dict[str, Any]:
    """A picture's place in the manifest."""
    out: dict[str, Any] = {
        "id": item.id,
        "file": item.name,
        "label": item.label,
        "original": item.original,
        "source": item.source,
    }
    if item.edit is not None:
        edit = Edit(**read_json(item.edit / "edit.json"))
        out |= {
            "synthetic": True,
            "version": edit.version,
            "settings": edit.settings,
            "generator": edit.generator,
            "identity": edit.identity,
            "perceptual": edit.perceptual,
        }
    if item.decision is not None:
        out["decision"] = {
            "action": item.decision.action,
            "reviewer": item.decision.reviewer,
            "time": item.decision.time,
            "comment": item.decision.comment,
        }
    return out


def _move_into(source: Path, target: Path) -> None:
    for item in source.iterdir():
        shutil.move(item, target / item.name)
