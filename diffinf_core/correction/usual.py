"""Edits that stand out among the run's own: how far an edit may change a picture differs from one data set
and generator to the next."""

from __future__ import annotations

from dataclasses import replace

from diffinf_core.correction.edits import load_edit
from diffinf_core.correction.stage import REPAIR, USUAL, Usual
from diffinf_core.records import DiffInfError, Edit
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import Run

FLAG = "extreme change"


def usual_of(run: Run) -> Usual | None:
    """What is usual among the run's edits; None where these are too few, or not made."""
    try:
        folder = REPAIR.folder(run)
        return Usual(**read_json(folder / USUAL)) if folder.done else None
    except (DiffInfError, TypeError):
        return None  # not there in runs of earlier versions, or nothing is usual


def flagged(edit: Edit, usual: Usual | None) -> Edit:
    """The edit with the flag that follows from :func:`usual_of`."""
    if usual is None or edit.perceptual <= usual.limit:
        return edit
    text = (
        f"perceptual distance {edit.perceptual:.2f}; the run's edits have {usual.median:.2f} in the median "
        f"and rarely {usual.limit:.2f}"
    )
    return replace(edit, flags={**edit.flags, FLAG: text})


def load_flagged(run: Run, sample: str, version: str) -> Edit:
    """The record of a version, flagged by what is usual in the run, too."""
    return flagged(load_edit(run, sample, version), usual_of(run))
