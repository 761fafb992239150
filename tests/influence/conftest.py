"""A small run over coloured pictures, ranked once: nothing is rendered and nothing repaired."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffinf_core.classifier.stage import CLASSIFIER
from diffinf_core.config import make_config
from diffinf_core.data.ingest import DATA
from diffinf_core.influence.stage import INFLUENCE
from diffinf_core.runs.run import Run

CLASSES = ("blue", "green", "red")


@pytest.fixture(scope="session")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """150 pictures, 20 % wrong labels, four epochs with a snapshot each. Read only."""
    root = tmp_path_factory.mktemp("ranked")
    draw = np.random.default_rng(0)
    (root / "pictures").mkdir()
    lines = ["file,label"]
    for i in range(150):
        image = draw.normal(110, 30, (32, 32, 3))
        image[..., 2 - i % 3] += 60
        name = f"{i:03d}.png"
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(root / "pictures" / name)
        lines.append(f"{name},{CLASSES[i % 3]}")
    (root / "pictures" / "labels.csv").write_text("\n".join(lines) + "\n")
    over = {
        "data": {"source": "folder", "path": str(root / "pictures"), "image_size": 32},
        "split": {"val_share": 0.15, "test_share": 0.15},
        "classifier": {"epochs": 4, "checkpoints": 4, "batch_size": 16},
        "influence": {"checkpoint_rule": "all"},
        "predictor": {"folds": 3, "epochs": 8},
    }
    run = Run.prepare(root / "run", make_config("demo", over)).store()
    for stage in (DATA, CLASSIFIER, INFLUENCE):
        for _ in stage.compute(run):
            pass
    return run


@pytest.fixture
def copy(ranked: Run, tmp_path: Path) -> Callable[[str], Run]:
    """Copies of the ranked run that a test may change."""

    def make(name: str = "run") -> Run:
        shutil.copytree(ranked.root, tmp_path / name)
        return Run.open(tmp_path / name)

    return make
