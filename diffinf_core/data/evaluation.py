"""Clean validation and test splits, and the truth about injected noise.

Only the classifier's metrics and the report may import this module; a test reads the imports of
every room and fails where correction, review or the user interface reaches it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.data.ingest import data_stage
from diffinf_core.data.split import TEST, VAL
from diffinf_core.data.training import Part, open_part, open_training
from diffinf_core.store import Run


def open_validation(run: Run) -> Part:
    """The validation split; its labels are as given."""
    return open_part(run, VAL)


def open_test(run: Run) -> Part:
    """The test split; its labels are as given."""
    return open_part(run, TEST)


def training_truth(run: Run) -> tuple[NDArray[np.int64], NDArray[np.bool_]] | None:
    """Clean labels (N,) and which assigned labels are wrong (N,), in training order.

    None for a data set whose labels were taken as they came: nobody knows which are wrong.
    """
    path = data_stage(run) / "truth" / "truth.csv"
    if not path.exists():
        return None
    train = open_training(run)
    table = pd.read_csv(path, dtype=str, keep_default_na=False).set_index("id").loc[list(train.ids)]
    index = {name: i for i, name in enumerate(train.classes)}
    clean = np.array([index[c] for c in table["clean"]], np.int64)
    return clean, (table["flipped"] == "1").to_numpy()
