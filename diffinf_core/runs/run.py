"""A run's folder: every artefact keyed by its configuration and by what it was made from.

``run/stages/<stage>-<key>/`` holds a stage's files (:mod:`diffinf_core.runs.stages` makes the key). A stage is
complete when ``done.json`` exists, which is written last. Every file is written beside its place, synced, and
renamed, so a kill leaves old or new, never half. Opening a run only reads; making one and changing its
settings are verbs of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffinf_core.config import RunConfig, from_yaml, to_yaml
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_json, remove_orphans, write_json, write_text
from diffinf_core.runs.locks import exclusive

CONFIG_FILE = "config.yaml"
DONE_FILE = "done.json"
_VERSION = "code_version"
#: what a run keeps in folders of its own
FOLDERS = (
    "ablation", "edited", "edits", "faces", "generator", "inversions", "review", "rounds", "stages",
)  # fmt: skip


class StageFolder:
    """One stage's folder under one key."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def done(self) -> bool:
        """Whether the stage is complete: its mark is written last."""
        return (self.path / DONE_FILE).exists()

    def finish(self, figures: Mapping[str, Any] | None = None, version: int | None = None) -> None:
        """Mark the stage complete, with figures worth reporting and the version of the code."""
        write_json(self.path / DONE_FILE, {**(figures or {}), _VERSION: version})

    @property
    def figures(self) -> dict[str, Any]:
        """What the stage reports; empty where it is not complete."""
        mark = read_json(self.path / DONE_FILE) if self.done else {}
        return {name: value for name, value in mark.items() if name != _VERSION}

    @property
    def version(self) -> int | None:
        """The version of the code that completed the stage; None where that was not recorded."""
        return read_json(self.path / DONE_FILE).get(_VERSION) if self.done else None


class Run:
    """A run folder with a configuration, which is not the stored one before :meth:`store`."""

    def __init__(self, root: Path, config: RunConfig, edits: Path | None = None) -> None:
        self.root, self.config = root, config
        #: where versions of edits lie; an experiment keeps its own apart from what is reviewed
        self.edits = edits or root / "edits"

    @classmethod
    def open(cls, root: Path) -> Run:
        """Open a run under its stored configuration; only reads."""
        file = root / CONFIG_FILE
        _refuse_file(root)
        if not file.exists():
            raise DiffInfError(f"{root} is not a run folder: it has no {CONFIG_FILE}.")
        try:
            return cls(root, from_yaml(file.read_text(), str(file)))
        except OSError as error:
            raise DiffInfError(f"{file} cannot be read ({error.strerror}).") from error

    @classmethod
    def create(cls, root: Path, config: RunConfig) -> Run:
        """Make a run in a new or an empty folder."""
        _refuse_file(root)
        if (root / CONFIG_FILE).exists():
            raise DiffInfError(f"{root} is a run folder already; choose a new or an empty folder.")
        if root.exists() and any(p for p in root.iterdir() if not p.name.startswith(".")):
            raise DiffInfError(
                f"{root} is not empty and not a run folder; choose a new or an empty folder."
            )
        write_text(root / CONFIG_FILE, to_yaml(config))
        return cls(root, config)

    @property
    def exists(self) -> bool:
        """Whether there is a run in the folder."""
        return (self.root / CONFIG_FILE).exists()

    def configured(self, config: RunConfig) -> Run:
        """The same run under another configuration, which is not stored.

        A folder keeps its data set: :class:`DiffInfError` for another data, split or noise section. Any other
        change only computes again what depends on it.
        """
        for section in ("data", "split", "noise"):
            if getattr(self.config, section) != getattr(config, section):
                old = getattr(self.config, section).model_dump(mode="json")
                new = getattr(config, section).model_dump(mode="json")
                key = next(k for k in new if new[k] != old[k])
                raise DiffInfError(
                    f"{self.root} is a run of another configuration: {section}.{key} is {old[key]!r} "
                    f"there and {new[key]!r} here; use another folder with --out."
                )
        return Run(self.root, config, self.edits)

    def store(self, config: RunConfig | None = None) -> Run:
        """Make a configuration, or the one it was opened with, the run's own; the run under it.

        Whoever computes holds the :meth:`lock`; raises as :meth:`configured` and changes nothing then.
        """
        stored = Run.open(self.root)
        run = Run(self.root, stored.configured(config or self.config).config, self.edits)
        if run.config != stored.config:
            write_text(self.root / CONFIG_FILE, to_yaml(run.config))
        return run

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Only one process may compute in a run folder; a second is told so."""
        self.root.mkdir(parents=True, exist_ok=True)
        refusal = f"Another process is computing in {self.root}{{holder}}; wait for it or stop it."
        with exclusive(self.root / ".lock", refusal):
            remove_orphans(self.root)
            yield


def _refuse_file(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise DiffInfError(f"{root} is a file; give a folder for the run.")
