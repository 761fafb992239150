"""Verify a whole run, say what can be computed again, and do it."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from diffinf_core.config import from_file
from diffinf_core.correction.edits import check_version, put_back_whole, read_record
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.lineage import FOLDER as ROUNDS
from diffinf_core.data.overlay import map_array
from diffinf_core.engine.cache import Cache
from diffinf_core.engine.pipeline import PIPELINE, compute
from diffinf_core.engine.repair import Repair
from diffinf_core.engine.tables import Tables
from diffinf_core.engine.unrecorded import unrecorded, unrecorded_damage
from diffinf_core.records import DiffInfError, Edit, Job, Progress
from diffinf_core.review.database import STORE
from diffinf_core.review.mark import forget_last
from diffinf_core.review.opening import REVIEWED
from diffinf_core.review.salvage import fault_of, has_lines, keep_whole
from diffinf_core.runs.files import file_digest, read_json, write_text
from diffinf_core.runs.inventory import FILES, MARK, complete_stages, damage_of
from diffinf_core.runs.run import CONFIG_COPY, CONFIG_FILE, Run, read_config
from diffinf_core.weights.files import card_of


@dataclass(frozen=True)
class Finding:
    """Something wrong with a run: a sentence, and whether :func:`mend` can put it right."""

    text: str
    mendable: bool


@dataclass
class Diagnosis:
    """What :func:`diagnose` read: the problems, and how much was as it should be.

    ``unverified`` are stages of earlier versions, which recorded no sizes and digests.
    """

    root: Path
    findings: list[Finding] = field(default_factory=list)
    stages: int = 0
    edits: int = 0
    unverified: list[str] = field(default_factory=list)
    damaged: dict[Path, list[Path]] = field(default_factory=dict)
    versions: list[Path] = field(default_factory=list)

    @cached_property
    def proposed(self) -> set[str] | None:
        """The versions that the repair stage makes under the present settings; None where unreadable."""
        return _proposed(self.root)

    def add(self, text: str, mendable: bool) -> None:
        """Note a problem."""
        self.findings.append(Finding(text, mendable))


def diagnose(root: str | Path) -> Diagnosis:
    """Read everything that a run consists of; nothing is changed.

    Raises :class:`DiffInfError` for a folder that is no run.
    """
    out = Diagnosis(Path(root))
    if not (out.root / CONFIG_FILE).exists() and not (out.root / CONFIG_COPY).exists():
        raise DiffInfError(f"{root} is not a run folder: it has no {CONFIG_FILE}.")
    _check_config(out)
    _check_stages(out)
    _check_edits(out)
    _check_journal(out)
    _check_weights(out)
    for folder in sorted((out.root / ROUNDS).glob("*/")):
        if (folder / CONFIG_FILE).exists():
            inner = diagnose(folder)
            for finding in inner.findings:
                out.add(f"In a later round: {finding.text} See 'diffinf doctor {folder}'.", False)
    return out


def _check_config(out: Diagnosis) -> None:
    try:
        read_config(out.root / CONFIG_FILE)
    except DiffInfError as error:
        try:
            from_file(out.root / CONFIG_COPY)
        except DiffInfError:
            out.add(f"{error} There is no copy of the settings: write the file by hand.", False)
        else:
            out.add(f"{out.root / CONFIG_FILE} is damaged; {CONFIG_COPY} has a copy.", True)


def _check_stages(out: Diagnosis) -> None:
    for folder in complete_stages(out.root):
        wrong = list(damage_of(folder, digests=True))
        earlier = not wrong and unrecorded(folder)
        wrong += unrecorded_damage(folder) if earlier else ()
        for damage in wrong:
            out.add(f"{damage}.", True)
        if wrong:
            out.damaged[folder] = [damage.file for damage in wrong]
        elif earlier:
            out.unverified.append(folder.name)
        else:
            out.stages += 1


def _check_edits(out: Diagnosis) -> None:
    for folder in sorted((out.root / "edits").glob("*/*/")):
        if folder.name.startswith("."):
            continue
        reason = check_version(folder)
        if reason:
            out.versions.append(folder)
            out.add(
                f"The edit {folder} is damaged: {reason}.", _settings_of(folder, out) is not None
            )
        else:
            out.edits += 1
    for file in sorted((out.root / "edited").glob("*.npy")):
        try:
            map_array(file)
        except DiffInfError:
            out.add(f"{file} is damaged.", True)


def _settings_of(folder: Path, out: Diagnosis) -> Mapping[str, Any] | None:
    """The settings with which a version can be made again; empty for one that the run's stage makes."""
    proposed = out.proposed
    if proposed is not None and folder.name in proposed:
        return {}
    with suppress(DiffInfError):
        return read_record(folder).settings
    return {} if proposed is None else None


def _proposed(root: Path) -> set[str] | None:
    with suppress(DiffInfError, AttributeError):
        try:
            run = Run.open(root)
        except DiffInfError:
            run = Run(root, from_file(root / CONFIG_COPY))
        return set(read_json(REPAIR.folder(run) / "versions.json").values())
    return None


def _check_journal(out: Diagnosis) -> None:
    if os.environ.get(STORE, "").strip():
        return
    file, mark = _journal(out.root), out.root / REVIEWED
    fault = fault_of(file)
    if fault:
        out.add(fault, True)
    elif mark.exists() and not has_lines(file):
        out.add(
            f"The run was reviewed, and its journal {file} is missing or empty: put a copy of it back, or "
            f"remove {mark} to begin anew.",
            False,
        )


def _journal(root: Path) -> Path:
    return root / "review" / "journal.sqlite"


def _check_weights(out: Diagnosis) -> None:
    for file in sorted((out.root / "generator").glob("*.safetensors")):
        with suppress(DiffInfError):
            if card_of(file).get("sha256") not in (None, file_digest(file)):
                out.add(f"{file} is not what its card says; train the generator again.", False)


# ---------------------------------------------------------------- mending


def mend(root: str | Path) -> Job[Progress, Diagnosis]:
    """Compute again what :func:`diagnose` finds damaged and can be; the result is another diagnosis.

    Damaged files are removed, of a journal the whole lines are kept, and the damaged file beside it.
    Stages of the present settings are computed at once, others when they are next asked for.
    """
    return Job.of(_mend(Path(root)), lambda: diagnose(root))


def _mend(root: Path) -> Iterator[Progress]:
    found = diagnose(root)
    if not any(finding.mendable for finding in found.findings):
        return
    if any(f.mendable and CONFIG_COPY in f.text for f in found.findings):
        write_text(root / CONFIG_FILE, (root / CONFIG_COPY).read_text("utf-8"))
    run = Run.open(root)
    reached = [s.name for s in PIPELINE if list((root / "stages").glob(f"{s.name}-*/{MARK}"))]
    settings = {folder: _settings_of(folder, found) for folder in found.versions}
    before = _digests(found)
    with run.lock():
        yield from _cleared(root, found, settings)
    yield from _made_anew(run, found, settings, reached)
    for file, digest in before.items():
        if file.exists() and file_digest(file) != digest:
            note = f"{file} was computed again and is not what it was; compute what follows from it anew"
            yield Progress("doctor", 1, 1, note)


def _made_anew(
    run: Run,
    found: Diagnosis,
    settings: Mapping[Path, Mapping[str, Any] | None],
    reached: list[str],
) -> Iterator[Progress]:
    """Compute what was removed; a version that is not made again comes back as it was."""
    removed = found.damaged or any(chosen is not None for chosen in settings.values())
    # what follows from the edits waits until those are as they will stay
    edits = [name for name in reached if name == REPAIR.name]
    try:
        if removed:
            for name in edits or reached[-1:]:
                yield from compute(run, name)
        yield from _edited_again(run, settings)
    finally:
        for folder in settings:
            if not (aside := _aside(folder)).exists():
                continue
            if folder.exists():
                put_back_whole(aside, folder)
                shutil.rmtree(aside)
            else:
                aside.rename(folder)
    if removed and edits and reached[-1] != REPAIR.name:
        yield from compute(run, reached[-1])


def _aside(folder: Path) -> Path:
    """Where a damaged version waits until it is made again; no name of a version."""
    return folder.with_name(f".damaged-{folder.name}")


def _digests(found: Diagnosis) -> dict[Path, str]:
    """What the damaged files should be, as far as it is recorded."""
    out: dict[Path, str] = {}
    for folder, files in found.damaged.items():
        with suppress(DiffInfError):
            recorded = read_json(folder / MARK).get(FILES, {})
            out |= {f: recorded[n][1] for n in recorded if (f := folder / n) in files}
    return out


def _cleared(
    root: Path, found: Diagnosis, settings: Mapping[Path, Mapping[str, Any] | None]
) -> Iterator[Progress]:
    """Remove what is damaged, and the marks of what follows from it being there."""
    for folder, files in found.damaged.items():
        for file in (folder / MARK, *files):
            file.unlink(missing_ok=True)
    for folder, chosen in settings.items():
        if chosen is not None:
            folder.rename(_aside(folder))
    names = {folder.name for folder, chosen in settings.items() if chosen is not None}
    for file in (root / "stages").glob(f"{REPAIR.name}-*/versions.json"):
        with suppress(DiffInfError):
            if names & set(read_json(file).values()):
                (file.parent / MARK).unlink(missing_ok=True)
    for file in (root / "edited").glob("*.npy"):
        try:
            map_array(file)
        except DiffInfError:
            file.unlink(missing_ok=True)
    if not os.environ.get(STORE, "").strip() and fault_of(_journal(root)):
        kept = keep_whole(_journal(root))
        forget_last(root / REVIEWED)
        yield Progress("doctor", 1, 1, kept.sentence())


def _edited_again(
    run: Run, settings: Mapping[Path, Mapping[str, Any] | None]
) -> Iterator[Progress]:
    """Make the versions again that no stage makes: those that reviewers asked for."""
    left = {folder: chosen for folder, chosen in settings.items() if chosen and not folder.exists()}
    if not left:
        return
    repair = Repair(Tables(run, Cache()))
    for i, (folder, chosen) in enumerate(left.items(), start=1):
        for event in repair.edit(folder.parent.name, chosen):
            if isinstance(event, Edit) and event.version != folder.name:
                note = f"{folder} cannot be made again: generator or settings changed since"
                yield Progress("doctor", i, len(left), note)
        yield Progress("doctor", i, len(left), "edits")


def counted(found: Diagnosis) -> str:
    """A diagnosis in a line."""
    kinds = Counter(finding.mendable for finding in found.findings)
    parts = [f"{found.stages} stages and {found.edits} edits are as they were written"]
    if found.unverified:
        parts.append(f"{len(found.unverified)} stages of an earlier version recorded no digests")
    if kinds[True]:
        parts.append(f"{kinds[True]} problem(s) can be put right with --repair")
    if kinds[False]:
        parts.append(f"{kinds[False]} cannot")
    return "; ".join(parts) + "."
