"""Stages as data: what a stage needs, what it depends on, which code made it, and how it is computed.

Each room declares its stages; keys, status, order, resume and progress follow from the declarations. A
stage's key is a hash of its name, the keys of its inputs, its settings and the version of its code, so
another tau or a changed classifier leads to another folder, and nothing else is computed again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import digest, read_json, write_json
from diffinf_core.runs.run import Run, StageFolder

#: progress events; the figures worth reporting are what it returns
Work = Generator[Progress, None, Mapping[str, Any]]
#: in a run's folder: which folder each stage has under the stored settings
INDEX = "stages/index.json"


def _nothing(run: Run) -> Sequence[Any]:
    return ()


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage of a run.

    ``work`` computes it into ``folder(run)`` and may be closed at any event. ``inputs`` are the stages it
    reads, ``settings`` what else its result depends on (JSON-able; :class:`DiffInfError` where that cannot
    be known yet), ``files`` the files outside of the run that ``settings`` reads. ``parts`` are stages that
    it computes on its way, and without which it is not complete.

    ``version`` counts changes of its code that change results; a test compares the source of the module
    of ``work``, of what that imports within its room, and of ``rooms`` with what is recorded for the version.
    """

    name: str
    work: Callable[[Run], Work]
    inputs: tuple[Stage, ...] = ()
    settings: Callable[[Run], Sequence[Any]] = _nothing
    files: Callable[[Run], Sequence[Path]] = _nothing
    parts: Callable[[Run], Sequence[Stage]] = _nothing
    version: int = 1
    rooms: tuple[str, ...] = ()

    def key(self, run: Run) -> str:
        """The hash that names this stage's folder."""
        above = [stage.key(run) for stage in self.inputs]
        # version 1 is what runs were computed with before versions were kept
        code = [] if self.version == 1 else [{"code": self.version}]
        return digest(self.name, *above, *self.settings(run), *code)

    def folder(self, run: Run) -> StageFolder:
        """The stage's folder, complete or not."""
        key = self.key(run)
        path = run.root / "stages" / f"{self.name}-{key}"
        return StageFolder(path, key, [part.folder(run).path for part in self.parts(run)])

    def done(self, run: Run) -> bool:
        """Whether the stage is complete; False also where its key cannot be known yet."""
        try:
            return self.folder(run).done
        except DiffInfError:
            return False

    def compute(self, run: Run, quiet: bool = False) -> Iterator[Progress]:
        """Compute the stage unless it is complete; ``quiet`` leaves the event at its end out."""
        if self.done(run):
            if not quiet:
                yield Progress(self.name, 1, 1, "done already")
            return
        began = time.perf_counter()
        figures = yield from self.work(run)
        seconds = round(time.perf_counter() - began, 2)
        self.folder(run).finish({**figures, "seconds": seconds})
        if not quiet:
            yield Progress(self.name, 1, 1, f"done in {seconds:.0f} s")


def compute(run: Run, stages: Sequence[Stage], until: str | None = None) -> Iterator[Progress]:
    """Compute stages in order, as far as ``until``; what is complete is left alone."""
    for stage in stages:
        fresh = not stage.done(run)
        yield from stage.compute(run)
        if fresh:
            write_index(run, stages)
        if stage.name == until:
            return


# ---------------------------------------------------------------- status


def _fingerprint(run: Run, stages: Iterable[Stage]) -> str:
    """Changes with the settings, with the code, and with every file outside that a key depends on."""
    code = [[stage.name, stage.version] for stage in stages]
    files = []
    for path in sorted({str(file) for stage in stages for file in stage.files(run)}):
        with contextlib.suppress(OSError):
            seen = Path(path).stat()
            files.append([path, seen.st_size, seen.st_mtime_ns, seen.st_ino])
    return digest(run.config.model_dump(mode="json"), code, files)


def _folders(run: Run, stages: Iterable[Stage]) -> dict[str, list[str]]:
    """The folder of each stage and of its parts, as far as the keys can be known."""
    out: dict[str, list[str]] = {}
    for stage in stages:
        try:
            folder = stage.folder(run)
        except DiffInfError:
            break  # it depends on files of a stage that is not computed
        out[stage.name] = [path.name for path in (folder.path, *folder.parts)]
    return out


def write_index(run: Run, stages: Sequence[Stage]) -> None:
    """Keep where the stages lie, so that :func:`status` need not compute their keys."""
    index = {"fingerprint": _fingerprint(run, stages), "folders": _folders(run, stages)}
    write_json(run.root / INDEX, index)


def status(run: Run, stages: Sequence[Stage]) -> dict[str, bool]:
    """Which stages are complete for the present settings; one read where the index is of these settings.

    A stage counts only where all before it are complete.
    """
    folders: dict[str, list[str]] | None = None
    file = run.root / INDEX
    if file.exists():
        with contextlib.suppress(DiffInfError, KeyError, TypeError):
            index = read_json(file)
            if index["fingerprint"] == _fingerprint(run, stages):
                folders = dict(index["folders"])
    if folders is None:
        folders = _folders(run, stages)
    out: dict[str, bool] = {}
    for stage in stages:
        names = folders.get(stage.name)
        complete = names is not None and all(
            (run.root / "stages" / name / "done.json").exists() for name in names
        )
        out[stage.name] = complete and all(out.values())
    return out
