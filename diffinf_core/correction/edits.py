"""Edits on disk: one folder for each version of each sample.

``edits/<sample>/<version>/`` appears whole: ``edit.png``, ``reconstruction.png`` (the plain decoding, no
guidance) and ``edit.json``.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffinf_core.records import DiffInfError, Edit
from diffinf_core.runs.files import publish_folder, read_json, write_json, write_png
from diffinf_core.runs.run import Run

_ID = re.compile(r"[0-9a-f]{12}")
_VERSION = re.compile(r"[0-9a-f]{16}")


def edit_folder(run: Run, sample: str, version: str) -> Path:
    """Where a version lies; :class:`DiffInfError` for names that are no ids."""
    if not _ID.fullmatch(sample) or not _VERSION.fullmatch(version):
        raise DiffInfError(f"There is no edit {version!r} of sample {sample!r}.")
    return run.edits / sample / version


def load_edit(run: Run, sample: str, version: str) -> Edit:
    """The record of a version."""
    return Edit(**read_json(edit_folder(run, sample, version) / "edit.json"))


def read_edit(run: Run, sample: str, version: str, what: str = "edit") -> NDArray[np.uint8]:
    """The "edit" or the plain "reconstruction" of a version, uint8 (S, S, 3)."""
    with Image.open(edit_folder(run, sample, version) / f"{what}.png") as image:
        return np.array(image.convert("RGB"), np.uint8)


def versions_of(run: Run, sample: str) -> list[str]:
    """All versions of a sample, oldest first."""
    folder = edit_folder(run, sample, "0" * 16).parent
    if not folder.is_dir():
        return []
    found = [
        p for p in folder.iterdir() if _VERSION.fullmatch(p.name) and (p / "edit.json").exists()
    ]
    return [p.name for p in sorted(found, key=lambda p: (p / "edit.json").stat().st_mtime_ns)]


def publish_edit(
    run: Run, edit: Edit, image: NDArray[np.uint8], reconstruction: NDArray[np.uint8]
) -> None:
    """Write a version, whole or not at all; pictures are uint8 (S, S, 3)."""
    # Edited faces are synthetic; the file says so wherever it is taken.
    notes = {
        "Software": "DiffInf",
        "Synthetic": "edited by a diffusion autoencoder; not a photograph",
        "Sample": edit.sample,
        "Version": edit.version,
    }

    def build(folder: Path) -> None:
        write_png(folder / "edit.png", image, notes)
        write_png(folder / "reconstruction.png", reconstruction, notes)
        write_json(folder / "edit.json", edit.as_dict())

    publish_folder(edit_folder(run, edit.sample, edit.version), build)
