"""What a run computes, declared: what each stage is made from, its settings, and the version of its code.

Keys, order, resuming, "done already" and the seconds a stage took follow from the declarations, here and
nowhere else. A stage's key is a digest of its name, the version of its code, its parameters and settings, and
the keys of its inputs: another tau, other weights or changed code lead to another folder, and stages that
depend on none of them are not computed again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import digest
from diffinf_core.runs.run import Run, StageFolder

#: yields progress and returns the figures worth reporting
Work = Generator[Progress, None, dict[str, Any]]

#: the note of a stage's only event where there is nothing to do
DONE_ALREADY = "done already"


def _none(*_: object) -> tuple[()]:
    return ()


def _one_by_one(run: Run, parts: Sequence[Stage]) -> Iterator[Progress]:
    for part in parts:
        yield from ensure(run, part)


@dataclass(frozen=True)
class Stage:
    """One step of a run. Its callables get the run and then the stage's parameters.

    ``work(run, folder, *parameters, **options)`` fills the folder; where it was killed it goes on with the
    files it finds there. ``inputs`` are the stages it reads, and ``settings`` a JSON-able value of all else
    that its result depends on: the part of the configuration, and digests of files from outside the run.
    ``version`` is raised whenever changed code gives another result; it stands for the module of ``work``,
    those in ``modules`` and what these import (tests/runs/test_sources.py fails where one was forgotten).

    ``parts`` are stages that the configuration asks for beside, no part of the key: the stage is done only with
    them. ``compute_parts(run, parts, **options)`` computes them, one after another unless it is given.
    ``watched`` are the files from outside the run that ``settings`` reads, there or not.
    """

    name: str
    title: str
    version: int
    work: Callable[..., Work] | None
    inputs: tuple[Stage, ...] | Callable[..., Sequence[Stage]] = ()
    settings: Callable[..., object] = _none
    parts: Callable[..., Sequence[Stage]] = _none
    compute_parts: Callable[..., Iterator[Progress]] = _one_by_one
    watched: Callable[..., Sequence[Path]] = _none
    modules: tuple[str, ...] = ()
    parameters: tuple[Any, ...] = ()

    def at(self, *parameters: object) -> Stage:
        """The member of a family: the same stage for other parameters, which are part of its key."""
        return replace(self, parameters=parameters)

    def inputs_of(self, run: Run) -> Sequence[Stage]:
        """The stages it reads under the run's configuration."""
        return self.inputs(run, *self.parameters) if callable(self.inputs) else self.inputs

    def parts_of(self, run: Run) -> Sequence[Stage]:
        """The stages that belong to it under the run's configuration."""
        return self.parts(run, *self.parameters)

    def key(self, run: Run) -> str:
        """What the result depends on, 16 hex digits.

        Raises :class:`DiffInfError` where that is not known yet, as before an input is computed.
        """
        inputs = [stage.key(run) for stage in self.inputs_of(run)]
        settings = self.settings(run, *self.parameters)
        return digest(self.name, self.version, self.parameters, settings, inputs)

    def folder(self, run: Run) -> StageFolder:
        """Where the result lies, or will; raises as :meth:`key`."""
        key = self.key(run)
        words = (self.name, *(p for p in self.parameters if isinstance(p, str)), key)
        return StageFolder(run.root / "stages" / "-".join(words), key)

    def done(self, run: Run) -> bool:
        """Whether the result is there, with all its parts."""
        try:
            return self.folder(run).done and all(part.done(run) for part in self.parts_of(run))
        except DiffInfError:  # its key is not known yet
            return False

    def figures(self, run: Run) -> dict[str, Any]:
        """What the work returned, and ``seconds``; empty where it is not done."""
        return self.folder(run).figures if self.done(run) else {}


def ensure(run: Run, stage: Stage, **options: Any) -> Iterator[Progress]:
    """Compute a stage, after those of its inputs that are missing; nothing where it is done.

    ``options`` go to its parts, or to its work where it has none; they say how and never change the result.
    """
    if stage.done(run):
        return
    began = time.perf_counter()
    for other in stage.inputs_of(run):
        yield from ensure(run, other)
    if parts := stage.parts_of(run):
        yield from stage.compute_parts(run, parts, **options)
    folder = stage.folder(run)
    if folder.done:
        return
    if stage.work is None:
        raise TypeError(f"{stage.name} is computed by what reads it")
    figures = yield from stage.work(run, folder, *stage.parameters)
    seconds = round(time.perf_counter() - began, 2)
    folder.finish({**figures, "seconds": seconds}, stage.version)


def compute(run: Run, stage: Stage, **options: Any) -> Iterator[Progress]:
    """As :func:`ensure`, with a last event that says what was done."""
    if stage.done(run):
        yield Progress(stage.name, 1, 1, DONE_ALREADY)
        return
    began = time.perf_counter()
    yield from ensure(run, stage, **options)
    yield Progress(stage.name, 1, 1, f"done in {time.perf_counter() - began:.0f} s")


def reachable(run: Run, stages: Sequence[Stage]) -> list[Stage]:
    """The stages with everything they are made from, inputs first."""
    out: dict[Stage, None] = {}
    for stage in stages:
        if stage not in out:
            out |= dict.fromkeys(reachable(run, [*stage.inputs_of(run), *stage.parts_of(run)]))
            out[stage] = None
    return list(out)
