"""The manifest of an export: every file's hash, every picture's lineage; the same for all formats.

It holds no time of writing and no reviewer's name, so that the same export is the same bytes, and can be
given away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diffinf_core.correction.edits import read_record
from diffinf_core.data.ingest import DATA
from diffinf_core.data.state import TABLE
from diffinf_core.export.formats.format import write_json_lists
from diffinf_core.export.plan import Picture, Plan
from diffinf_core.export.render import sha256
from diffinf_core.runs.files import digest, read_json

FILE = "manifest.json"
#: of this file; read by :func:`diffinf_core.export.dataset.read_export`
SCHEMA = 2


def plan_key(plan: Plan) -> str:
    """Names what an export holds: the same key, the same bytes."""
    rows = [
        [p.id, p.file, p.split, p.label, p.source, [f.name for f in p.edits], _decided(p, plan)]
        for p in plan.pictures
    ]
    config = _portable(plan.run.config.model_dump())
    # what an earlier version did not know counts only where it is asked for
    options = {k: v for k, v in asdict(plan.options).items() if k != "subset" or v is not None}
    return digest(SCHEMA, options, config, skipped(plan), list(plan.refined.dropped), rows)


def _decided(picture: Picture, plan: Plan) -> list[str] | None:
    d = picture.decision
    if d is None:
        return None
    return [d.action, d.reviewer, d.time, d.comment if plan.options.comments else ""]


def _portable(value: Any) -> Any:
    """Settings as JSON; of paths the last part alone, as the rest is about somebody's machine."""
    if isinstance(value, dict):
        return {key: _portable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_portable(item) for item in value]
    return value.name if isinstance(value, Path) else value


def skipped(plan: Plan) -> dict[str, int]:
    """Bad rows and unreadable pictures of the data set that the run went on without."""
    given = DATA.folder(plan.run).figures.get("skipped", {})
    return {kind: int(given.get(kind, 0)) for kind in ("rows", "pictures")}


def _data_set(plan: Plan) -> dict[str, Any]:
    """The name of the data set, and the SHA-256 of its table where the run knows it."""
    file = DATA.folder(plan.run) / TABLE
    table = (read_json(file)["table"] if file.is_file() else None) or {}
    return {"name": plan.source.name, "table_sha256": table.get("sha256")}


def pseudonyms(plan: Plan) -> dict[str, str]:
    """A name such as "reviewer 1" for each reviewer, in the order of their first standing decision."""
    decisions = [s.decision for s in plan.refined.samples if s.decision is not None]
    names = dict.fromkeys(d.reviewer for d in sorted(decisions, key=lambda d: (d.time, d.sample)))
    return {name: f"reviewer {i}" for i, name in enumerate(names, 1)}


def counts(plan: Plan) -> dict[str, Any]:
    """What the data card and the manifest count."""
    labels = Counter(p.label for p in plan.pictures)
    return {
        **plan.refined.counts(),
        "skipped": skipped(plan),
        "splits": {s: sum(p.split == s for p in plan.pictures) for s in plan.split_names},
        "classes": {c: labels[c] for c in plan.classes},
        "decisions": dict(
            sorted(Counter(s.decision.state for s in plan.refined.samples if s.decision).items())
        ),
    }


def write_manifest(
    root: Path,
    plan: Plan,
    names: Sequence[str],
    hashes: Sequence[str],
    audit: Mapping[str, Any] | None,
) -> None:
    """Write ``manifest.json`` beside everything else that the folder holds; written last."""
    pictures = {name for name in names if name}
    others = sorted(
        p.relative_to(root).as_posix()
        for p in root.rglob("*")
        if p.is_file() and not p.name.startswith(".")
    )
    files = {name: sha256(root / name) for name in others if name not in pictures}
    refined = plan.refined
    partial = len(pictures) < len(plan.pictures) or plan.options.format == "patch"
    head = {
        "made_by": "DiffInf",
        "schema": SCHEMA,
        "key": plan_key(plan),
        "format": plan.options.format,
        "splits": plan.options.splits,
        "edits": plan.options.edits,
        "notice": "Pictures with source 'repaired' are synthetic edits, not photographs.",
        "undecided": plan.options.undecided,
        **({"subset": plan.options.subset.name} if plan.options.subset else {}),
        "n": len(pictures),
        "n_train": len(refined.kept),
        "n_original": len(refined.samples),
        "counts": counts(plan),
        "dropped": list(refined.dropped),
        "earlier": [{k: v for k, v in asdict(e).items() if v is not None} for e in refined.earlier],
        "classes": list(refined.classes),
        "audit": audit,
        "files": files,
        "data_set": _data_set(plan),
        "bit_depth": plan.pixels.depth,
        "configuration": _portable(plan.run.config.model_dump()),
    }
    write_json_lists(root / FILE, head, {"samples": _entries(plan, names, hashes, partial)})


def _entries(
    plan: Plan, names: Sequence[str], hashes: Sequence[str], partial: bool
) -> Iterator[dict[str, Any]]:
    people = pseudonyms(plan)
    for picture, name, digest_ in zip(plan.pictures, names, hashes, strict=True):
        if partial and not picture.changed:
            continue
        entry: dict[str, Any] = {
            "id": picture.id,
            "file": name or None,
            "label": picture.label,
            "assigned_label": picture.assigned,
            "split": picture.split,
            "original": picture.file,
            "source": picture.source,
            "sha256": digest_ or None,
        }
        if partial:
            entry["original_sha256"] = sha256(plan.source / picture.file)
        if picture.edits:
            edit = read_record(picture.edits[-1])
            entry |= {
                "synthetic": True,
                "version": edit.version,
                "versions": [folder.name for folder in picture.edits],
                "settings": edit.settings,
                "generator": edit.generator,
                "identity": edit.identity,
                "perceptual": edit.perceptual,
            }
        if picture.decision is not None:
            entry["decision"] = {
                "action": picture.decision.state,
                "reviewer": people[picture.decision.reviewer],
                "time": picture.decision.time,
            }
            if plan.options.comments:
                entry["decision"]["comment"] = picture.decision.comment
        yield entry
