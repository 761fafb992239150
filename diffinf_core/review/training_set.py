"""A training set in memory maps: rows of the training split, some relabelled, some with an edited picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from diffinf_core.correction.edits import edited_pictures
from diffinf_core.data.overlay import by_file, from_file
from diffinf_core.data.part import Part, to_tensor
from diffinf_core.records import RefinedSet
from diffinf_core.runs.run import Run


@dataclass(frozen=True)
class TrainingSet:
    """What a classifier is trained on; sent to another process, it maps the same files there.

    ``positions`` (M,) in the training split and ``labels`` (M,) class indices; ``edited`` (M,) is the row of
    a sample's picture in ``edits`` (E, S, S, 3) uint8, -1 where the original stands.
    """

    train: Part
    positions: NDArray[np.int64]
    labels: NDArray[np.int64]
    edited: NDArray[np.int64]
    edits: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.positions)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "edits": by_file(self.edits)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**state, "edits": from_file(state["edits"])})

    def sent(self, train: Part) -> TrainingSet:
        """The same on ``train`` for a process of another machine, which is sent the edits and not their
        file's name."""
        return replace(self, train=train, edits=np.asarray(self.edits).view(np.ndarray))

    def images(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures (B, S, S, 3) uint8."""
        rows = np.asarray(rows, np.int64)
        images = self.train.images(self.positions[rows])
        at = self.edited[rows]
        images[at >= 0] = self.edits[at[at >= 0]]
        return images

    def tensors(self, rows: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """Pictures (B, 3, S, S) in [-1, 1]."""
        return to_tensor(self.images(rows))


def selected(train: Part, positions: NDArray[np.int64], labels: NDArray[np.int64]) -> TrainingSet:
    """Samples at some positions (M,), as they are, under ``labels`` (M,) of their own."""
    none = np.zeros((0, train.size, train.size, 3), np.uint8)
    return TrainingSet(train, positions, labels, np.full(len(positions), -1, np.int64), none)


def refined_training(run: Run, train: Part, refined: RefinedSet) -> TrainingSet:
    """A refined set as training data; edits of earlier rounds are among the split's own pictures."""
    kept = refined.kept
    index = {name: i for i, name in enumerate(train.classes)}
    edited = np.full(len(kept), -1, np.int64)
    folders: list[Path] = []
    for i, sample in enumerate(kept):
        if sample.edit is not None and sample.edit.new:
            edited[i] = len(folders)
            folders.append(sample.edit.folder)
    return TrainingSet(
        train,
        np.array([train.position(sample.id) for sample in kept], np.int64),
        np.array([index[sample.label] for sample in kept], np.int64),
        edited,
        edited_pictures(run, folders, train.size),
    )
