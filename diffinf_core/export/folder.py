"""Write the refined data set D' (equation 13) as a folder with one manifest.

Originals are copied byte for byte; edits are lossless PNG and say in their metadata that they are
synthetic. Nothing in the source folder is touched. The folder appears whole or not at all.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from diffinf_core.correction.edits import edit_folder, load_edit
from diffinf_core.correction.stage import has_repairs, repair_stage
from diffinf_core.data.ingest import source_folder
from diffinf_core.data.lineage import earlier_edits
from diffinf_core.data.training import open_training
from diffinf_core.records import DiffInfError, Edit, Progress
from diffinf_core.review.queue import open_journal
from diffinf_core.store import Run, file_digest, publish_folder, read_json, write_json

UNDECIDED = ("original", "repaired")


def export_folder(run: Run, target: Path, undecided: str = "original") -> Iterator[Progress]:
    """Export the training split after review.

    ``undecided`` says what happens to repaired samples that nobody decided on: "original" keeps
    them as they were, "repaired" takes the edit. Writes ``images/``, ``labels.csv`` (file, label,
    assigned_label, source, id) and ``manifest.json`` (hashes, lineage, settings).
    """
    if undecided not in UNDECIDED:
        raise DiffInfError(f"undecided must be one of {', '.join(UNDECIDED)}, not {undecided!r}.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DiffInfError(f"{target} exists and is not empty; choose a new folder for the export.")
    train = open_training(run)
    root, earlier = source_folder(run), earlier_edits(run)
    decisions = open_journal(run).decisions()
    proposed = read_json(repair_stage(run) / "versions.json") if has_repairs(run) else {}
    rows: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    dropped: list[str] = []
    plan: list[tuple[Path, str]] = []
    for i, sample_id in enumerate(train.ids):
        sample = train.sample(i)
        decision = decisions.get(str(sample_id))
        label, version, source = sample.label, None, "original"
        if decision is None or decision.action == "second_look":
            if undecided == "repaired" and sample_id in proposed:
                version, source = proposed[str(sample_id)], "repaired"
        elif decision.action == "drop":
            dropped.append(str(sample_id))
            continue
        elif decision.action == "accept":
            version, source = decision.version, "repaired"
        elif decision.action == "relabel" and decision.new_label:
            label, source = decision.new_label, "relabelled"
        before = earlier.get(str(sample_id))
        if version:
            file = edit_folder(run, str(sample_id), version) / "edit.png"
            name = f"images/{sample_id}.png"
        elif before is not None:
            file, source = before / "edit.png", "repaired"
            name = f"images/{sample_id}.png"
        else:
            file = root / sample.file
            name = f"images/{sample_id}{Path(sample.file).suffix.lower()}"
        if not file.is_file():
            raise DiffInfError(f"{file} is missing; the export was not written.")
        plan.append((file, name))
        rows.append(
            {
                "file": name,
                "label": label,
                "assigned_label": sample.label,
                "source": source,
                "id": str(sample_id),
            }
        )
        lineage: dict[str, Any] = {"original": sample.file, "source": source}
        edit = None
        if version:
            edit = load_edit(run, str(sample_id), version)
        elif before is not None:
            edit = Edit(**read_json(before / "edit.json"))
        if edit is not None:
            lineage |= {
                "synthetic": True,
                "version": edit.version,
                "settings": edit.settings,
                "generator": edit.generator,
                "identity": edit.identity,
                "perceptual": edit.perceptual,
            }
        if decision:
            lineage["decision"] = {
                "action": decision.action,
                "reviewer": decision.reviewer,
                "time": decision.time,
                "comment": decision.comment,
            }
        entries.append({"id": str(sample_id), "file": name, "label": label, **lineage})
    total = len(plan)
    # publish_folder builds in one go; the copying itself is what takes time, so it is staged here.
    beside = target.parent / f".{target.name}.export"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        (beside / "images").mkdir(parents=True)
        for i, ((file, name), entry) in enumerate(zip(plan, entries, strict=True)):
            shutil.copyfile(file, beside / name)
            entry["sha256"] = file_digest(beside / name)
            if (i + 1) % 100 == 0 or i + 1 == total:
                yield Progress("export", i + 1, total, "writing pictures")
        manifest = {
            "made_by": "DiffInf",
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "notice": "Pictures with source 'repaired' are synthetic edits, not photographs.",
            "undecided": undecided,
            "n": total,
            "n_original": len(train),
            "dropped": dropped,
            "classes": list(train.classes),
            "configuration": run.config.model_dump(mode="json"),
            "samples": entries,
        }
        pd.DataFrame(rows).to_csv(beside / "labels.csv", index=False)
        write_json(beside / "manifest.json", manifest)
        if target.exists():
            target.rmdir()
        publish_folder(target, lambda folder: _move_into(beside, folder))
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _move_into(source: Path, target: Path) -> None:
    for item in source.iterdir():
        shutil.move(item, target / item.name)
