"""Shared fixtures: one thread per process, and a tiny finished run that tests copy or read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

from diffinf_core.config import RunConfig, make_config

torch.set_num_threads(1)
# no test is bound to a clock: the machine may be busy
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

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
    _written[root] = _files(root)
    return root


_written: dict[Path, dict[str, tuple[int, int]]] = {}


def _files(root: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file but the caches that reading fills: inversions, rows of the queue."""
    found = {}
    for file in root.rglob("*"):
        if file.is_file() and file.parent.name != "inversions" and file.name != "rows.json":
            stat = file.stat()
            found[str(file.relative_to(root))] = (stat.st_size, stat.st_mtime_ns)
    return found


@pytest.fixture(scope="module", autouse=True)
def finished_run_is_only_read() -> Iterator[None]:
    """A module that changes the shared run fails itself, not whichever module comes after it."""
    yield
    for root, before in _written.items():
        after = _files(root)
        changed = sorted(f for f in before.keys() | after.keys() if before.get(f) != after.get(f))
        _written[root] = after
        assert not changed, f"{len(changed)} files of the shared run were changed: {changed[:5]}"


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may change."""
    target = tmp_path / "run"
    shutil.copytree(finished_run, target)
    return target
