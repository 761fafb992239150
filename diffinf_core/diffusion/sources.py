"""Where a generator's training batches come from, and how they are read ahead.

A batch is a function of (seed, step, part of the step) and of nothing else: that is what makes a resumed
training bit-identical, lets several processes share a data set without communication, and lets threads read
batches ahead.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
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
from diffinf_core.runs.workers import in_order

#: fraction of a run's or folder's training pictures held out for the curves, and at most so many
HELD_FRACTION, HELD_MOST = 0.05, 128


@dataclass(frozen=True)
class Batch:
    """``target`` and ``source``: encode the source, produce the target. Pictures (B, S, S, 3) uint8, which
    stay bytes until they are on the device, or latents (B, C, s, s) float16 as a first stage gives them.

    ``label`` (B, attributes) int64 with -1 for unknown; ``weight`` (B, S, S) float32 of the loss, mean
    1, or None for 1 everywhere. ``colour`` (B, 3) is the target's coarse colour in [-1, 1], None where the
    generator is not conditioned on it; ``shown`` (B,) are the labels of the sources, before label dropout.
    """

    target: NDArray[np.uint8] | NDArray[np.float16]
    source: NDArray[np.uint8] | NDArray[np.float16]
    label: NDArray[np.int64]
    weight: NDArray[np.float32] | None = None
    colour: NDArray[np.float32] | None = None
    shown: NDArray[np.int64] | None = None


class Source(Protocol):
    """Where batches come from."""

    paired: bool

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """A training batch, random by ``rng`` alone."""
        ...

    def frequencies(self) -> NDArray[np.float64] | None:
        """How often each class (C,) is among the labels that batches show; None without labels."""
        ...

    def held_out(self) -> Tensor:
        """Pictures (N, 3, S, S) in [-1, 1] that no batch contains."""
        ...

    def held_conditions(self) -> Tensor | None:
        """What they are conditioned on beside a label (N, attributes), -1 for unknown; None for nothing."""
        ...


#: loss weight of each facial part: small parts decide the label and the identity, so they count more
_PART_WEIGHT = torch.tensor([0.7, 1.2, 1.2, 4.0, 4.0, 2.5, 4.0, 2.0])


class SceneSource:
    """Pairs from rendered scenes; the attributes are expression and age.

    ``expression_fraction`` and ``age_fraction`` are the fractions of pairs in which source and target
    differ in that attribute and the target is conditioned on it; elsewhere it stays the same and its label
    is unknown. ``held`` (N, 3, S, S) are pictures of other scenes.
    """

    paired = True

    def __init__(
        self,
        scenes: Scenes,
        expression_fraction: float = 0.45,
        age_fraction: float = 0.3,
        held: Tensor | None = None,
    ) -> None:
        self.scenes, self._held = scenes, held
        self.expression_fraction, self.age_fraction = expression_fraction, age_fraction

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
        label_e, label_a = (
            rng.random(size) < self.expression_fraction,
            rng.random(size) < self.age_fraction,
        )
        # Source and target differ only in what the label conditions on.
        se, sa = np.where(label_e, 1 - e, e), np.where(label_a, 1 - a, a)
        label = np.stack(
            [
                np.where(label_e, s.expression[rows, e], -1),
                np.where(label_a, s.age[rows, a], -1),
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

    def frequencies(self) -> NDArray[np.float64] | None:
        return None

    def held_out(self) -> Tensor:
        assert self._held is not None
        return self._held

    def held_conditions(self) -> Tensor | None:
        return None


def held_rows(n: int) -> NDArray[np.int64]:
    """Evenly spread positions that are kept out of training: 5 %, at least one, at most 128."""
    count = int(np.clip(round(HELD_FRACTION * n), 1, HELD_MOST))
    return np.linspace(0, n - 1, count).astype(np.int64)


class PictureSource:
    """Single pictures (N, S, S, 3), with labels (N,) or without; half of them mirrored.

    With label dropout: one batch entry in five is unconditional, for classifier-free guidance.
    """

    paired = False
    #: fraction of a batch that is conditioned on its label; the rest is label dropout
    label_fraction = 0.8

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
        conditioned = rng.random(size) < self.label_fraction
        if self._labels is None:
            label = np.zeros((size, 0), np.int64)
        else:
            label = np.where(conditioned, self._labels[rows], -1)[:, None]
        return Batch(x, x, label, shown=None if self._labels is None else self._labels[rows])

    def frequencies(self) -> NDArray[np.float64] | None:
        if self._labels is None:
            return None
        return np.bincount(self._labels[self._used]) / len(self._used)

    def held_out(self) -> Tensor:
        return to_tensor(self._read(self._held))

    def held_conditions(self) -> Tensor | None:
        return None


@dataclass(frozen=True)
class SeededBatch:
    """One part of an optimiser step: a batch and the seed of its noise."""

    batch: Batch
    seed: int


def _seeded_batch(source: Source, seed: int, step: int, part: int, size: int) -> SeededBatch:
    rng = np.random.default_rng((seed, step, part, 0))
    batch = source.batch(rng, size)
    return SeededBatch(batch, int(rng.integers(2**62)))


def read_ahead(
    source: Source,
    seed: int,
    steps: Iterable[int],
    process: int,
    parts: int,
    size: int,
    readers: int,
) -> Generator[list[SeededBatch], None, None]:
    """The batches of each step, in order, read ahead by ``readers`` threads (0: read when needed).

    Two processes with one part each get the batches of one process with two parts.
    """
    mine = range(process * parts, (process + 1) * parts)
    if not readers:
        for step in steps:
            yield [_seeded_batch(source, seed, step, part, size) for part in mine]
        return

    def read(step: int) -> list[SeededBatch]:
        return [_seeded_batch(source, seed, step, part, size) for part in mine]

    yield from in_order(read, steps, readers, 2 * readers + 1, "batches")
