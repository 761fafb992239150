"""Training pictures that are nearly the same, which matters most where their labels differ."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.data.alike import (
    CROWD,
    GREY,
    LEAST_CORRELATION,
    MOST_BITS,
    MOST_PAIRS,
    SLICE,
    grey_thumbnails,
    near_duplicates,
)
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import open_training
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import write_table
from diffinf_core.runs.run import Run
from diffinf_core.runs.slices import map_slices, read_slices
from diffinf_core.runs.stages import Stage, Work
from diffinf_core.runs.tables import read_table


def run_duplicates(run: Run) -> Work:
    """Find near-duplicates in the training split; ``pairs.csv`` has first, second and correlation."""
    stage, train = DUPLICATES.folder(run), open_training(run)
    n = len(train)

    def thumbnails(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return grey_thumbnails(train.images(rows))  # type: ignore[return-value]

    yield from map_slices(stage, n, SLICE, thumbnails, "duplicates", lambda: "thumbnails")
    grey: NDArray[np.uint8] = read_slices(stage, n, SLICE)  # type: ignore[assignment]
    pairs = pd.DataFrame()
    for done, total, pairs in near_duplicates(grey):
        yield Progress("duplicates", done, total, f"comparing, {len(pairs)} pairs so far")
    named = pairs.assign(
        first=train.ids[pairs["first"].to_numpy(np.int64)],
        second=train.ids[pairs["second"].to_numpy(np.int64)],
    )
    write_table(stage / "pairs.csv", named)
    for file in stage.path.glob("slice-*.npy"):
        file.unlink()
    yield Progress("duplicates", total, total, f"{len(named)} pairs")
    return {"n": n, "pairs": len(named)}


#: the thumbnails and the pairs
DUPLICATES = Stage(
    "duplicates",
    run_duplicates,
    "find training pictures that are nearly the same",
    inputs=(DATA,),
    settings=lambda run: [[GREY, MOST_BITS, LEAST_CORRELATION, CROWD, MOST_PAIRS]],
)


def read_duplicates(run: Run) -> pd.DataFrame:
    """Columns first, second (sample ids) and correlation, the most alike first."""
    stage = DUPLICATES.folder(run)
    if not stage.done:
        raise DiffInfError("Near-duplicates have not been computed.")
    return read_table(stage / "pairs.csv", text=["first", "second"])
