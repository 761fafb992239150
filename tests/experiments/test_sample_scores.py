"""Per-sample scores over several seeds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from diffinf_core.baselines import make_method
from diffinf_core.baselines.method import Outcome
from diffinf_core.experiments import sample_scores
from diffinf_core.experiments.benchmark import Row
from diffinf_core.experiments.suite import BenchmarkSettings


def test_seeds_are_averaged_counted_and_vote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [
        Outcome(np.array([0.2, 0.8]), np.array([True, False]), np.array([0, 2])),
        Outcome(np.array([0.4, 1.0]), np.array([True, True]), np.array([0, 1])),
        Outcome(np.array([0.6, 0.6]), np.array([True, False]), np.array([1, 2])),
    ]  # fmt: skip
    row = Row(make_method("elr"))
    for seed, outcome in enumerate(given):
        (tmp_path / str(seed)).mkdir()
        outcome.write(tmp_path / str(seed))
        (tmp_path / str(seed) / "result.json").write_text("{}")
    (tmp_path / "3").mkdir()
    given[0].write(tmp_path / "3")  # a training that is not measured yet does not count
    training = SimpleNamespace(
        classes=["a", "b", "c"], ids=np.array(["x", "y"]), labels=np.array([0, 1])
    )
    cell: Any = SimpleNamespace(noise=0.2, tau=10.0, problem=SimpleNamespace(run=None), rows=(row,))
    monkeypatch.setattr(sample_scores, "cells", lambda *_: [cell])
    monkeypatch.setattr(sample_scores, "trainings", lambda _: tmp_path)
    monkeypatch.setattr(sample_scores, "open_training", lambda _: training)
    monkeypatch.setattr(sample_scores, "job_folder", lambda root, *a: root / str(a[-1]))
    run: Any = None
    table = pd.concat(sample_scores.sample_scores(run, BenchmarkSettings(seeds=4)))
    assert list(table.columns) == list(sample_scores.COLUMNS)
    assert table["seeds"].tolist() == [3, 3] and table["method"].tolist() == ["elr", "elr"]
    assert table["suspicion"].tolist() == pytest.approx([0.4, 0.8])
    assert table["kept"].tolist() == pytest.approx([1, 1 / 3])
    assert table["corrected"].tolist() == ["a", "c"] and table["label"].tolist() == ["a", "b"]
    assert not list(sample_scores.sample_scores(run, BenchmarkSettings(seeds=0)))
