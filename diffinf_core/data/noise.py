"""Symmetric label noise as the paper states it: a fixed fraction of labels, never the true class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def add_symmetric_noise(
    labels: NDArray[np.int64], classes: int, rate: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Make exactly floor(rate N + 1/2) labels wrong.

    ``labels`` (N,) in [0, classes). Each chosen label moves by u, uniform on {1 .. classes - 1},
    modulo ``classes``. Returns the noisy labels and which of them changed.
    """
    labels = np.asarray(labels, np.int64)
    if classes < 2 or not 0 <= rate <= 1:
        raise ValueError(f"classes={classes}, rate={rate}: need classes >= 2 and rate in [0, 1].")
    rng = np.random.default_rng(seed)
    count = int(np.floor(rate * len(labels) + 0.5))
    chosen = rng.choice(len(labels), count, replace=False)
    noisy = labels.copy()
    noisy[chosen] = (labels[chosen] + rng.integers(1, classes, count)) % classes
    flipped = np.zeros(len(labels), bool)
    flipped[chosen] = True
    return noisy, flipped


def add_inclusive_noise(
    labels: NDArray[np.int64], classes: int, rate: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Redraw floor(rate N + 1/2) labels from all classes, the true one too: the literature's noise on CIFAR.

    About rate (classes - 1) / classes of the labels become wrong. Returns as :func:`add_symmetric_noise`.
    """
    labels = np.asarray(labels, np.int64)
    if classes < 2 or not 0 <= rate <= 1:
        raise ValueError(f"classes={classes}, rate={rate}: need classes >= 2 and rate in [0, 1].")
    rng = np.random.default_rng(seed)
    count = int(np.floor(rate * len(labels) + 0.5))
    chosen = rng.choice(len(labels), count, replace=False)
    noisy = labels.copy()
    noisy[chosen] = rng.integers(0, classes, count)
    return noisy, noisy != labels
