"""Trainings by workers of other machines: each is sent its data and returns the files of its folder.

The run's process stores them, and then goes on as after a training of its own that was stopped at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from diffinf_core.classifier.training import train_classifier
from diffinf_core.config import ClassifierConfig
from diffinf_core.data.overlay import Pictures, in_memory
from diffinf_core.data.part import Part
from diffinf_core.records import Progress
from diffinf_core.runs.executor import (
    Call,
    Computing,
    Done,
    LocalExecutor,
    ParallelMap,
    compute,
    executor,
)
from diffinf_core.runs.files import write_file

#: written last, so that a folder with it is complete
_LAST = "final.pt"


@dataclass(frozen=True)
class Training:
    """A training under ``config``; ``data`` is a data class over the part ``data.train`` of a run.

    ``options`` are further ones of :func:`train_classifier`.
    """

    data: Any
    config: ClassifierConfig
    options: Mapping[str, Any]


@dataclass(frozen=True)
class TrainTask:
    """Trainings on the pictures of one run, which are sent once."""

    pictures: Pictures
    classes: int
    validation: Part | None
    pretrained: NDArray[np.uint8] | None

    @contextmanager
    def open(self) -> Iterator[Call]:
        """The pictures, in the memory that the worker shares with the others of its node."""
        with TemporaryDirectory(prefix="diffinf-") as home:
            start = None
            if self.pretrained is not None:
                start = Path(home, "pretrained")
                start.write_bytes(self.pretrained.data)
            validation = self.validation and replace(self.validation, pictures=self.pictures)

            def call(training: Training) -> dict[str, NDArray[np.uint8]]:
                train = replace(training.data.train, pictures=self.pictures)
                with TemporaryDirectory(dir=home) as folder:
                    for _ in train_classifier(
                        replace(training.data, train=train),
                        self.classes,
                        training.config,
                        Path(folder),
                        validation=validation,
                        pretrained=start,
                        **training.options,
                    ):
                        pass
                    return {f.name: np.fromfile(f, np.uint8) for f in Path(folder).iterdir()}

            yield call


def _without_pictures(part: Part) -> Part:
    return replace(part, pictures=in_memory(np.zeros((0, part.size, part.size, 3), np.uint8)))


def _write(data: NDArray[np.uint8], file: BinaryIO) -> None:
    file.write(data.data)


def train_elsewhere(
    stage: str,
    folders: Mapping[str, Path],
    prepare: Callable[[str], Training],
    validation: Part,
    pretrained: Path | None,
) -> Iterator[Progress]:
    """Compute the trainings whose ``folders``, by name, hold none yet; nothing where this process computes.

    ``prepare`` makes a training by its name; ``validation`` is a part of the same run.
    """
    missing = [name for name, folder in folders.items() if not (folder / _LAST).exists()]
    if not missing or isinstance(executor(), LocalExecutor):
        return

    def here(_: str) -> Computing:
        raise NotImplementedError("this process trains by itself")

    def task() -> TrainTask:
        weights = None if pretrained is None else np.fromfile(pretrained, np.uint8)
        part = _without_pictures(validation)
        return TrainTask(validation.pictures.sent(), len(validation.classes), part, weights)

    def pack(name: str) -> Training:
        training = prepare(name)
        train = _without_pictures(training.data.train)
        return replace(training, data=replace(training.data, train=train))

    done, total = len(folders) - len(missing), len(folders)
    yield Progress(stage, done, total)
    for event in compute(ParallelMap(here, task, pack, str), missing):
        if isinstance(event, Done):
            for name, data in sorted(event.result.items(), key=lambda file: file[0] == _LAST):
                write_file(folders[event.item] / name, partial(_write, data))
            done += 1
            yield Progress(stage, done, total, event.item)
        else:
            yield Progress(stage, done, total, str(event))
