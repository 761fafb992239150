"""A run's folder: every artefact keyed by its configuration and by what it was made from.

``run/stages/<stage>-<key>/`` holds a stage's files; the key is a hash of the stage's configuration
and of the keys of the stages before it, so another tau leads to another folder and nothing else is
redone. A stage is complete when ``done.json`` exists, which is written last. Every file is written
beside its place, synced, and renamed, so a kill leaves old or new, never half.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffinf_core.config import RunConfig, from_file, to_yaml
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import (
    digest,
    naming_full_disk,
    read_json,
    remove_orphans,
    write_json,
    write_text,
)
from diffinf_core.runs.inventory import FILES, MARK, inventory
from diffinf_core.runs.locks import exclusive

CONFIG_FILE = "config.yaml"
#: a second copy of the settings, from which a damaged first one can be restored
CONFIG_COPY = ".config.yaml"
_CODE = "code"
#: what a run keeps in folders of its own
FOLDERS = (
    "ablation", "benchmark", "edited", "edits", "faces", "generator", "inversions", "review", "rounds",
    "stages",
)  # fmt: skip


def read_config(file: Path) -> RunConfig:
    """The settings of a run; :class:`DiffInfError` for a file that is damaged or empty."""
    config, empty = from_file(file), not file.read_text("utf-8").strip()
    if empty:
        home = shlex.quote(str(file.parent))
        there = (file.parent / CONFIG_COPY).exists()
        how = f"'diffinf doctor {home} --repair' restores the settings from their copy"
        raise DiffInfError(f"{file} is empty; {how if there else 'write the settings again'}.")
    return config


class StageFolder:
    """One stage's folder under one key; complete only where the folders of its ``parts`` are."""

    def __init__(self, path: Path, key: str, parts: Sequence[Path] = ()) -> None:
        self.path, self.key, self.parts = path, key, tuple(parts)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def done(self) -> bool:
        return all((path / MARK).exists() for path in (self.path, *self.parts))

    def finish(
        self, figures: Mapping[str, Any] | None = None, code: Sequence[int] | None = None
    ) -> None:
        """Mark the stage complete, with figures worth reporting and the versions of the code behind them."""
        recorded = {} if code is None else {_CODE: list(code)}
        files = {FILES: inventory(self.path)}
        write_json(self.path / MARK, {**(figures or {}), **recorded, **files})

    @property
    def figures(self) -> dict[str, Any]:
        """What the stage reports; empty where it is not complete."""
        mark = read_json(self.path / MARK) if self.done else {}
        return {name: value for name, value in mark.items() if name not in (_CODE, FILES)}

    @property
    def code(self) -> list[int] | None:
        """The versions of the code that completed the stage; None where they were not recorded."""
        return read_json(self.path / MARK).get(_CODE) if self.done else None


class Run:
    """A run folder with its configuration."""

    def __init__(self, root: Path, config: RunConfig, edits: Path | None = None) -> None:
        self.root, self.config = root, config
        #: where versions of edits lie; an experiment keeps its own apart from what is reviewed
        self.edits = edits or root / "edits"
        #: whether to go on as if nobody had decided anything
        self.without_decisions = False
        #: keys of stages that are given and not worked out, and pictures that are not in the folder: those
        #: of a run that is mirrored on another machine, see :mod:`diffinf_core.runs.mirror`
        self.keys: Mapping[str, str] = {}
        self.pictures: Any = None
        self._unstored = False

    @classmethod
    def open(cls, root: Path) -> Run:
        """Open a run as it is stored; nothing is written.

        Raises :class:`DiffInfError` for a folder that is no run.
        """
        file = root / CONFIG_FILE
        if root.exists() and not root.is_dir():
            raise DiffInfError(f"{root} is a file; give a folder for the run.")
        if not file.exists():
            raise DiffInfError(f"{root} is not a run folder: it has no {CONFIG_FILE}.")
        return cls(root, read_config(file))

    @staticmethod
    def begun(root: Path) -> bool:
        """Whether any stage of the run in a folder is complete: until then it may get another data set."""
        return any((root / "stages").glob("*/done.json"))

    @classmethod
    def prepare(cls, root: Path, config: RunConfig) -> Run:
        """A new run, or a run under other settings; nothing is written before :meth:`store`.

        A folder keeps its data set once that is read: a configuration with another data, split or noise
        section is refused then, any other change only leads to other stages.
        """
        if not (root / CONFIG_FILE).exists():
            if root.exists() and not root.is_dir():
                raise DiffInfError(f"{root} is a file; give a folder for the run.")
            if root.exists() and any(p for p in root.iterdir() if not p.name.startswith(".")):
                raise DiffInfError(
                    f"{root} is not empty and not a run folder; choose a new or an empty folder."
                )
            return cls._with(root, config)
        stored = cls.open(root).config
        for section in ("data", "split", "noise") if cls.begun(root) else ():
            if getattr(stored, section) != getattr(config, section):
                old = getattr(stored, section).model_dump(mode="json")
                new = getattr(config, section).model_dump(mode="json")
                key = next(k for k in new if new[k] != old[k])
                raise DiffInfError(
                    f"{root} is a run of another configuration: {section}.{key} is {old[key]!r} "
                    f"there and {new[key]!r} here; use another folder with --out, or go on with what "
                    f"is there by 'diffinf run --out {root}'."
                )
        return cls._with(root, config)

    @classmethod
    def _with(cls, root: Path, config: RunConfig) -> Run:
        run = cls(root, config)
        run._unstored = True
        return run

    def store(self) -> Run:
        """Keep the settings of :meth:`prepare` in the run's folder, which is made where there is none.

        Those of an opened run are not written back: another program may have stored others since.
        """
        file = self.root / CONFIG_FILE
        if self._unstored and (not file.exists() or Run.open(self.root).config != self.config):
            write_text(self.root / CONFIG_COPY, to_yaml(self.config))
            write_text(file, to_yaml(self.config))
        self._unstored = False
        return self

    def save(self) -> Run:
        """Keep the settings of :meth:`prepare` unless another process computes with the present ones."""
        if self._unstored:
            with self.lock():
                self.store()
        return self

    def stage(self, name: str, *parts: object) -> StageFolder:
        """The folder of a stage for a configuration and the keys it was made from."""
        key = digest(name, *parts)
        return StageFolder(self.root / "stages" / f"{name}-{key}", key)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Only one process may compute in a run folder; the refusal names the one that does.

        The settings of :meth:`prepare` are stored at the first event of a stage's work or at the end, so that
        a command which fails before leaves the stored ones; those of a new run at once.
        """
        refusal = f"Another process is computing in {self.root}{{holder}}; wait for it or stop it."
        with naming_full_disk(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            with exclusive(self.root / ".lock", refusal):
                remove_orphans(self.root)
                if not (self.root / CONFIG_FILE).exists():
                    self.store()
                elif not (self.root / CONFIG_COPY).exists():  # a run of an earlier version
                    write_text(
                        self.root / CONFIG_COPY, (self.root / CONFIG_FILE).read_text("utf-8")
                    )
                yield
                self.store()
