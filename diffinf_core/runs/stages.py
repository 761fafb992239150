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
from weakref import WeakKeyDictionary

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import digest, read_json, write_json
from diffinf_core.runs.inventory import MARK
from diffinf_core.runs.run import Run, StageFolder
from diffinf_core.runs.seal import sealed

#: progress events; the figures worth reporting are what it returns
Work = Generator[Progress, None, Mapping[str, Any]]
#: in a run's folder: which folder each stage has under the stored settings
INDEX = "stages/index.json"


def _nothing(run: Run) -> Sequence[Any]:
    return ()


def _no_figures(run: Run) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage of a run, whose ``title`` says what it does.

    ``work`` computes it into ``folder(run)`` and may be closed at any event. ``inputs`` are the stages it
    reads, ``settings`` what else its result depends on (JSON-able; :class:`DiffInfError` where that cannot
    be known yet), ``files`` the files outside of the run that ``settings`` reads, there or not. ``parts`` are
    stages that the configuration asks for beside: it is complete only with them. ``steps`` are stages that
    it computes on its way; the versions of their code count as its own. ``optional`` are stages that the
    configuration may ask for: as parts, or by their keys among the settings.

    While the work of a ``sealed`` stage runs, neither the truth and the test split nor the ``withheld`` files
    of any stage above it can be opened, see :mod:`diffinf_core.runs.seal`; ``measure`` then adds the figures
    that need them.

    ``version`` counts changes of its code that change results; a test compares the source of the module
    of ``work`` and of what that imports, but for what its inputs import, with what is recorded.
    """

    name: str
    work: Callable[..., Work]
    title: str = ""
    inputs: tuple[Stage, ...] = ()
    settings: Callable[[Run], Sequence[Any]] = _nothing
    files: Callable[[Run], Sequence[Path]] = _nothing
    parts: Callable[[Run], Sequence[Stage]] = _nothing
    steps: tuple[Stage, ...] = ()
    optional: tuple[Stage, ...] = ()
    version: int = 1
    sealed: bool = True
    withheld: Callable[[Run], Sequence[Path]] = _nothing
    measure: Callable[[Run], Mapping[str, Any]] = _no_figures

    @property
    def code(self) -> list[int]:
        """The versions of the code behind the result."""
        return [self.version, *(step.version for step in self.steps)]

    def key(self, run: Run) -> str:
        """The hash that names this stage's folder."""
        if self.name in run.keys:
            return run.keys[self.name]
        above = [stage.key(run) for stage in self.inputs]
        # version 1 is what runs were computed with before versions were kept
        code = [] if set(self.code) == {1} else [{"code": self.code}]
        return digest(self.name, *above, *self.settings(run), *code)

    def folder(self, run: Run) -> StageFolder:
        """The stage's folder, complete or not."""
        key = self.key(run)
        path = run.root / "stages" / f"{self.name}-{key}"
        return StageFolder(path, key, [part.folder(run).path for part in self.parts(run)])

    def closed(self, run: Run) -> list[Path]:
        """The files that this stage's work may not read if it is sealed."""
        return [*self.withheld(run), *(file for above in self.inputs for file in above.closed(run))]

    def done(self, run: Run) -> bool:
        """Whether the stage is complete; False also where its key cannot be known yet."""
        try:
            return self.folder(run).done
        except DiffInfError:
            return False

    def compute(self, run: Run, quiet: bool = False, **options: Any) -> Iterator[Progress]:
        """Compute the stage unless it is complete; ``quiet`` leaves the event at its end out.

        ``options`` of its work say how, such as with how many processes, and never change the result.
        """
        # The folder as it is now: what a key depends on, such as the journal, may change meanwhile.
        folder = self.folder(run)
        if folder.done:
            if not quiet:
                yield Progress(self.name, 1, 1, "done already")
            return
        began = time.perf_counter()
        work = self.work(run, **options)
        if self.sealed:
            work = sealed(work, *self.closed(run))
        figures = yield from _kept(run, work)
        figures = {**figures, **self.measure(run)}
        seconds = round(time.perf_counter() - began, 2)
        folder.finish({**figures, "seconds": seconds}, self.code)
        if not quiet:
            yield Progress(self.name, 1, 1, f"done in {seconds:.0f} s")


def compute(
    run: Run,
    stages: Sequence[Stage],
    until: str | None = None,
    before: Mapping[str, Callable[[Run], Iterator[Progress]]] | None = None,
) -> Iterator[Progress]:
    """Compute stages in order, as far as ``until``; what is complete is left alone.

    ``before`` holds what is done besides, by the name of the stage that it comes before.
    """
    for stage in stages:
        if before is not None and stage.name in before:
            yield from before[stage.name](run)
        yield from stage.compute(run)
        write_index(run, stages)
        if stage.name == until:
            return


def _kept(run: Run, work: Work) -> Work:
    """The work of a stage, with the settings stored at its first event: it has begun with them."""
    try:
        event = next(work)
    except StopIteration as end:
        return end.value
    run.store()
    try:
        yield event
        return (yield from work)
    finally:
        work.close()


# ---------------------------------------------------------------- status


def _fingerprint(run: Run, stages: Iterable[Stage]) -> str:
    """Changes with the settings, with the code, and with every file outside that a key depends on."""
    code = [
        [stage.name, stage.code, [[part.name, part.code] for part in stage.optional]]
        for stage in stages
    ]
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


def _read_index(run: Run) -> Mapping[str, Any]:
    with contextlib.suppress(DiffInfError):
        index = read_json(run.root / INDEX)
        if isinstance(index, dict) and isinstance(index.get("folders"), dict):
            return index
    return {}


def write_index(run: Run, stages: Sequence[Stage]) -> None:
    """Keep where the stages lie, so that :func:`status` need not compute their keys.

    Not for an experiment's run, whose settings are not the stored ones.
    """
    if run.edits != run.root / "edits":
        return
    index = {"fingerprint": _fingerprint(run, stages), "folders": _folders(run, stages)}
    if index != _read_index(run):
        write_json(run.root / INDEX, index)


#: what :func:`status` worked out for an opened run where the stored index is of other settings
_worked_out: WeakKeyDictionary[Run, Mapping[str, Any]] = WeakKeyDictionary()


def _index(run: Run, stages: Sequence[Stage]) -> Mapping[str, Any]:
    fingerprint = _fingerprint(run, stages)
    for index in (_worked_out.get(run, {}), _read_index(run)):
        if index.get("fingerprint") != fingerprint:
            continue
        # keys that were not known depend on what an earlier stage has written since
        if len(index["folders"]) == len(stages) or index.get("complete") == _complete(run, index):
            return index
    index = {"fingerprint": fingerprint, "folders": _folders(run, stages)}
    _worked_out[run] = {**index, "complete": _complete(run, index)}
    return _worked_out[run]


def _complete(run: Run, index: Mapping[str, Any]) -> list[str]:
    """The stages of an index that are complete."""
    return [name for name, folders in index["folders"].items() if _marked(run, folders)]


def _marked(run: Run, folders: Iterable[str]) -> bool:
    return all((run.root / "stages" / folder / MARK).exists() for folder in folders)


def status(run: Run, stages: Sequence[Stage]) -> dict[str, bool]:
    """Which stages are complete for the present settings; one read where the index is of these settings.

    A stage counts only where all before it are complete.
    """
    folders = _index(run, stages)["folders"]
    out: dict[str, bool] = {}
    for stage in stages:
        names = folders.get(stage.name)
        out[stage.name] = names is not None and _marked(run, names) and all(out.values())
    return out


def outdated(run: Run, stages: Sequence[Stage]) -> str | None:
    """One sentence where another version of the code computed a run, so that it must be computed again."""
    complete = status(run, stages)
    missing = next((stage for stage in stages if not complete[stage.name]), None)
    if missing is None:
        return None
    made = [mark.parent for mark in (run.root / "stages").glob(f"{missing.name}-*/done.json")]
    codes = [StageFolder(folder, "").code or [1] * len(missing.code) for folder in made]
    if not codes or missing.code in codes:
        return None
    return (
        f"{run.root} was computed by another version of DiffInf and must be computed again from the stage "
        f"{missing.name!r} on; its decisions and edits are kept."
    )
