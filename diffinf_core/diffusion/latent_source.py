"""Training batches of latents: labels that are trusted, covariates, and pairs of one person's pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffinf_core.data.part import Part, to_tensor
from diffinf_core.diffusion.latents import Latents
from diffinf_core.diffusion.sources import Batch, held_rows


@dataclass(frozen=True)
class Conditions:
    """What a generator is conditioned on, for each of N pictures.

    ``labels`` (N,) are class indices, -1 where the label is not trusted and therefore unknown to the
    training; None without labels. ``covariates`` (N, K) are indices, -1 for unknown.
    """

    labels: NDArray[np.int64] | None
    covariates: NDArray[np.int64]


class LatentSource:
    """Encoded pictures; half of them mirrored. Nothing is oversampled.

    A label is dropped in :data:`LABEL_DROPOUT` of a batch and each covariate in
    :data:`COVARIATE_DROPOUT`, so that the generator also knows what to do without them.
    """

    paired = False
    LABEL_DROPOUT, COVARIATE_DROPOUT = 0.15, 0.1

    def __init__(
        self,
        latents: Latents,
        pictures: Part | NDArray[np.uint8],
        conditions: Conditions,
        colour: bool = True,
    ) -> None:
        self._latents, self._pictures, self._given = latents, pictures, conditions
        self._colour = colour
        self._held = held_rows(len(latents.values))
        self._used = np.setdiff1d(np.arange(len(latents.values)), self._held)
        if not len(self._used):
            self._used = self._held

    def __len__(self) -> int:
        return len(self._used)

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """A training batch, random by ``rng`` alone."""
        rows = np.sort(self._used[rng.integers(0, len(self._used), size)])
        mirrored = rng.integers(0, 2, size)
        values = self._latents.values[rows, mirrored]
        label = self._labels(rows)
        shown = label[:, 0].copy() if self._given.labels is not None else None
        if shown is not None:
            label[rng.random(size) < self.LABEL_DROPOUT, 0] = -1
        first = 0 if shown is None else 1
        dropped = rng.random((size, label.shape[1] - first)) < self.COVARIATE_DROPOUT
        label[:, first:][dropped] = -1
        colour = self._latents.colours[rows] if self._colour else None
        return Batch(values, values, label, colour=colour, shown=shown)

    def _labels(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Label and covariates (B, attributes) of pictures."""
        parts = [] if self._given.labels is None else [self._given.labels[rows, None]]
        return np.concatenate([*parts, self._given.covariates[rows]], 1)

    def held_out(self) -> Tensor:
        """Pictures (N, 3, S, S) in [-1, 1] that no batch contains."""
        pictures = self._pictures
        read = pictures.images if isinstance(pictures, Part) else pictures.__getitem__
        return to_tensor(np.asarray(read(self._held)))

    def held_conditions(self) -> Tensor:
        """Their covariates (N, attributes), with the label unknown."""
        out = self._labels(self._held)
        if self._given.labels is not None:
            out[:, 0] = -1
        return torch.from_numpy(out)
