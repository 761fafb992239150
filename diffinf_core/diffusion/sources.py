"""Where a generator's training batches come from, and how they are read ahead.

A batch is a function of (seed, step, place in the step) and of nothing else: that is what makes a resumed
training bit-identical, lets several processes share a data set without talking, and lets batches be
read ahead by threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.data.part import Part, to_tensor
from diffinf_core.data.rendered import faces
from diffinf_core.data.rendered.scenes import Scenes
from diffinf_core.runs.workers import thread_pool

#: share of a run's or folder's training pictures kept for the curves, and the most that are
HELD_SHARE, HELD_MOST = 0.05, 128


@dataclass(frozen=True)
class Batch:
    """``target`` and ``source`` (B, S, S, 3) uint8: encode the source, produce the target.

    ``label`` (B, attributes) int64 with -1 for unknown; ``weight`` (B, S, S) float32 of the loss, mean
    1, or None for 1 everywhere. Pictures stay bytes until they are on the device: a quarter of the
    traffic.
    """

    target: NDArray[np.uint8]
    source: NDArray[np.uint8]
    label: NDArray[np.int64]
    weight: NDArray[np.float32] | None = None


class Source(Protocol):
    """Where batches come from."""

    paired: bool

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """A training batch; draws from ``rng`` alone."""
        ...

    def held_out(self) -> Tensor:
        """Pictures (N, 3, S, S) in [-1, 1] that no batch contains."""
        ...


#: Small parts decide the label and the likeness, so errors there count more.
_PART_WEIGHT = torch.tensor([0.7, 1.2, 1.2, 4.0, 4.0, 2.5, 4.0, 2.0])


class SceneSource:
    """Pairs from rendered scenes; the attributes are expression and age.

    ``told_expression`` and ``told_age`` are the shares of pairs in which that attribute changes and is
    told; elsewhere it stays and is unknown.
    """

    paired = True

    def __init__(
        self,
        scenes: Scenes,
        told_expression: float = 0.45,
        told_age: float = 0.3,
        held: Tensor | None = None,
    ) -> None:
        self.scenes, self._held = scenes, held
        self.told_expression, self.told_age = told_expression, told_age

    @staticmethod
    def attributes() -> list[dict[str, object]]:
        return [
            {"name": "expression", "classes": faces.EXPRESSIONS},
            {"name": "age", "classes": faces.AGES},
        ]

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        s = self.scenes
        rows = np.sort(rng.integers(0, len(s), size))
        e, a = rng.integers(0, 2, size), rng.integers(0, 2, size)
        told_e, told_a = rng.random(size) < self.told_expression, rng.random(size) < self.told_age
        # Only what the label tells may differ between source and target.
        se, sa = np.where(told_e, 1 - e, e), np.where(told_a, 1 - a, a)
        label = np.stack(
            [
                np.where(told_e, s.expression[rows, e], -1),
                np.where(told_a, s.age[rows, a], -1),
            ],
            1,
        )
        parts = torch.from_numpy(s.parts[rows, e, a].astype(np.int64))
        weight = _PART_WEIGHT[parts][:, None]
        weight = torch.maximum(weight, 0.8 * F.max_pool2d(weight, 3, 1, 1))
        weight = weight / weight.mean()
        return Batch(
            target=s.images[rows, e, a],
            source=s.images[rows, se, sa],
            label=label,
            weight=weight[:, 0].numpy(),
        )

    def held_out(self) -> Tensor:
        assert self._held is not None
        return self._held


def held_rows(n: int) -> NDArray[np.int64]:
    """Evenly spread positions that are kept out of training: 5 %, at least one, at most 128."""
    count = int(np.clip(round(HELD_SHARE * n), 1, HELD_MOST))
    return np.linspace(0, n - 1, count).astype(np.int64)


class PictureSource:
    """Single pictures (N, S, S, 3), with labels (N,) or without; half of them mirrored.

    Each label is hidden in one batch entry of five, so that the generator also knows pictures of no
    stated class.
    """

    paired = False
    #: share of the labels that are told
    told = 0.8

    def __init__(
        self, images: NDArray[np.uint8] | Part, labels: NDArray[np.int64] | None = None
    ) -> None:
        self._images, self._labels = images, labels
        self._held = held_rows(len(images))
        self._used = np.setdiff1d(np.arange(len(images)), self._held)
        if not len(self._used):
            self._used = self._held

    def __len__(self) -> int:
        return len(self._used)

    def _read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        if isinstance(self._images, Part):
            return self._images.images(rows)
        return np.asarray(self._images[rows])

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        rows = np.sort(self._used[rng.integers(0, len(self._used), size)])
        x = self._read(rows)
        flip = rng.random(size) < 0.5
        x = np.where(flip[:, None, None, None], x[:, :, ::-1], x)
        told = rng.random(size) < self.told
        if self._labels is None:
            label = np.zeros((size, 0), np.int64)
        else:
            label = np.where(told, self._labels[rows], -1)[:, None]
        return Batch(x, x, label)

    def held_out(self) -> Tensor:
        return to_tensor(self._read(self._held))


@dataclass(frozen=True)
class Draw:
    """One part of an optimiser step: a batch and the seed of its noise."""

    batch: Batch
    seed: int


def _draw(source: Source, seed: int, step: int, which: int, size: int) -> Draw:
    rng = np.random.default_rng((seed, step, which, 0))
    batch = source.batch(rng, size)
    return Draw(batch, int(rng.integers(2**62)))


def ahead(
    source: Source,
    seed: int,
    steps: Iterable[int],
    process: int,
    parts: int,
    size: int,
    readers: int,
) -> Generator[list[Draw], None, None]:
    """The draws of each step, in order, read ahead by ``readers`` threads (0: when asked for).

    Two processes with one part each draw what one process with two parts draws.
    """
    mine = range(process * parts, (process + 1) * parts)
    if not readers:
        for step in steps:
            yield [_draw(source, seed, step, which, size) for which in mine]
        return
    coming = iter(steps)
    window: deque[list[Future[Draw]]] = deque()
    pool = thread_pool(readers, "batches")
    try:
        while True:
            while len(window) <= 2 * readers:
                following = next(coming, None)
                if following is None:
                    break
                window.append(
                    [pool.submit(_draw, source, seed, following, which, size) for which in mine]
                )
            if not window:
                return
            yield [future.result() for future in window.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)
