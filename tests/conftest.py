"""Shared fixtures: one thread per process, and a tiny finished run that tests copy or read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from diffinf_core.config import RunConfig, make_config

torch.set_num_threads(1)

TINY = {
    "data": {"demo_faces": 240},
    "split": {"val_share": 0.2, "test_share": 0.2},
    "classifier": {"epochs": 3, "checkpoints": 3, "batch_size": 32},
    "influence": {"tau": 8},
    "predictor": {"folds": 2, "epochs": 5},
    "repair": {"steps": 3, "batch_size": 8},
    "retrain": {"seeds": 1, "epochs": 2},
}


@pytest.fixture(scope="session")
def tiny_config() -> RunConfig:
    """A run of a few seconds."""
    return make_config("demo", TINY)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, tiny_config: RunConfig) -> Path:
    """A tiny run, computed once up to the repairs. Read only: copy it to change it."""
    from diffinf_core.engine import open_run

    root = tmp_path_factory.mktemp("finished") / "run"
    for _ in open_run(root, tiny_config).compute():
        pass
    return root


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    target = tmp_path / "run"
    shutil.copytree(finished_run, target)
    return target
