"""The data stage: list, check, split, decode once, inject noise.

It leaves three things in its folder: ``samples.csv`` with the labels a user would have (noisy on
the training split), ``images.npy`` with every picture at working size, memory-mapped by all later
stages, and ``truth/truth.csv``, which only :mod:`diffinf_core.data.truth` opens.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from diffinf_core.config import DataConfig
from diffinf_core.data.folder import FILE_COLUMN, Listing, Row, too_few_classes
from diffinf_core.data.lineage import origin
from diffinf_core.data.noise import add_symmetric_noise
from diffinf_core.data.pictures import decode_all
from diffinf_core.data.profile import Profile, profile, profile_of
from diffinf_core.data.sources import list_folder
from diffinf_core.data.split import TRAIN, split_rows
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import write_json, write_table
from diffinf_core.runs.run import Run
from diffinf_core.runs.seal import TRUTH_FOLDER
from diffinf_core.runs.stages import Stage, Work


def truth_file(run: Run) -> Path:
    """Where the data stage writes the truth; :mod:`diffinf_core.data.truth` opens it."""
    return DATA.folder(run).path / TRUTH_FOLDER / "truth.csv"


def source_folder(run: Run) -> Path:
    """Where the original pictures lie."""
    return profile_of(run).folder or origin(run) / "faces"


def source_table(run: Run) -> Path:
    """The table of labels of the source: it holds the training labels as they were before noise."""
    return source_folder(run) / profile_of(run).labels


def _reading(data: DataConfig, source: Profile, folder: Path) -> DataConfig:
    """The configuration that reads the source folder; what was rendered is a folder like any other."""
    return data.model_copy(
        update={
            "path": folder,
            "labels": source.labels,
            "label_column": source.label_column,
            "group_column": source.group_column,
            "classes": source.classes,
        }
    )


def preflight(data: DataConfig) -> None:
    """Refuse a folder that cannot become a run, before anything is written for it."""
    source = profile(data)
    if source.folder is not None:
        _usable(_reading(data, source, source.folder))


def _usable(data: DataConfig) -> Listing:
    # "label" is another column than the labels here, and the run's own table has one of that name
    if data.group_column in ("id", "split", "label"):
        raise DiffInfError(
            f"data.group_column cannot be {data.group_column!r}, which a run uses itself; rename that "
            f"column in {data.labels}."
        )
    listing = list_folder(data)
    if listing.problems:
        more = len(listing.problems) - 1
        tail = f" and {more} more" if more else ""
        raise DiffInfError(
            f"{listing.root / data.labels} has bad rows: {listing.problems[0]}{tail}; "
            f"'diffinf check {listing.root}' lists them all."
        )
    if len(listing.classes) < 2:
        raise DiffInfError(f"{listing.root} has {too_few_classes(listing)}.")
    return listing


def ingest(run: Run) -> Work:
    """Run the data stage; a killed one goes on with the picture it had reached."""
    stage = DATA.folder(run)
    config, source, folder = run.config, profile_of(run), source_folder(run)
    if origin(run) != run.root:  # what reviewers decided is not in the source folder
        raise DiffInfError(
            f"{run.root} is a later round that another version of DiffInf made; compute the first round, "
            f"{origin(run)}, again with --rounds."
        )
    if source.render is not None and not (folder / source.labels).exists():
        yield from source.render(folder)
    listing = _usable(_reading(config.data, source, folder))
    rows, group = listing.rows, source.group_column
    keys = [_cell(row, group) for row in rows]
    parts = np.array(split_rows([row.split for row in rows], keys, config.split))
    labels = np.array([listing.classes.index(row.label) for row in rows], np.int64)
    train = parts == TRAIN
    for part in ("train", "val", "test"):
        missing = set(range(len(listing.classes))) - set(labels[parts == part].tolist())
        if missing:
            name = listing.classes[min(missing)]
            raise DiffInfError(
                f"The {part} split has no picture of class {name!r}; add pictures or change "
                "split.val_share, split.test_share or split.seed."
            )
    assigned, flipped = labels.copy(), np.zeros(len(labels), bool)
    assigned[train], flipped[train] = add_symmetric_noise(
        labels[train], len(listing.classes), config.noise.rate, config.noise.seed
    )
    yield from decode_all(
        listing.root, [row.file for row in rows], stage.path, config.data.image_size
    )
    extra = pd.DataFrame([row.extra for row in rows])
    columns = {
        "id": [row.id for row in rows],
        "file": [row.file for row in rows],
        "label": [listing.classes[i] for i in assigned],
        "split": parts,
    }
    table = pd.DataFrame(columns)
    for name in (c for c in extra.columns if c not in source.hidden):
        free = name
        while free in table:
            free += "_given"
        table[free] = extra[name]
    write_table(stage / "samples.csv", table)
    known = config.noise.rate > 0 or source.truth_known
    if known:
        truth = {
            "id": columns["id"],
            "clean": [listing.classes[i] for i in labels],
            "flipped": flipped.astype(int),
        }
        write_table(truth_file(run), pd.DataFrame(truth))
    write_json(stage / "classes.json", listing.classes)
    return {
        "n": len(rows),
        "n_train": int(train.sum()),
        "n_val": int((parts == "val").sum()),
        "n_test": int((parts == "test").sum()),
        "classes": listing.classes,
        "noise_rate": float(flipped[train].mean()) if known else None,
        "unlabelled": listing.unlabelled,
        "taken_for": listing.taken_for,
        "remarks": list(listing.remarks),
    }


DATA = Stage(
    "data",
    ingest,
    "read, split and decode the pictures",
    settings=lambda run: [
        section.model_dump(mode="json")
        for section in (run.config.data, run.config.split, run.config.noise)
    ],
    sealed=False,
    withheld=lambda run: [source_table(run)],
)


def _cell(row: Row, group: str | None) -> str:
    return row.file if group in (None, FILE_COLUMN) else row.extra[group]
