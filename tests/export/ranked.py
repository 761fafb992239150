"""Scores for runs whose stages were never computed: drawn, written where the ranking reads them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from diffinf_core.data.part import open_training
from diffinf_core.influence.estimators import estimator_names
from diffinf_core.influence.stage import INFLUENCE, estimator_of
from diffinf_core.runs.files import write_table
from diffinf_core.runs.run import Run


def rank(run: Run, seed: int = 0) -> None:
    """Finish the influence stage with random scores."""
    ids = [str(name) for name in open_training(run).ids]
    rng = np.random.default_rng(seed)
    scores = {name: rng.random(len(ids)) for name in estimator_names(estimator_of(run))}
    stage = INFLUENCE.folder(run)
    write_table(stage / "scores.csv", pd.DataFrame({"id": ids, **scores}))
    stage.finish({"n": len(ids)})
