"""Compare an export with its manifest: every file's SHA-256, labels, and the size equation of D'."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from diffinf_core.export.render import sha256
from diffinf_core.records import DiffInfError

_OWN = {"manifest.json"}
#: what an export of an earlier version had beside its pictures, without their hashes
_EARLIER = {"manifest.json", "labels.csv"}


def verify_export(root: Path, table: pd.DataFrame, manifest: Mapping[str, Any]) -> None:
    """Raises :class:`DiffInfError` that names the first thing that differs."""
    name = "changes.csv" if manifest.get("format") == "patch" else "labels.csv"
    entries = manifest["samples"]
    if [entry["file"] or "" for entry in entries] != table["file"].tolist():
        raise DiffInfError(f"{root}: {name} and manifest.json list different pictures.")
    for entry, label in zip(entries, table["label"], strict=True):
        if entry["file"]:
            _compare(root / entry["file"], entry["sha256"])
        if label != entry["label"]:
            raise DiffInfError(
                f"{root}: {entry['file'] or entry['id']} is {label!r} in {name} and "
                f"{entry['label']!r} in manifest.json."
            )
    for file, expected in manifest.get("files", {}).items():
        _compare(root / file, expected)
    known = {entry["file"] for entry in entries}
    known |= _OWN | set(manifest["files"]) if "files" in manifest else _EARLIER
    beside = (p.relative_to(root).as_posix() for p in sorted(root.rglob("*")) if p.is_file())
    if extra := next((p for p in beside if p not in known), None):
        raise DiffInfError(f"{root / extra} is not part of the export.")
    _sizes(root, manifest)


def _compare(file: Path, expected: str) -> None:
    if not file.is_file():
        raise DiffInfError(f"{file} is missing.")
    if sha256(file) != expected:
        raise DiffInfError(f"{file} was changed after the export.")


def _sizes(root: Path, manifest: Mapping[str, Any]) -> None:
    """Equation 13: as many training pictures as before, less those that reviewers dropped."""
    entries = manifest["samples"]
    written = sum(bool(entry["file"]) for entry in entries)
    training = [entry for entry in entries if entry.get("split", "train") == "train"]
    given, dropped = manifest["n_original"], len(manifest["dropped"])
    held = len(training)
    if manifest.get("format") == "patch":  # and those that stayed as they were
        held += manifest["counts"]["original"]
    if written != manifest["n"] or not held == manifest.get("n_train", held) == given - dropped:
        raise DiffInfError(
            f"{root} holds {held} training pictures; {given} less {dropped} dropped should be there."
        )
