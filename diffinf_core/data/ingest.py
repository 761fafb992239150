"""The data stage: list, check, split, decode once, inject noise.

It leaves three things in its folder: ``samples.csv`` with the labels a user would have (noisy on
the training split), ``images.npy`` with every picture at working size, memory-mapped by all later
stages, and ``truth/truth.csv``, which only :mod:`diffinf_core.data.evaluation` opens.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from diffinf_core.config import DataConfig
from diffinf_core.data.folder import FILE_COLUMN, Listing, Row, list_folder, too_few_classes
from diffinf_core.data.lineage import origin
from diffinf_core.data.noise import add_symmetric_noise
from diffinf_core.data.pictures import decode_all
from diffinf_core.data.rendered import faces
from diffinf_core.data.rendered.demo import write_demo_faces
from diffinf_core.data.split import TRAIN, split_samples
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import write_json, write_table
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import Stage, Work


def source_folder(run: Run) -> Path:
    """Where the original pictures lie."""
    if run.config.data.source == "demo":
        return origin(run) / "faces"
    return Path(str(run.config.data.path))


def _reading(run: Run) -> DataConfig:
    """The configuration that reads the source folder; the demo is a folder like any other."""
    data = run.config.data
    if data.source == "folder":
        return data
    order = faces.EXPRESSIONS if data.attribute == "expression" else faces.AGES
    return data.model_copy(
        update={
            "path": source_folder(run),
            "label_column": data.attribute,
            "group_column": "identity",
            "classes": data.classes or order,
        }
    )


def group_column(run: Run) -> str | None:
    """The column that says which samples show the same person, if there is one."""
    return _reading(run).group_column


def preflight(data: DataConfig) -> None:
    """Refuse a folder that cannot become a run, before anything is written for it."""
    if data.source == "folder":
        _usable(data)


def _usable(data: DataConfig) -> Listing:
    if data.group_column in ("id", "split"):
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
    config = run.config
    if origin(run) != run.root:  # what reviewers decided is not in the source folder
        raise DiffInfError(
            f"{run.root} is a later round that another version of DiffInf made; compute the first round, "
            f"{origin(run)}, again with --rounds."
        )
    if config.data.source == "demo" and not (source_folder(run) / "labels.csv").exists():
        yield from write_demo_faces(
            source_folder(run), config.data.demo_faces, config.data.seed, config.data.image_size
        )
    listing = _usable(_reading(run))
    rows, group = listing.rows, _reading(run).group_column
    keys = [_cell(row, group) for row in rows]
    parts = np.array(split_samples(keys, config.split))
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
    # Another label column of the demo would tell the truth about the one that was made noisy.
    truths = {"expression", "age", "intensity", "age_value", "parts"}
    shown = [c for c in extra.columns if config.data.source != "demo" or c not in truths]
    table = pd.DataFrame(columns)
    for name in shown:
        free = name
        while free in table:
            free += "_given"
        table[free] = extra[name]
    write_table(stage / "samples.csv", table)
    known = config.noise.rate > 0 or config.data.source == "demo"
    if known:
        truth = {
            "id": columns["id"],
            "clean": [listing.classes[i] for i in labels],
            "flipped": flipped.astype(int),
        }
        write_table(stage.path / "truth" / "truth.csv", pd.DataFrame(truth))
    write_json(stage / "classes.json", listing.classes)
    return {
        "n": len(rows),
        "n_train": int(train.sum()),
        "n_val": int((parts == "val").sum()),
        "n_test": int((parts == "test").sum()),
        "classes": listing.classes,
        "noise_rate": float(flipped[train].mean()) if known else None,
        "unlabelled": listing.unlabelled,
    }


DATA = Stage(
    "data",
    ingest,
    "read, split and decode the pictures",
    settings=lambda run: [
        section.model_dump(mode="json")
        for section in (run.config.data, run.config.split, run.config.noise)
    ],
)


def _cell(row: Row, group: str | None) -> str:
    return row.file if group in (None, FILE_COLUMN) else row.extra[group]
