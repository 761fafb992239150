"""Finished arms without a training: predictions as they would lie in a run's folder."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from diffinf_core.classifier.metrics import evaluate
from diffinf_core.data.evaluation import open_test
from diffinf_core.experiments.retrain import arm
from diffinf_core.runs.files import write_array, write_json
from diffinf_core.runs.run import Run


def predictions(
    labels: NDArray[np.int64], classes: int, right: NDArray[np.bool_], confidence: float = 0.8
) -> NDArray[np.float64]:
    """Probabilities (N, C): the label where ``right``, else the next class, with one confidence."""
    said = np.where(right, labels, (labels + 1) % classes)
    out = np.full((len(labels), classes), (1 - confidence) / (classes - 1))
    out[np.arange(len(labels)), said] = confidence
    return out


def write_arms(run: Run, shares: Mapping[str, float], seed: int = 0) -> None:
    """An arm per share of right predictions, for every seed of the run's configuration."""
    test, rng = open_test(run), np.random.default_rng(seed)
    for name, share in shares.items():
        for number in range(run.config.retrain.seeds):
            stage = arm(name, number).folder(run)
            p = predictions(test.labels, len(test.classes), rng.random(len(test)) < share)
            write_array(stage / "test_probabilities.npy", p.astype(np.float32))
            lines = [
                {"epoch": e + 1, "train_loss": 1 / (e + 1), "val_accuracy": share} for e in range(3)
            ]
            write_json(stage / "history.json", lines)
            stage.finish({"test": evaluate(test.labels, p), "n": 100})
