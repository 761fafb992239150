"""Gaussian blobs in the plane and a small network: what a method can be tested on in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffinf_core.baselines import Method, Recipe, Task
from diffinf_core.data.noise import add_symmetric_noise
from diffinf_core.runs.files import read_tensors


class Points:
    """Points (N, 2), or pictures, with labels."""

    def __init__(self, x: Tensor, labels: NDArray[np.int64]) -> None:
        self.x, self.labels = x, labels

    def __len__(self) -> int:
        return len(self.labels)

    def tensors(self, positions: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """Points at positions."""
        return self.x[torch.as_tensor(np.asarray(positions))]


def blobs(n: int, classes: int, seed: int) -> Points:
    """``n`` points around as many centres on the unit circle as there are classes."""
    y = np.arange(n) % classes
    angle = 2 * np.pi * y / classes
    noise = np.random.default_rng(seed).standard_normal((n, 2))
    x = np.stack([np.cos(angle), np.sin(angle)], 1) + 0.5 * noise
    return Points(torch.tensor(x, dtype=torch.float32), y)


def mlp(classes: int) -> nn.Module:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, classes)
    )


def blob_task(
    n: int = 1500, classes: int = 3, rate: float = 0.3, seed: int = 0, **over: Any
) -> tuple[Task, NDArray[np.bool_], Points]:
    """A task with exact noise, which labels are wrong (N,), and a clean test set."""
    clean = blobs(n, classes, seed)
    noisy, wrong = add_symmetric_noise(clean.labels, classes, rate, seed)
    ranking = wrong + np.random.default_rng(seed).normal(size=n)
    repaired = np.where(ranking > np.quantile(ranking, 0.9), clean.labels, noisy)
    settings: dict[str, Any] = {
        "recipe": Recipe(epochs=30, learning_rate=5e-3),
        "noise_rate": rate,
        "ranking": ranking,
        "refined": Points(clean.x, repaired),
    }
    task = Task(Points(clean.x, noisy), classes, mlp, seed=seed, **{**settings, **over})
    return task, wrong, blobs(1500, classes, 1000 + seed)


def train(method: Method, task: Task, folder: Path) -> Path:
    """Train to the end."""
    for _ in method.train(task, folder):
        pass
    return folder


def accuracy(method: Method, task: Task, folder: Path, data: Points, best: bool = False) -> float:
    """Accuracy on data."""
    z = method.predictions(task, folder, data, best)
    return float((z.argmax(1) == data.labels).mean())


def weights(file: Path) -> list[Tensor]:
    """Every weight in a file of networks, in order."""
    return [w for net in read_tensors(file)["nets"] for w in net.values()]


def equal(a: Path, b: Path) -> bool:
    """Whether two files of networks are the same bit for bit."""
    first, second = weights(a), weights(b)
    return len(first) == len(second) and all(
        torch.equal(x, y) for x, y in zip(first, second, strict=True)
    )
