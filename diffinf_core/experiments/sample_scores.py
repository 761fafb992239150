"""Per-sample scores of a benchmark's methods, over the seeds that are finished."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from diffinf_core.baselines.method import Outcome
from diffinf_core.data.part import Part, open_training
from diffinf_core.experiments.benchmark import Row, job_folder
from diffinf_core.experiments.suite import BenchmarkSettings, Cell, cells, trainings
from diffinf_core.runs.run import Run

COLUMNS = ("noise", "tau", "method", "id", "label", "seeds", "suspicion", "kept", "corrected")


def sample_scores(run: Run, settings: BenchmarkSettings) -> Iterator[pd.DataFrame]:
    """For each row of the tables that scores samples one table of :data:`COLUMNS`, in the order of the data.

    ``suspicion`` is the mean over the seeds, higher is more likely mislabelled, comparable within a row
    only; ``kept`` the fraction of the seeds that trained on the sample with its label; ``corrected`` the
    label that most seeds believe in, on a tie the assigned one, else the first in class order. What a
    method does not say is empty.
    """
    for cell in cells(run, settings):
        train: Part | None = None
        for row in cell.rows:
            if outcomes := _outcomes(trainings(run), cell, row, settings.seeds):
                train = train or open_training(cell.problem.run)
                yield _table(cell, row, train, outcomes)


def _outcomes(root: Path, cell: Cell, row: Row, seeds: int) -> list[Outcome]:
    folders = [job_folder(root, cell.problem, row, seed) for seed in range(seeds)]
    each = (row.method.scores(f) for f in folders if (f / "result.json").exists())
    return [outcome for outcome in each if outcome is not None]


def _table(cell: Cell, row: Row, train: Part, outcomes: list[Outcome]) -> pd.DataFrame:
    names, at = np.asarray(train.classes), np.arange(len(train.labels))
    suspicion = [o.suspicion for o in outcomes if o.suspicion is not None]
    kept = [o.kept for o in outcomes if o.kept is not None]
    votes = np.zeros((len(at), len(names)))
    for outcome in outcomes:
        if outcome.corrected is not None:
            votes[at, outcome.corrected] += 1
    corrects = votes.any()
    votes[at, train.labels] += 0.5
    return pd.DataFrame(
        {
            "noise": cell.noise,
            "tau": cell.tau,
            "method": row.name,
            "id": train.ids,
            "label": names[train.labels],
            "seeds": len(outcomes),
            "suspicion": np.mean(suspicion, 0) if suspicion else np.nan,
            "kept": np.mean(kept, 0) if kept else np.nan,
            "corrected": names[votes.argmax(1)] if corrects else "",
        }
    )
