"""The training split as later stages see it: pictures, assigned labels, ids. No truth, no test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffinf_core.data.ingest import DATA
from diffinf_core.data.lineage import origin
from diffinf_core.data.overlay import PICTURES, REPLACED, Pictures, in_memory, open_pictures
from diffinf_core.data.profile import profile_of
from diffinf_core.data.split import TEST, TRAIN, VAL, fold_of
from diffinf_core.records import DiffInfError, Sample
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import Run
from diffinf_core.runs.seal import refuse
from diffinf_core.runs.tables import read_table


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """uint8 (B, S, S, 3) to float (B, 3, S, S) in [-1, 1], channels last."""
    x = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    return (x.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def to_image(x: Tensor) -> NDArray[np.uint8]:
    """Float (B, 3, S, S) in [-1, 1] to uint8 (B, S, S, 3), rounded and clipped."""
    levels = ((x.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round()
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


@dataclass(frozen=True)
class Part:
    """Some rows of a data set, with pictures on disk.

    ``labels`` (N,) are class indices; ``table`` keeps every column the data set came with; ``rows`` (N,) say
    where the part's pictures stand among all ``pictures`` of the run. ``group_column`` is the column whose
    values (people, say) must not be cut by a split or a fold; None where each sample stands for itself.
    """

    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    table: pd.DataFrame
    pictures: Pictures
    rows: NDArray[np.int64]
    group_column: str | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> int:
        return self.pictures.side

    def images(self, positions: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures (B, S, S, 3) uint8 at positions in this part."""
        return self.pictures.read(self.rows[np.asarray(positions, np.int64)])

    def tensors(self, positions: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """Pictures (B, 3, S, S) in [-1, 1]."""
        return to_tensor(self.images(positions))

    def taken(self, positions: NDArray[np.int64]) -> Part:
        """The samples at some positions as a part of their own, which holds their pictures."""
        return replace(
            self,
            ids=self.ids[positions],
            labels=self.labels[positions],
            table=self.table.iloc[positions].reset_index(drop=True),
            pictures=in_memory(self.images(positions)),
            rows=np.arange(len(positions)),
        )

    @property
    def groups(self) -> NDArray[np.str_] | None:
        """The group of each sample (N,); None where each stands for itself."""
        return None if self.group_column is None else self.table[self.group_column].to_numpy(str)

    def folds(self, count: int, seed: int) -> NDArray[np.int64]:
        """The fold of each sample for cross-fitting; whole groups where the data set has them."""
        groups = self.groups
        return fold_of(len(self), count, seed, None if groups is None else groups.tolist())

    def position(self, sample_id: str) -> int:
        """Where a sample stands; :class:`DiffInfError` for an id that is not in this part."""
        found = self._places.get(sample_id)
        if found is None:
            raise DiffInfError(f"There is no training sample {sample_id!r} in this run.")
        return found

    @cached_property
    def _places(self) -> dict[str, int]:
        return {str(name): place for place, name in enumerate(self.ids)}

    def samples(self) -> Iterator[Sample]:
        """Every sample as a record, in order."""
        files = self.table["file"].tolist()
        for name, file, index in zip(self.ids.tolist(), files, self.labels.tolist(), strict=True):
            yield Sample(name, file, self.classes[index], index)

    def sample(self, position: int) -> Sample:
        """One sample as a record."""
        row = self.table.iloc[position]
        return Sample(
            id=str(self.ids[position]),
            file=str(row["file"]),
            label=self.classes[self.labels[position]],
            label_index=int(self.labels[position]),
        )


@lru_cache(maxsize=4)
def _pictures(folder: Path, first: Path, *stamps: int) -> Pictures:
    return open_pictures(folder, first)


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def run_pictures(run: Run) -> Pictures:
    """Every picture of a run, in the order of ``samples.csv``."""
    if run.pictures is not None:  # sent from another machine
        return run.pictures
    folder = DATA.folder(run).path
    # the state of the source that a round was made from, whatever its first round is computed from now
    first = origin(run) / "stages" / folder.name
    stamps = [_stamp(file) for file in (folder / PICTURES, folder / REPLACED, first / PICTURES)]
    return _pictures(folder, first, *stamps)


def open_part(run: Run, part: str) -> Part:
    """Rows of one split; later rooms call :func:`open_training` or :mod:`diffinf_core.data.truth`."""
    if part == TEST:
        refuse(f"The test split of {run.root}")
    stage = DATA.folder(run)
    if not stage.done:
        raise DiffInfError(f"{run.root} has no data yet; start the run first.")
    table = read_table(stage / "samples.csv")
    classes = tuple(read_json(stage / "classes.json"))
    rows = np.flatnonzero((table["split"] == part).to_numpy())
    chosen = table.iloc[rows].reset_index(drop=True)
    index = {name: i for i, name in enumerate(classes)}
    return Part(
        ids=chosen["id"].to_numpy(str),
        labels=np.array([index[c] for c in chosen["label"].tolist()], np.int64),
        classes=classes,
        table=chosen.drop(columns=["split"]),
        pictures=run_pictures(run),
        rows=rows,
        group_column=profile_of(run).group_column,
    )


def open_training(run: Run) -> Part:
    """The training split with its assigned, possibly wrong labels."""
    return open_part(run, TRAIN)


def open_validation(run: Run) -> Part:
    """The validation split, which chooses an epoch; its labels are as given."""
    return open_part(run, VAL)
