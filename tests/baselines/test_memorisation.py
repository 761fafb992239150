"""Where plain training memorises its wrong labels, the methods must be worth their trouble."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from torch import nn

from diffinf_core.baselines import Recipe, Task, make_method
from diffinf_core.data.noise import add_symmetric_noise
from diffinf_core.runs.files import read_json
from tests.baselines.blobs import Points, accuracy, train

WIDTH = 30


def wide(n: int, seed: int) -> Points:
    """Three classes, each shifted along its own axis of thirty: room to memorise."""
    rng, y = np.random.default_rng(seed), np.arange(n) % 3
    x = rng.standard_normal((n, WIDTH))
    x[np.arange(n), y] += 3
    return Points(torch.tensor(x, dtype=torch.float32), y)


def network(classes: int) -> nn.Module:
    """Wide enough for 600 points."""
    return nn.Sequential(
        nn.Linear(WIDTH, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, classes)
    )


@cache
def figures(name: str) -> tuple[float, float]:
    """Accuracy on clean test points and agreement with the noisy training labels."""
    clean = wide(600, 0)
    noisy, wrong = add_symmetric_noise(clean.labels, 3, 0.3, 0)
    ranking = wrong + 0.5 * np.random.default_rng(0).random(600)
    task = Task(
        Points(clean.x, noisy),
        3,
        network,
        Recipe(epochs=40, learning_rate=2e-3),
        noise_rate=0.3,
        ranking=ranking,
        refined=Points(clean.x, np.where(ranking > 1.2, clean.labels, noisy)),
    )
    method = make_method(name)
    with TemporaryDirectory() as folder:
        train(method, task, Path(folder))
        return (
            accuracy(method, task, Path(folder), wide(900, 99)),
            accuracy(method, task, Path(folder), Points(clean.x, noisy)),
        )


def test_plain_training_memorises_the_noise() -> None:
    test, agreement = figures("noisy")
    assert agreement > 0.95 and test < 0.8


def test_accuracy_on_clean_labels_falls_from_its_early_peak(tmp_path: Path) -> None:
    noisy, _ = add_symmetric_noise((clean := wide(600, 0)).labels, 3, 0.3, 0)
    recipe = Recipe(epochs=40, learning_rate=2e-3)
    task = Task(Points(clean.x, noisy), 3, network, recipe, validation=wide(900, 99))
    train(make_method("noisy"), task, tmp_path)
    curve = [epoch["val_accuracy"] for epoch in read_json(tmp_path / "history.json")]
    assert int(np.argmax(curve)) < 10 and max(curve) > np.mean(curve[-5:]) + 0.1


@pytest.mark.parametrize(
    "name,gain",
    [("small_loss", 0.1), ("coteaching", 0.1), ("elr", 0.1), ("elr_plus", 0.15), ("promix", 0.15),
     ("dividemix", 0.15), ("cleanlab", 0.1), ("aum", 0.1), ("loss_removal", 0.05),
     ("removal", 0.03), ("repair", 0.08), ("sop", 0.02)],
)  # fmt: skip
def test_a_method_recovers_accuracy_that_memorisation_costs(name: str, gain: float) -> None:
    test, agreement = figures(name)
    assert test > figures("noisy")[0] + gain
    assert agreement < figures("noisy")[1], "it memorised as much"
