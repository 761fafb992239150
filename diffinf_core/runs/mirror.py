"""The part of a run's folder that a task reads, sent to another machine: no shared storage is needed.

Keys are sent and not worked out again, because they depend on files that stay behind. Nothing is sent but
what a task names, so neither the truth nor the test split leaves the machine of the run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffinf_core.config import RunConfig
from diffinf_core.runs.inventory import MARK
from diffinf_core.runs.run import Run
from diffinf_core.runs.scratch import scratch_folder
from diffinf_core.runs.stages import Stage

#: names of files of a finished stage, as patterns
Reads = Mapping[Stage, Sequence[str]]


@dataclass(frozen=True)
class Mirror:
    """Settings, keys by stage, and the bytes of files by their path in the run's folder."""

    config: RunConfig
    keys: Mapping[str, str]
    files: Mapping[str, NDArray[np.uint8]]

    @contextmanager
    def open(self) -> Iterator[Run]:
        """The run in a temporary folder of the worker's machine."""
        with scratch_folder() as scratch:
            folder = Path(scratch)
            for name, data in self.files.items():
                file = folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data.data)
            run = Run(folder, self.config)
            run.keys = self.keys
            yield run


def mirror(run: Run, reads: Reads, extra: Mapping[str, Path]) -> Mirror:
    """What is sent of a run: files of stages, and ``extra`` files by the path they are to have."""
    files = dict(extra)
    for stage, patterns in reads.items():
        folder = stage.folder(run).path
        for pattern in (MARK, *patterns):
            files |= {f"stages/{folder.name}/{f.name}": f for f in folder.glob(pattern)}
    sent = {name: np.fromfile(file, np.uint8) for name, file in files.items()}
    return Mirror(run.config, {stage.name: stage.key(run) for stage in reads}, sent)


def below(root: Path, folders: Iterable[Path]) -> dict[str, Path]:
    """Every file in some folders by its path below ``root``."""
    return {
        file.relative_to(root).as_posix(): file
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@contextmanager
def added_weights_at(folder: Path) -> Iterator[None]:
    """Take weights that a user added from a folder, as long as the block lasts."""
    before = os.environ.get("DIFFINF_WEIGHTS")
    os.environ["DIFFINF_WEIGHTS"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("DIFFINF_WEIGHTS")
        if before is not None:
            os.environ["DIFFINF_WEIGHTS"] = before
