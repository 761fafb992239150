"""Write the refined data set D' (equation 13) as a folder, in any format, with one manifest.

Originals are copied byte for byte; edits say in their metadata that they are synthetic. Nothing in the
source folder is touched. The folder appears whole or not at all, and the same export is the same bytes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from diffinf_core.data.ingest import source_folder
from diffinf_core.data.lineage import FOLDER as ROUNDS
from diffinf_core.data.lineage import origin
from diffinf_core.data.update import refuse_changed
from diffinf_core.export.audit import audit_plan
from diffinf_core.export.card import data_card
from diffinf_core.export.dataset import read_export
from diffinf_core.export.formats import Format, Layout, format_named
from diffinf_core.export.manifest import FILE, plan_key, write_manifest
from diffinf_core.export.plan import COLUMNS, ExportOptions, Plan, make_plan
from diffinf_core.export.render import file_names, sha256, sync, write_picture
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import (
    naming_full_disk,
    read_json,
    staged_folder,
    sync_folder,
    write_text,
)
from diffinf_core.runs.locks import exclusive
from diffinf_core.runs.run import FOLDERS, Run

_EVERY = 100


def export_folder(
    run: Run, target: str | Path, undecided: str = "original", **options: Any
) -> Iterator[Progress]:
    """Export a run after review.

    ``undecided`` and ``options`` are those of :class:`diffinf_core.export.plan.ExportOptions`. Writes the
    pictures, ``labels.csv`` (:data:`diffinf_core.export.plan.COLUMNS` and the data set's own columns), what
    the format needs, ``README.md`` and ``manifest.json`` (hashes, lineage, settings, and under ``earlier``
    what earlier rounds repaired, relabelled and dropped).

    A target that holds this very export, unchanged, is left as it is. Raises :class:`DiffInfError` where
    ``target`` is in use otherwise: a folder that is not empty, one that another export is writing, or one
    inside the run or the data set.
    """
    how = ExportOptions(undecided=undecided, **options)
    form = format_named(how.format)
    target = Path(target).resolve()  # the lock and the rename want no link
    _check_place(target, run)
    refuse_changed(run, "The export was not written")
    plan = make_plan(run, how)
    total = len(plan.pictures)
    if _is_there(target, plan):
        yield Progress("export", total, total, "done already: nothing has changed")
        return
    _check_free(target)
    for picture in plan.pictures:
        for file in (plan.source / picture.file, *(f / "edit.png" for f in picture.edits)):
            if not file.is_file():
                raise DiffInfError(f"{file} is missing; the export was not written.")
    names = file_names(plan, form)
    audit = (yield from audit_plan(plan)) if how.audit else None
    with naming_full_disk(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.parent / f".{target.name}.diffinf-export.lock"
    busy = f"Another export is writing {_braced(target)}{{holder}}; wait for it."
    with naming_full_disk(target), exclusive(lock, busy, keep=False), _refused(target):
        _check_free(target)
        with staged_folder(target) as beside:
            hashes = yield from _write_pictures(beside, plan, names)
            layout = Layout(beside, plan, _table(plan, names, form))
            yield from form.write(layout)
            form.table(layout)
            write_text(beside / "README.md", data_card(plan, layout.table, audit))
            write_manifest(beside, plan, names, hashes, audit)
            for folder in (p for p in beside.rglob("*") if p.is_dir()):
                sync_folder(folder)


def _write_pictures(
    root: Path, plan: Plan, names: list[str]
) -> Generator[Progress, None, list[str]]:
    """Write every picture; returns the SHA-256 of each, "" for one that is not written."""
    hashes: list[str] = []
    total = len(names)
    for i, (picture, name) in enumerate(zip(plan.pictures, names, strict=True)):
        if name:
            write_picture(plan, picture, root / name)
        hashes.append(sha256(root / name) if name else "")
        if (i + 1) % _EVERY == 0 or i + 1 == total:
            yield Progress("export", i + 1, total, "writing pictures")
    sync(root / name for name in names if name)
    expected = sum(bool(name) for name in names)
    written = sum((root / name).is_file() for name in names if name)
    if written != expected:
        raise DiffInfError(
            f"{written} of {expected} pictures were written; the export was not made."
        )
    return hashes


def _table(plan: Plan, names: list[str], form: Format) -> pd.DataFrame:
    chosen = [i for i, p in enumerate(plan.pictures) if p.changed or not form.partial]
    pictures = [plan.pictures[i] for i in chosen]
    values = [
        (names[i], p.label, p.assigned, p.source, p.id, p.split, p.file)
        for i, p in zip(chosen, pictures, strict=True)
    ]
    table = pd.DataFrame(values, columns=list(COLUMNS), dtype=object)
    own = plan.columns.iloc[chosen].reset_index(drop=True)
    return pd.concat([table, own], axis=1)


def _is_there(target: Path, plan: Plan) -> bool:
    """Whether the target holds this very export; :class:`DiffInfError` where it was changed since."""
    file = target / FILE
    if not file.is_file() or read_json(file).get("key") != plan_key(plan):
        return False
    read_export(target).verify()
    return True


def _braced(target: Path) -> str:
    """A path as part of a format string."""
    return str(target).replace("{", "{{").replace("}", "}}")


@contextmanager
def _refused(target: Path) -> Iterator[None]:
    """A target that something else has taken meanwhile is a sentence."""
    try:
        yield
    except FileExistsError as error:
        raise DiffInfError(
            f"Something else was written to {target} meanwhile; choose a new folder for the export."
        ) from error


def _check_free(target: Path) -> None:
    """Refuse a target that holds something."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DiffInfError(f"{target} exists and is not empty; choose a new folder for the export.")


def _check_place(target: Path, run: Run) -> None:
    """Refuse a target that lies where a run or a data set keeps its files."""
    home, first = run.root.resolve(), origin(run).resolve()
    own = [source_folder(run).resolve(), *(home / name for name in FOLDERS)]
    own += [first / name for name in FOLDERS if first == home or name != ROUNDS]
    if first != home:  # other rounds of the same run, and the folder that holds them
        own += [p.resolve() for p in (first / ROUNDS).iterdir() if p.resolve() != home]
    taken = next((folder for folder in own if target.is_relative_to(folder)), None)
    if taken is None and target in (home, first, first / ROUNDS):
        taken = target
    if taken is not None:
        raise DiffInfError(
            f"{target} lies inside {taken}, which is not for exports; choose another folder."
        )
