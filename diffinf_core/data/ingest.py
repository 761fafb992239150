"""The data stage: list, check, split, decode once, inject noise.

It leaves three things in its folder: ``samples.csv`` with the labels a user would have (noisy on
the training split), ``images.npy`` with every picture at working size, memory-mapped by all later
stages, and ``truth/truth.csv``, which only :mod:`diffinf_core.data.truth` opens.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.config import DataConfig, RunConfig, SplitConfig
from diffinf_core.data.copies import copies_remarks, find_copies, thumbnails_of
from diffinf_core.data.decode import Pixels, depth_of
from diffinf_core.data.folder import Listing
from diffinf_core.data.framing import TOO_TIGHT
from diffinf_core.data.lineage import origin
from diffinf_core.data.noise import add_symmetric_noise
from diffinf_core.data.overlay import PICTURES, map_array
from diffinf_core.data.pictures import (
    Decoded,
    Framing,
    Known,
    bits_used,
    decode_all,
    keep_rows,
    stats_of,
)
from diffinf_core.data.planning import Plan, make_plan, without
from diffinf_core.data.profile import Profile, profile, profile_of
from diffinf_core.data.sources import list_folder
from diffinf_core.data.sources.hf import label_tables
from diffinf_core.data.sources.unpacked import MARK, reading_unpacked
from diffinf_core.data.split import TRAIN
from diffinf_core.data.state import (
    GENERATION,
    ROWS,
    generation,
    refuse_mid_change,
    table_state,
    write_state,
)
from diffinf_core.data.table import table_path
from diffinf_core.data.text import shown
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import write_json, write_table
from diffinf_core.runs.run import Run
from diffinf_core.runs.seal import TRUTH_FOLDER
from diffinf_core.runs.stages import Stage, Work

#: which pictures show several faces, where faces are framed
SEVERAL = "several_faces.csv"


def truth_file(run: Run) -> Path:
    """Where the data stage writes the truth; :mod:`diffinf_core.data.truth` opens it."""
    return DATA.folder(run).path / TRUTH_FOLDER / "truth.csv"


def source_folder(run: Run) -> Path:
    """Where the original pictures lie."""
    return profile_of(run).folder or origin(run) / "faces"


def source_table(run: Run) -> Path:
    """The table of labels of the source: it holds the training labels as they were before noise."""
    return table_path(source_folder(run), profile_of(run).labels)


def reading(data: DataConfig, source: Profile, folder: Path) -> DataConfig:
    """The configuration that reads the source folder; what was rendered is a folder like any other."""
    if source.rendered == MARK:
        return reading_unpacked(data, folder)
    return data.model_copy(
        update={
            "path": folder,
            "labels": source.labels,
            "label_column": source.label_column,
            "group_column": source.group_column,
            "classes": source.classes,
        }
    )


def preflight(config: RunConfig) -> tuple[str, ...]:
    """Refuse a data set that cannot become a run, before anything is written; remarks on one that can."""
    source = profile(config.data)
    if source.folder is None:
        return ()
    data = reading(config.data, source, source.folder)
    listing = listed(data)
    plan = make_plan(listing, data, config.split)
    taken_for = f"Taken for {listing.taken_for}."
    return (taken_for, *listing.remarks, *_remarks(plan, config.split))


def listed(data: DataConfig) -> Listing:
    """The listing of a folder, for a run; :class:`DiffInfError` for columns whose names a run needs."""
    # "label" is another column than the labels here, and the run's own table has one of that name
    if data.group_column in ("id", "split", "label"):
        raise DiffInfError(
            f"data.group_column cannot be {data.group_column!r}, which a run uses itself; rename that "
            f"column in {data.labels}."
        )
    return list_folder(data)


def _remarks(plan: Plan, split: SplitConfig) -> list[str]:
    out = []
    for counts, what in (
        (plan.left_out, "left out"),
        (plan.trained_only, "in training, and the test split has none"),
    ):
        out += [
            f"Class {name!r} ({n} picture{'' if n == 1 else 's'}) is {what}."
            for name, n in counts.items()
        ]
    if plan.skipped:
        out.append(f"{len(plan.skipped):,} bad rows and pictures are skipped, see skipped.csv.")
    if split.folds:
        out.append(f"The test split is fold {split.fold} of {split.folds}.")
    return out


@dataclass(frozen=True)
class _Read:
    """A data set as it was read: the plan of its samples, and what was seen of each file planned before."""

    plan: Plan
    before: Plan
    decoded: Decoded
    stats: list[tuple[int, int]]
    remarks: list[str]
    depth: int


def ingest(run: Run, known: Known | None = None) -> Work:
    """Run the data stage; a killed one goes on with the picture it had reached.

    ``known`` are pictures that need not be decoded again.
    """
    stage = DATA.folder(run)
    config, source, folder = run.config, profile_of(run), source_folder(run)
    if origin(run) != run.root:  # what reviewers decided is not in the source folder
        raise DiffInfError(
            f"{run.root} is a later round that another version of DiffInf made; compute the first round, "
            f"{origin(run)}, again with --rounds."
        )
    if source.render is not None and not (folder / (source.rendered or source.labels)).exists():
        yield from source.render(folder)
    table = table_state(source_table(run))
    data = reading(config.data, source, folder)
    listing = listed(data)
    read = yield from _read(listing, data, config, stage.path, known)
    if table_state(source_table(run)) != table:
        raise DiffInfError(f"{source_table(run)} changed while the data set was read; run again.")
    plan = read.plan
    train = np.array(plan.parts) == TRAIN
    index = {name: i for i, name in enumerate(plan.classes)}
    labels = np.array([index[row.label] for row in plan.rows], np.int64)
    assigned, flipped = labels.copy(), np.zeros(len(labels), bool)
    assigned[train], flipped[train] = add_symmetric_noise(
        labels[train], len(plan.classes), config.noise.rate, config.noise.seed
    )
    columns = {
        "id": [row.id for row in plan.rows],
        "file": [row.file for row in plan.rows],
        "label": [plan.classes[i] for i in assigned],
        "split": plan.parts,
    }
    write_table(stage / "samples.csv", _with_extra(columns, plan, source))
    known_labels = config.noise.rate > 0 or source.truth_known
    if known_labels:
        truth = {
            "id": columns["id"],
            "clean": [plan.classes[i] for i in labels],
            "flipped": flipped.astype(int),
        }
        write_table(truth_file(run), pd.DataFrame(truth))
    write_json(stage / "classes.json", plan.classes)
    if source.folder is not None:
        write_state(
            stage.path, read.before.rows, read.stats, read.decoded.digests, table, generation(run)
        )
    if plan.skipped:
        skipped = [(p.row or "", p.file, p.reason) for p in plan.skipped]
        write_table(stage / "skipped.csv", pd.DataFrame(skipped, columns=["row", "file", "reason"]))
    (stage / "digests.npy").unlink(missing_ok=True)
    return {
        "n": len(plan.rows),
        "n_train": int(train.sum()),
        "n_val": plan.parts.count("val"),
        "n_test": plan.parts.count("test"),
        "classes": plan.classes,
        "noise_rate": float(flipped[train].mean()) if known_labels else None,
        "unlabelled": listing.unlabelled,
        "skipped": {"rows": len(listing.problems), "pictures": len(read.decoded.bad)},
        "classes_left_out": dict(plan.left_out),
        "classes_in_training_only": dict(plan.trained_only),
        "bit_depth": read.depth,
        "taken_for": listing.taken_for,
        "remarks": read.remarks,
    }


def _read(
    listing: Listing, data: DataConfig, config: RunConfig, folder: Path, known: Known | None
) -> Generator[Progress, None, _Read]:
    """Decode what the listing plans; pictures that turn out to be bad are planned without."""
    before, remarks = make_plan(listing, data, config.split), list(listing.remarks)
    files = [row.file for row in before.rows]
    stats = stats_of(listing.root, files)
    pixels = Pixels(data.bit_depth or 16, data.max_megapixels)
    if data.bit_depth is None:
        highest = yield from bits_used(listing.root, files, pixels)
        if highest is not None and (depth := depth_of(highest)) < 16:
            pixels = Pixels(depth, data.max_megapixels)
            remarks.append(
                f"The files with 16 bits per value use values up to {highest:,} and are read as {depth} "
                "bits; data.bit_depth sets another depth."
            )
    decoded = yield from decode_all(
        listing.root,
        files,
        folder,
        data.image_size,
        pixels=pixels,
        skip_bad=data.skip_bad,
        known=known,
        framing=Framing(data.one_face) if data.align else None,
    )
    if decoded.faces is not None and decoded.beyond is not None:
        several = {files[i]: int(decoded.faces[i]) for i in np.flatnonzero(decoded.faces > 1)}
        write_several(folder / SEVERAL, several)
        remarks += [*several_faces(several), *tight_faces(decoded.beyond)]
    refuse_mid_change(listing.root, files, stats)
    copies = None
    if config.split.copies == "together":
        grey = thumbnails_of(map_array(folder / PICTURES))
        copies = yield from find_copies(files, decoded.digests, grey, "data")
    plan = before
    if decoded.bad or copies is not None:
        bad = {files[i]: reason for i, reason in decoded.bad.items()}
        plan = make_plan(without(listing, bad), data, config.split, copies)
        if len(plan.rows) < len(files):
            at = {file: i for i, file in enumerate(files)}
            keep_rows(folder, [at[row.file] for row in plan.rows])
    if copies is not None:
        remarks += copies_remarks(
            copies, {r.file: p for r, p in zip(plan.rows, plan.parts, strict=True)}
        )
    return _Read(
        plan, before, decoded, stats, [*remarks, *_remarks(plan, config.split)], pixels.depth
    )


def write_several(path: Path, several: Mapping[str, int]) -> None:
    """Keep which pictures show several faces, and how many; no file where none does."""
    if several:
        columns = {"file": list(several), "faces": list(several.values())}
        write_table(path, pd.DataFrame(columns))


def several_faces(several: Mapping[str, int]) -> list[str]:
    """A sentence that names pictures with several faces."""
    if not several:
        return []
    named = ", ".join(shown(name) for name in list(several)[:3])
    more = f" and {len(several) - 3:,} more, see {SEVERAL}" if len(several) > 3 else ""
    return [
        f"Several faces in {len(several):,} picture{'' if len(several) == 1 else 's'}: {named}{more}. The "
        "largest is used; data.one_face=true leaves such pictures out."
    ]


def tight_faces(beyond: NDArray[np.float64]) -> list[str]:
    """A sentence on pictures that end before the framing does; ``beyond`` (N,) as fractions."""
    n = int((beyond > TOO_TIGHT).sum())
    if not n:
        return []
    return [
        f"{n:,} of {len(beyond):,} pictures end within FFHQ's framing, and more than {TOO_TIGHT:.0%} of each "
        "is made up; where they are crops of faces already, set data.align=false."
    ]


def _with_extra(columns: dict[str, Any], plan: Plan, source: Profile) -> pd.DataFrame:
    """The table of samples: our columns, then those that the data set came with."""
    table = pd.DataFrame(columns)
    names = dict.fromkeys(name for row in plan.rows for name in row.extra)
    for name in (n for n in names if n not in source.hidden):
        free = name
        while free in table:
            free += "_given"
        table[free] = [row.extra.get(name, "") for row in plan.rows]
    return table


def _settings(run: Run) -> list[Any]:
    sections = [
        section.provenance() for section in (run.config.data, run.config.split, run.config.noise)
    ]
    if (
        profile_of(run).folder is not None
    ):  # since splits are by class; rendered faces split by person
        sections.append({"split": "by class"})
    token = generation(run)
    return [*sections, {"source": token}] if token else sections


DATA = Stage(
    "data",
    ingest,
    "read, split and decode the pictures",
    settings=_settings,
    files=lambda run: [run.root / GENERATION],
    sealed=False,
    withheld=lambda run: [source_table(run), _state_file(run), *label_tables(source_folder(run))],
)


def _state_file(run: Run) -> Path:
    """What was read of the source: it holds the training labels as they were before noise."""
    return DATA.folder(run).path / ROWS
