"""Training batches of latents: labels that are trusted, and covariates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffinf_core.data.part import Part, to_tensor
from diffinf_core.diffusion.latents import Latents
from diffinf_core.diffusion.pairs import Pairs
from diffinf_core.diffusion.sources import Batch, held_rows
from diffinf_core.records import DiffInfError


@dataclass(frozen=True)
class Conditions:
    """What a generator is conditioned on, for each of N pictures.

    ``labels`` (N,) are class indices, -1 where the label is not trusted and therefore unknown to the
    training. ``covariates`` (N, K) are indices, -1 for unknown. ``people`` (N,) are identities, where they
    are known.
    """

    labels: NDArray[np.int64]
    covariates: NDArray[np.int64]
    people: NDArray[np.str_] | None = None

    def followed_by(self, covariates: NDArray[np.int64]) -> Conditions:
        """The same before M pictures of nobody in particular, without labels, of which only ``covariates``
        (M, K) are known."""
        m = len(covariates)
        people = self.people
        if people is not None:
            people = np.concatenate([people, [f"further {i}" for i in range(m)]])
        return Conditions(
            np.concatenate([self.labels, np.full(m, -1)]),
            np.concatenate([self.covariates, covariates]),
            people,
        )


def find_pairs(given: Conditions, used: NDArray[np.int64]) -> Pairs:
    """The pairs among the pictures of rows ``used``; :class:`DiffInfError` where there are none."""
    if given.people is None:
        raise DiffInfError(
            "Pairs need a column of identities: name it by data.group_column, or leave out pairs."
        )
    labels = np.full(len(given.people), -1)
    labels[used] = given.labels[used]
    pairs = Pairs(given.people, labels)
    if not pairs.count.any():
        raise DiffInfError(
            "Nobody has pictures with two different trusted labels; leave out pairs."
        )
    return pairs


class LatentSource:
    """Encoded pictures, a random copy of each.

    ``balance`` is the fraction of the draws that give each class the same chance, from pictures with a
    trusted label, and in each class the covariates as often as in all of them: else what goes along with a
    label is taken for a part of it. The others are uniform. A label is dropped in :data:`LABEL_DROPOUT` of
    a batch and each covariate in :data:`COVARIATE_DROPOUT`, so that the generator also knows what to do
    without them. For a fraction ``pairs`` of the pictures whose person is there under another label, the
    code is that of such a picture, and the label is given: the code cannot tell it. Further pictures, which
    stand in ``latents`` after the run's own ``pictures``, are drawn in at most :data:`MOST_FURTHER` of the
    uniform draws, and none is held out.
    """

    paired = False
    LABEL_DROPOUT, COVARIATE_DROPOUT = 0.15, 0.1

    def __init__(
        self,
        latents: Latents,
        pictures: Part | NDArray[np.uint8],
        conditions: Conditions,
        colour: bool = True,
        balance: float = 0.0,
        pairs: float = 0.0,
    ) -> None:
        self._latents, self._pictures, self._given = latents, pictures, conditions
        self._colour = colour
        self._held = held_rows(len(latents.values))
        self._used = np.setdiff1d(np.arange(len(latents)), self._held)
        if not (self._used < len(latents.values)).any():
            self._used = np.arange(len(latents))
        used = self._used
        further = used >= len(latents.values)
        self._chance = _chances(
            conditions.labels[used], conditions.covariates[used], balance, further
        )
        self._cumulated = np.cumsum(self._chance)
        self._pair_fraction = pairs
        self._pairs = find_pairs(conditions, used) if pairs else None

    def __len__(self) -> int:
        return len(self._used)

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """A training batch, random by ``rng`` alone."""
        places = np.searchsorted(self._cumulated, rng.random(size) * self._cumulated[-1], "right")
        rows = np.sort(self._used[places])
        copy = rng.integers(0, self._latents.copies, size)
        values, colours = self._latents.read(rows, copy)
        label = self._labels(rows)
        shown = label[:, 0].copy()
        label[rng.random(size) < self.LABEL_DROPOUT, 0] = -1
        dropped = rng.random((size, label.shape[1] - 1)) < self.COVARIATE_DROPOUT
        label[:, 1:][dropped] = -1
        colour = colours if self._colour else None
        source = values
        if self._pairs is not None:
            chosen = (rng.random(size) < self._pair_fraction) & (self._pairs.count[rows] > 0)
            others = self._pairs.other(rows[chosen], rng.random(size)[chosen])
            source = values.copy()
            source[chosen] = self._latents.read(others, copy[chosen])[0]
            label[chosen, 0] = self._given.labels[rows[chosen]]
            shown[chosen] = self._given.labels[others]
        return Batch(values, source, label, colour=colour, shown=shown)

    def frequencies(self) -> NDArray[np.float64] | None:
        """How often each class (C,) is the label of the pictures that codes are made of."""
        labels = self._given.labels[self._used]
        known = labels >= 0
        if not known.any():
            return None
        chance, others = self._chance.copy(), np.zeros(int(labels.max()) + 1)
        if self._pairs is not None:
            paired = self._pairs.count[self._used] > 0
            rows, mass = self._used[paired], self._pair_fraction * chance[paired]
            others = mass @ self._pairs.label_frequencies(rows, len(others))
            chance[paired] -= mass
        counts = np.bincount(labels[known], chance[known]) + others
        return counts / counts.sum()

    def _labels(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Label and covariates (B, attributes) of pictures."""
        return np.concatenate([self._given.labels[rows, None], self._given.covariates[rows]], 1)

    def held_out(self) -> Tensor:
        """Pictures (N, 3, S, S) in [-1, 1] that no batch contains."""
        pictures = self._pictures
        read = pictures.images if isinstance(pictures, Part) else pictures.__getitem__
        return to_tensor(np.asarray(read(self._held)))

    def held_conditions(self) -> Tensor:
        """Their covariates (N, attributes), with the label unknown."""
        out = self._labels(self._held)
        out[:, 0] = -1
        return torch.from_numpy(out)


#: how much more often than in the data a rare combination is drawn within its class, at most, lest it be
#: memorised
_MOST_OVERSAMPLING = 10.0
#: fraction of the uniform draws that further pictures get at most, however many there are
MOST_FURTHER = 0.65


def _chances(
    labels: NDArray[np.int64],
    covariates: NDArray[np.int64],
    balance: float,
    further: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """The probability (N,) of drawing each picture; ``further`` (N,) are those that are not the run's own."""
    known = labels >= 0
    uniform = np.full(len(labels), 1 / len(labels))
    if further is not None and further.mean() > MOST_FURTHER:
        uniform = np.where(
            further, MOST_FURTHER / further.sum(), (1 - MOST_FURTHER) / (~further).sum()
        )
    if not balance or not known.any():
        return uniform
    counts = np.bincount(labels[known])
    by_class = np.where(known, 1 / np.maximum(counts[np.maximum(labels, 0)], 1), 0.0)
    _, group = np.unique(covariates, axis=0, return_inverse=True)
    group = group.reshape(-1)
    together = np.zeros((len(counts), int(group.max()) + 1))
    np.add.at(together, (labels[known], group[known]), 1)
    usual = together.sum(0) / known.sum()
    within = together / np.maximum(together.sum(1, keepdims=True), 1)
    rarer = np.minimum(usual / np.maximum(within, 1e-12), _MOST_OVERSAMPLING)
    balanced = by_class * rarer[np.maximum(labels, 0), group]
    of_class = np.bincount(labels[known], balanced[known])  # a class may lack a group
    balanced /= np.where(known, of_class[np.maximum(labels, 0)], 1)
    return (1 - balance) * uniform + balance * balanced / balanced.sum()
