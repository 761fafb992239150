"""Trainings by workers of other machines: each is sent its data and returns the files of its folder.

The run's process stores them, and then goes on as after a training of its own that was stopped at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from diffinf_core.data.overlay import Pictures, in_memory
from diffinf_core.data.part import Part
from diffinf_core.records import Progress
from diffinf_core.runs.executor import (
    Call,
    Computing,
    Done,
    ItemsFailed,
    LocalExecutor,
    ParallelMap,
    compute,
    executor,
)
from diffinf_core.runs.files import write_file
from diffinf_core.runs.scratch import scratch_folder

Files = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class There:
    """What a worker was sent once: the pictures of the run, its validation split, and the weights that
    networks start from."""

    pictures: Pictures
    validation: Part | None
    pretrained: Path | None

    def on(self, part: Part) -> Part:
        """A part that :func:`without_pictures` made, with the run's pictures."""
        return replace(part, pictures=self.pictures)


class Training(Protocol):
    """A training on its way to a worker: pickled, and without the run's pictures."""

    def into(self, folder: Path, there: There) -> Iterable[object]:
        """Train into ``folder``; what is yielded is dropped."""


def without_pictures(part: Part) -> Part:
    """The part but for its pictures, which workers have (:meth:`There.on`), and its table's columns."""
    none = in_memory(np.zeros((0, part.size, part.size, 3), np.uint8))
    return replace(part, pictures=none, table=part.table.iloc[:, :0], group_column=None)


@dataclass(frozen=True)
class TrainTask:
    """Trainings on the pictures of one run, which are sent once."""

    pictures: Pictures
    validation: Part | None
    pretrained: NDArray[np.uint8] | None

    @contextmanager
    def open(self) -> Iterator[Call]:
        """The pictures, in the memory that the worker shares with the others of its node."""
        with scratch_folder() as home:
            start = None
            if self.pretrained is not None:
                start = Path(home) / "pretrained"
                start.write_bytes(self.pretrained.data)
            there = There(self.pictures, None, start)
            if self.validation is not None:
                there = replace(there, validation=there.on(self.validation))

            def call(training: Training) -> Files:
                with TemporaryDirectory(dir=home) as name:
                    folder = Path(name)
                    for _ in training.into(folder, there):
                        pass
                    files = (file for file in folder.rglob("*") if file.is_file())
                    return {str(f.relative_to(folder)): np.fromfile(f, np.uint8) for f in files}

            yield call


def _write(data: NDArray[np.uint8], file: BinaryIO) -> None:
    file.write(data.data)


def _store(files: Files, end: Path) -> None:
    """Write what a training left; what ends it, or one that it contains, after all that belongs to it."""

    def last(name: str) -> tuple[bool, int]:
        return Path(name).name == end.name, -len(Path(name).parts)

    for name in sorted(files, key=last):
        write_file(end.parent / name, partial(_write, files[name]))
    # of a training that this process had begun
    (end.parent / "last.pt").unlink(missing_ok=True)


@dataclass(frozen=True)
class Trainings:
    """Trainings by name, each with the file that it ends with, in the folder that it trains into.

    ``prepare`` makes a training by its name; ``pretrained`` are the weights that networks start from.
    """

    ends: Mapping[str, Path]
    prepare: Callable[[str], Training]
    pretrained: Path | None = None


def train_all(
    stage: str, trainings: Trainings, train: Part, validation: Part | None = None
) -> Iterator[Progress]:
    """Compute what is missing of some trainings, by the chosen executor.

    ``train`` and ``validation`` are parts of the run whose pictures all of them are trained on. In this
    process a training goes on with the epoch that it had reached; a worker begins anew.
    """
    ends = trainings.ends
    missing = [name for name, file in ends.items() if not file.exists()]
    if not missing:
        return

    def here(name: str) -> Computing:
        there = There(train.pictures, validation, trainings.pretrained)
        yield from trainings.prepare(name).into(ends[name].parent, there)

    def task() -> TrainTask:
        start = trainings.pretrained
        return TrainTask(
            train.pictures.sent(),
            None if validation is None else without_pictures(validation),
            None if start is None else np.fromfile(start, np.uint8),
        )

    done, total, load = len(ends) - len(missing), len(ends), ""
    yield Progress(stage, done, total)
    for event in compute(ParallelMap(here, task, trainings.prepare, str), missing):
        if isinstance(event, Progress):  # of a training in this process
            passed = done * event.total + event.done
            yield Progress(stage, passed, total * event.total, event.note, event.values)
            continue
        if isinstance(event, Done):
            if event.result is not None:
                _store(event.result, ends[event.item])
            done += 1
        else:
            load = str(event)
        yield Progress(stage, done, total, load)


def train_elsewhere(
    stage: str, trainings: Trainings, train: Part, validation: Part | None = None
) -> Generator[Progress, None, ItemsFailed | None]:
    """The same, but nothing where this process computes, for callers that then have ways of their own.

    Returns what failed for good, for the caller to raise once it has done what it can with the others.
    """
    if isinstance(executor(), LocalExecutor):
        return None
    try:
        yield from train_all(stage, trainings, train, validation)
    except ItemsFailed as failed:
        return failed
    return None
