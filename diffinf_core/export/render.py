"""The file that stands for a picture in an export: a copy of the original, or the original with its edits."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from diffinf_core.correction.edits import read_record
from diffinf_core.data.alignment import alignment_of
from diffinf_core.data.overlay import read_picture
from diffinf_core.export.encoding import Encoded, as_png, open_stored, paste, suffix_of
from diffinf_core.export.formats import Format
from diffinf_core.export.names import KNOWN, fitting_suffix, unique, with_suffix
from diffinf_core.export.pasting import Floats, change_of
from diffinf_core.export.plan import Picture, Plan
from diffinf_core.records import DiffInfError


def file_names(plan: Plan, form: Format) -> list[str]:
    """Where each picture of the plan goes, below the export's folder; "" for one that is not written."""
    names, kept = [], []
    rows = [i for i, picture in enumerate(plan.pictures) if picture.edits or not form.partial]
    for at, i in enumerate(rows):
        picture = plan.pictures[i]
        own = form.place(picture, plan)
        name = with_suffix(own, _suffix(plan, picture, form))
        if name == own:
            kept.append(at)
        names.append(name)
    ids = [plan.pictures[i].id for i in rows]
    out = [""] * len(plan.pictures)
    for i, name_ in zip(rows, unique(names, ids, kept, form.stems), strict=True):
        out[i] = name_
    return out


def _suffix(plan: Plan, picture: Picture, form: Format) -> str:
    original, own = plan.source / picture.file, Path(picture.file).suffix
    if picture.edits and plan.options.edits == "working":
        return ".png"
    if picture.edits:
        suffix = suffix_of(original, plan.options.edits == "like-original")
    elif own.lower() in KNOWN:
        return own
    else:
        with open_stored(original) as image:
            suffix = fitting_suffix(own, str(image.format))
    if form.known and suffix.lower() not in KNOWN:
        raise DiffInfError(
            f"{original} is of a kind that readers of class folders leave out; export as csv or "
            "huggingface."
        )
    return suffix


def edited_file(plan: Plan, picture: Picture) -> Encoded:
    """The file of an edited picture, marked as AI-edited."""
    record = read_record(picture.edits[-1])
    notes = {
        "Software": "DiffInf",
        "Synthetic": "edited by a diffusion autoencoder; not a photograph",
        "Sample": picture.id,
        "Version": record.version,
    }
    if plan.options.edits == "working":
        return as_png(read_picture(picture.edits[-1] / "edit.png"), notes)
    original = plan.source / picture.file
    like = plan.options.edits == "like-original"
    depth, alignment = plan.pixels.depth, alignment_of(plan.run, picture.id)
    return paste(original, _change(picture.edits), plan.size, notes, like, depth, alignment)


def _change(folders: Sequence[Path]) -> Floats:
    """The change of all versions together; each began with what the one before it left."""
    changes = [
        change_of(read_picture(f / "edit.png"), read_picture(f / "reconstruction.png"))
        for f in folders
    ]
    return np.sum(changes, axis=0, dtype=np.float32)


def write_picture(plan: Plan, picture: Picture, target: Path) -> None:
    """Write one picture."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if picture.edits:
        target.write_bytes(edited_file(plan, picture).data)
    else:
        copy(plan.source / picture.file, target)


def copy(source: Path, target: Path) -> None:
    """Copy the bytes of a file."""
    with open(source, "rb") as given, open(target, "wb") as out:
        shutil.copyfileobj(given, out, 1 << 20)


def sync(files: Iterable[Path]) -> None:
    """Bring written files to the disk: at once where the system can, else one by one."""
    if hasattr(os, "sync"):
        os.sync()
        return
    for path in files:
        with open(path, "r+b") as file:
            os.fsync(file.fileno())


def sha256(path: Path) -> str:
    """SHA-256 of a file as it is on the disk, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
