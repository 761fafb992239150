"""Edits that stand out among the run's own: what is usual differs from one generator to the next, so some
figures are judged by their distance from the median of the run's edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from diffinf_core.correction.edits import load_edit
from diffinf_core.correction.stage import REPAIR, USUAL
from diffinf_core.records import DiffInfError, Edit
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import Run

#: flag: the figure that it is about, and how that is written in a sentence
FIGURES = {"implausible": "implausibility", "extreme change": "perceptual"}
_WORDS = {"implausibility": "implausibility", "perceptual": "perceptual distance"}


def limits_of(run: Run) -> Mapping[str, list[float]]:
    """Median and limit of each figure among the run's edits; empty where these are too few, or not made."""
    try:
        folder = REPAIR.folder(run)
        return dict(read_json(folder / USUAL)) if folder.done else {}
    except DiffInfError:
        return {}  # not there in runs of earlier versions


def flagged(edit: Edit, limits: Mapping[str, list[float]]) -> Edit:
    """The edit with the flags that follow from :func:`limits_of`."""
    flags = dict(edit.flags)
    for flag, figure in FIGURES.items():
        value = getattr(edit, figure)
        if value is not None and figure in limits and value > limits[figure][1]:
            median, limit = limits[figure]
            flags[flag] = (
                f"{_WORDS[figure]} {value:.2f}; the run's edits have {median:.2f} in the median and "
                f"rarely {limit:.2f}"
            )
    return replace(edit, flags=flags)


def load_flagged(run: Run, sample: str, version: str) -> Edit:
    """The record of a version, flagged by what is usual in the run, too."""
    return flagged(load_edit(run, sample, version), limits_of(run))
