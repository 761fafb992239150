"""Rounds: a run whose training pictures were edited by the run before it.

A round lies at ``<run>/rounds/<name>`` with ``round.json`` beside its configuration: its number, the round
before it, and for each sample that an earlier round edited, where that version lies.
"""

from __future__ import annotations

import re
from pathlib import Path

from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import Run

FILE, FOLDER = "round.json", "rounds"
_HOME = re.compile(r"|[0-9]+-[0-9a-f]{8}")
_ID, _VERSION = re.compile(r"[0-9a-f]{12}"), re.compile(r"[0-9a-f]{16}")


def origin(run: Run) -> Path:
    """The folder of the first round: the run itself, but for rounds."""
    return run.root.resolve().parent.parent if (run.root / FILE).exists() else run.root


def number(run: Run) -> int:
    """Which round this is, from 1."""
    file = run.root / FILE
    return int(read_json(file)["round"]) if file.exists() else 1


def earlier_edits(run: Run) -> dict[str, Path]:
    """The folder of the version that stands for each sample edited in an earlier round."""
    file = run.root / FILE
    if not file.exists():
        return {}
    first, out = origin(run), {}
    for sample, (home, version) in read_json(file)["earlier"].items():
        if not (_ID.fullmatch(sample) and _VERSION.fullmatch(version) and _HOME.fullmatch(home)):
            raise DiffInfError(f"{file} names a version that cannot be one: {sample!r}.")
        root = first / FOLDER / home if home else first
        out[sample] = root / "edits" / sample / version
    return out


def checked_home(file: Path, name: str) -> str:
    """A round's name as ``file`` gives it; :class:`DiffInfError` for what cannot be one."""
    if not _HOME.fullmatch(name):
        raise DiffInfError(f"{file} names a round that cannot be one: {name!r}.")
    return name


def ancestors(run: Run) -> list[Run]:
    """The first round, the ones between, and the run itself."""
    chain, first = [run], origin(run)
    while (chain[0].root / FILE).exists():
        file = chain[0].root / FILE
        # a round of an earlier version does not say which one it came from
        parent = checked_home(file, read_json(file).get("parent", ""))
        chain.insert(0, Run(first / FOLDER / parent if parent else first, run.config))
        if len(chain) > number(run):
            raise DiffInfError(f"{file} leads in a circle; it was changed by hand.")
    return chain
