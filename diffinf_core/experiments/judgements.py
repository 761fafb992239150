"""What the methods of a benchmark think of each training sample, over the seeds that are finished."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from diffinf_core.baselines.method import Outcome
from diffinf_core.data.part import open_training
from diffinf_core.experiments.benchmark import Row, job_folder
from diffinf_core.experiments.suite import BenchmarkSettings, Cell, cells, trainings
from diffinf_core.runs.run import Run

COLUMNS = ("noise", "tau", "method", "id", "label", "seeds", "suspicion", "kept", "corrected")


def judged_samples(run: Run, settings: BenchmarkSettings) -> pd.DataFrame:
    """A line per sample and row of the table that judges samples, in the order of table and data.

    ``suspicion`` is the mean over the seeds, higher is more likely mislabelled, comparable within a row
    only; ``kept`` the fraction of the seeds that trained on the sample with its label; ``corrected`` the
    label that most seeds believe in. What a method does not judge is empty.
    """
    parts = []
    for cell in cells(run, settings):
        for row in cell.rows:
            if found := _outcomes(trainings(run), cell, row, settings.seeds):
                parts.append(_lines(cell, row, found))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def _outcomes(root: Path, cell: Cell, row: Row, seeds: int) -> list[Outcome]:
    folders = [job_folder(root, cell.problem, row, seed) for seed in range(seeds)]
    found = [row.method.scores(f) for f in folders if (f / "result.json").exists()]
    return [outcome for outcome in found if outcome is not None]


def _lines(cell: Cell, row: Row, found: list[Outcome]) -> pd.DataFrame:
    train = open_training(cell.problem.run)
    names = np.asarray(train.classes)
    suspicion = [o.suspicion for o in found if o.suspicion is not None]
    kept = [o.kept for o in found if o.kept is not None]
    corrected = [o.corrected for o in found if o.corrected is not None]
    votes = [np.stack(corrected) == k for k in range(len(names))] if corrected else []
    return pd.DataFrame(
        {
            "noise": cell.noise,
            "tau": cell.tau,
            "method": row.name,
            "id": train.ids,
            "label": names[train.labels],
            "seeds": len(found),
            "suspicion": np.mean(suspicion, 0) if suspicion else np.nan,
            "kept": np.mean(kept, 0) if kept else np.nan,
            "corrected": names[np.sum(votes, 1).argmax(0)] if votes else "",
        },
        columns=list(COLUMNS),
    )
