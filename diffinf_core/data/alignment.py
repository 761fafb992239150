"""How the face of each sample was framed, as the data stage recorded it; None where nothing was."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffinf_core.data.framing import ALIGNMENT
from diffinf_core.data.overlay import map_array
from diffinf_core.data.update import first_data_folder
from diffinf_core.runs.run import Run
from diffinf_core.runs.tables import read_table


def alignment_of(run: Run, sample: str) -> NDArray[np.float64] | None:
    """The matrix (2, 3) from the upright picture of a sample to its framed face; None without one."""
    folder = first_data_folder(run)
    file = folder / ALIGNMENT
    if not file.exists():
        return None
    rows, matrices = _recorded(folder, file.stat().st_mtime_ns)
    return np.array(matrices[rows[sample], :6]).reshape(2, 3)


@lru_cache(maxsize=2)
def _recorded(folder: Path, _: int) -> tuple[dict[str, int], NDArray[np.float64]]:
    ids = read_table(folder / "samples.csv")["id"]
    return {str(sample): row for row, sample in enumerate(ids)}, map_array(folder / ALIGNMENT)
