"""The data sets that are compared: each arm differs from "noisy" in what it does with the top tau %."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffinf_core.correction.edits import edit_folder
from diffinf_core.correction.stage import has_repairs, repair_stage
from diffinf_core.data.part import Part, open_training, to_tensor
from diffinf_core.data.truth import open_truth
from diffinf_core.influence.stage import ranking, ranking_key
from diffinf_core.records import DiffInfError
from diffinf_core.review.opening import open_journal, read_decisions
from diffinf_core.runs.files import digest, read_json
from diffinf_core.runs.run import Run


@lru_cache(maxsize=4096)
def _picture(path: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"), np.uint8)


@dataclass(frozen=True)
class Arm:
    """A training set: rows of the original, some with another label, some with an edited picture.

    ``edits`` maps a row of this arm to the PNG that replaces its picture.
    """

    train: Part
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    edits: dict[int, str]

    def __len__(self) -> int:
        return len(self.positions)

    def tensors(self, rows: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """Pictures (B, 3, S, S) in [-1, 1]."""
        rows = np.asarray(rows, np.int64)
        images = self.train.images(self.positions[rows])
        for i, row in enumerate(rows):
            if int(row) in self.edits:
                images[i] = _picture(self.edits[int(row)])
        return to_tensor(images)


def arm_key(run: Run, name: str) -> str:
    """What an arm's data depends on; arms that nothing changed keep their key."""
    part: object = ""
    if name in ("removal", "relabelled"):
        part = ranking_key(run)
    elif name == "repaired":
        part = repair_stage(run).key if has_repairs(run) else None
    elif name == "reviewed":
        journal = open_journal(run)
        part = [journal.key()]
        journal.close()
    return digest(name, part)


def build_arm(run: Run, name: str) -> Arm | None:
    """The data of an arm, or None where it cannot exist (no truth, repair or decision yet)."""
    train = open_training(run)
    everything = np.arange(len(train))
    labels = train.labels.copy()
    if name == "noisy":
        return Arm(train, everything, labels, {})
    if name in ("clean", "relabelled"):
        truth = open_truth(run, "arms").training()
        if truth is None:
            return None
        high = (
            ranking(run)["high"].to_numpy() if name == "relabelled" else np.ones(len(train), bool)
        )
        return Arm(train, everything, np.where(high, truth[0], labels), {})
    if name == "removal":
        kept = everything[~ranking(run)["high"].to_numpy()]
        return Arm(train, kept, labels[kept], {})
    if name == "repaired":
        if not has_repairs(run):
            return None
        versions = read_json(repair_stage(run) / "versions.json")
        at = {sample: i for i, sample in enumerate(train.ids)}
        edits = {
            at[s]: str(edit_folder(run, s, version) / "edit.png") for s, version in versions.items()
        }
        return Arm(train, everything, labels, edits)
    if name == "reviewed":
        return _reviewed(run, train, labels)
    raise DiffInfError(f"Unknown arm {name!r}.")


def _reviewed(run: Run, train: Part, labels: NDArray[np.int64]) -> Arm | None:
    """What the reviewers decided; a sample nobody decided on stays as it was."""
    decisions = read_decisions(run)
    if not decisions:
        return None
    at = {sample: i for i, sample in enumerate(train.ids)}
    dropped = np.zeros(len(train), bool)
    edits: dict[int, str] = {}
    for sample, decision in decisions.items():
        i = at[sample]
        if decision.action == "accept" and decision.version:
            edits[i] = str(edit_folder(run, sample, decision.version) / "edit.png")
        elif decision.action == "relabel" and decision.new_label:
            labels[i] = train.classes.index(decision.new_label)
        elif decision.action == "drop":
            dropped[i] = True
    kept = np.flatnonzero(~dropped)
    moved = {int(np.searchsorted(kept, i)): file for i, file in edits.items()}
    return Arm(train, kept, labels[kept], moved)
