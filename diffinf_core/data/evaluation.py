"""Clean validation and test splits, and the truth about injected noise.

Only the classifier's metrics and the report may import this module; a test reads the imports of
every room and fails where correction, review or the user interface reaches it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.data.ingest import DATA, source_folder
from diffinf_core.data.part import Part, open_part, open_training
from diffinf_core.data.split import TEST, VAL
from diffinf_core.runs.run import Run


def open_validation(run: Run) -> Part:
    """The validation split; its labels are as given."""
    return open_part(run, VAL)


def open_test(run: Run) -> Part:
    """The test split; its labels are as given."""
    return open_part(run, TEST)


def test_columns(run: Run) -> pd.DataFrame:
    """What else is known of each test picture, a row each, as text.

    The demo's other attribute is among it: it stays out of ``samples.csv`` because on the training
    split it would tell which labels are wrong.
    """
    test = open_test(run)
    known = test.table.drop(columns=["id", "file", "label"])
    source = source_folder(run) / "labels.csv"
    if run.config.data.source == "demo" and source.exists():
        truth = pd.read_csv(source, dtype=str, keep_default_na=False).set_index("file")
        other = "age" if run.config.data.attribute == "expression" else "expression"
        known[other] = truth[other].loc[test.table["file"]].to_numpy()
    return known


def training_truth(run: Run) -> tuple[NDArray[np.int64], NDArray[np.bool_]] | None:
    """Clean labels (N,) and which assigned labels are wrong (N,), in training order.

    None for a data set whose labels were taken as they came: nobody knows which are wrong.
    """
    path = DATA.folder(run) / "truth" / "truth.csv"
    if not path.exists():
        return None
    train = open_training(run)
    table = pd.read_csv(path, dtype=str, keep_default_na=False).set_index("id").loc[list(train.ids)]
    index = {name: i for i, name in enumerate(train.classes)}
    clean = np.array([index[c] for c in table["clean"]], np.int64)
    return clean, (table["flipped"] == "1").to_numpy()
