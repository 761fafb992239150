"""A run whose source has changed: what changed, and going on from the source as it is now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from diffinf_core.data.framing import ALIGNMENT
from diffinf_core.data.ingest import DATA, listed, reading, source_folder, source_table
from diffinf_core.data.lineage import origin
from diffinf_core.data.overlay import PICTURES, map_array
from diffinf_core.data.pictures import Known
from diffinf_core.data.profile import profile_of
from diffinf_core.data.state import (
    ROWS,
    TABLE,
    Changes,
    compare,
    generation,
    read_state,
    set_generation,
    table_unchanged,
)
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import digest, read_json
from diffinf_core.runs.run import Run


def first_data_folder(run: Run) -> Path:
    """The folder of the data stage that the pictures of a run come from: its own, or its first round's."""
    return origin(run) / "stages" / DATA.folder(run).path.name


def source_changes(run: Run) -> Changes:
    """What changed in the source of a run since it was read; nothing for what was never read or is rendered.

    Costs a look at each file's size and time, and the table's rows where that changed.
    """
    folder = first_data_folder(run)
    if profile_of(run).folder is None or not (folder / "done.json").exists():
        return Changes()
    return _changes(run, folder)


def _changes(run: Run, folder: Path) -> Changes:
    before = read_state(folder)
    if before is None:  # a run of an earlier version
        return Changes()
    root, table = source_folder(run), source_table(run)
    if not root.is_dir():
        return Changes(removed=before["file"].tolist())
    if table.exists() and table_unchanged(folder, table):
        return compare(before, None, root)
    listing = listed(reading(run.config.data, profile_of(run), root))
    left_out = read_json(folder / "done.json").get("classes_left_out", {})
    counts = {name: sum(row.label == name for row in listing.rows) for name in left_out}
    same = {name for name, n in left_out.items() if counts[name] == n}
    listing.rows[:] = [row for row in listing.rows if row.label not in same]
    return compare(before, listing, root)


def refuse_changed(run: Run, what: str) -> None:
    """Raise :class:`DiffInfError` where the source of a run has changed since; ``what`` is not done then."""
    if changes := source_changes(run):
        raise DiffInfError(
            f"{source_folder(run)} has changed since {origin(run)} was computed from it: {changes}. {what}; "
            f"'diffinf run --out {origin(run)}' computes again what depends on it, and restoring the files "
            "goes on with what is there."
        )


def take_over(run: Run, changes: Changes) -> Iterator[Progress]:
    """Read the source anew and go on from there; only new and replaced pictures are decoded.

    A state that the run was computed from before is found again. What was computed from another one stays.
    """
    if origin(run) != run.root:
        raise DiffInfError(
            f"{run.root} is a later round; go on from the first, {origin(run)}, and make the round again."
        )
    old, before = first_data_folder(run), read_state(first_data_folder(run))
    assert before is not None
    earlier = generation(run)
    for folder in sorted((run.root / "stages").glob(f"{DATA.name}-*")):
        if folder == old or not ((folder / ROWS).exists() and (folder / "done.json").exists()):
            continue
        set_generation(run, str(read_json(folder / TABLE)["generation"]))
        if DATA.folder(run).path == folder and not _changes(run, folder):
            yield Progress(DATA.name, 1, 1, "the data set is as it was before")
            return
        set_generation(run, earlier)
    fresh = {*changes.replaced, *changes.added}
    skipped = "0" * 64
    kept = read_rows(old)
    rows = {
        file: (kept[file], sha)
        for file, sha in zip(before["file"], before["sha256"], strict=True)
        if file not in fresh and file in kept and sha != skipped
    }
    known = None
    if _same_depth(run, old, changes):
        how = map_array(old / ALIGNMENT) if (old / ALIGNMENT).exists() else None
        known = Known(map_array(old / PICTURES), rows, how)
    token = digest(
        earlier, [str(changes)], [sorted(fresh)], [list(p) for p in sorted(changes.labels.items())]
    )
    set_generation(run, token)
    try:
        yield from DATA.compute(run, known=known)
    except BaseException:
        set_generation(run, earlier)  # refused or stopped: the run stays what it was
        raise


def read_rows(folder: Path) -> dict[str, int]:
    """The row of each file in the pictures of a data stage."""
    from diffinf_core.runs.tables import read_table

    return {str(file): row for row, file in enumerate(read_table(folder / "samples.csv")["file"])}


def _same_depth(run: Run, folder: Path, changes: Changes) -> bool:
    """Whether pictures keep their pixels: another depth could follow from new ones with more bits."""
    depth = int(read_json(folder / "done.json").get("bit_depth", 16))
    return depth == 16 or run.config.data.bit_depth is not None or not changes.added
