"""An app on a run with a map and near-duplicates, shared by the tests of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffinf_core.data.duplicates import DUPLICATES
from diffinf_core.engine import open_run
from diffinf_core.runs.files import write_table
from tests.ui.browser import Server
from tests.ui.explore.window import opened


@pytest.fixture(scope="package")
def server(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    run = tmp_path_factory.mktemp("explore") / "run"
    shutil.copytree(finished_run, run)
    engine = open_run(run)
    list(engine.explore.map.compute())
    list(engine.explore.duplicates.compute())
    # The rendered faces have no near-duplicates: three pairs are planted, two of them differing.
    labels, ids = engine.training.labels, engine.training.ids
    same, other = np.flatnonzero(labels == 0), np.flatnonzero(labels != 0)
    planted = pd.DataFrame(
        {
            "first": ids[same[[0, 1, 2]]],
            "second": [ids[same[3]], ids[other[0]], ids[other[1]]],
            "correlation": [0.99, 0.98, 0.97],
        }
    )
    stage = DUPLICATES.folder(engine.folder)
    figures, code = stage.figures, stage.code
    write_table(stage / "pairs.csv", planted)
    stage.finish(figures, code)  # as if it had been computed so
    with Server(run) as server:
        yield server


@pytest.fixture
def page(chromium, server: Server) -> Iterator[object]:
    yield from opened(chromium, server)
