"""How sure a difference between arms is: a paired bootstrap over test pictures and seeds.

A draw takes the test pictures again with replacement, within each class, and the seeds again; the same
pictures and the same seeds for every arm, so that what is hard for all of them cancels out. Of S seeds
S - 1 are drawn, which makes the variance of a mean over few seeds come out right (Rao and Wu 1988). Each
quantity is a sum of per-picture columns, so that all draws are one matrix product.

The bootstrap of AUROC is of its first order (the components of DeLong et al. 1988); the others are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from diffinf_core.experiments.quantities import (
    Floats,
    Quantity,
    figures_of,
    group_accuracy,
    picture_columns,
    quantities_of,
)
from diffinf_core.records import DiffInfError

DRAWS, LEVEL = 1000, 0.95
#: on fewer test pictures than this no interval is given: resampling them shows too little
FEWEST = 20


@dataclass(frozen=True)
class Difference:
    """One arm less another in one quantity, with the interval of :data:`LEVEL`.

    ``low`` and ``high`` are None where there are too few pictures for an interval. ``p`` is two-sided, by
    the bootstrap's deviation, which unlike a count of draws is fine enough to be corrected for many
    comparisons, and Student's distribution: few seeds tell little of how much a training varies.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Measured:
    """Every quantity of every arm, means over seeds.

    ``by_seed`` (A, S, Q), ``draws`` (B, A, Q).
    """

    arms: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    by_seed: Floats
    draws: Floats

    @property
    def seeds(self) -> int:
        """How many trainings there are of each arm."""
        return self.by_seed.shape[1]

    @cached_property
    def values(self) -> Floats:
        """The figures (A, Q), means over seeds."""
        return np.asarray(self.by_seed.mean(1))

    @cached_property
    def deviations(self) -> Floats | None:
        """Standard deviations (A, Q) over seeds; None with one seed."""
        return np.asarray(self.by_seed.std(1, ddof=1)) if self.seeds > 1 else None

    def index(self, section: str, name: str) -> int:
        """The place of a quantity; KeyError where there is none."""
        for i, q in enumerate(self.quantities):
            if (q.section, q.name) == (section, name):
                return i
        raise KeyError((section, name))

    def value(self, arm: str, quantity: int) -> float:
        """A figure of an arm, NaN where it does not exist."""
        return float(self.values[self.arms.index(arm), quantity])

    def difference(self, arm: str, against: str, quantity: int) -> Difference | None:
        """``arm`` less ``against``; None where one of them has no such figure.

        The interval is the basic one, which reflects the draws about the figure: calibration error
        grows under resampling, and percentiles of the draws would carry that into the interval.
        """
        a, b = self.arms.index(arm), self.arms.index(against)
        found = float(self.values[a, quantity] - self.values[b, quantity])
        if np.isnan(found):
            return None
        draws = self.draws[:, a, quantity] - self.draws[:, b, quantity]
        draws = draws[~np.isnan(draws)]
        if self.quantities[quantity].n < FEWEST or len(draws) < len(self.draws) / 2:
            return Difference(found, None, None, None)
        low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        sd = float(draws.std(ddof=1))
        p = float(found == 0)
        if sd > 0:
            p = float(2 * student.sf(abs(found) / sd, self._freedom(a, b, quantity, sd**2)))
        return Difference(found, 2 * found - float(high), 2 * found - float(low), p)

    def _freedom(self, a: int, b: int, quantity: int, variance: float) -> float:
        """Degrees of freedom of a variance of which seeds are one part (Satterthwaite 1946)."""
        if self.seeds == 1:
            return np.inf
        apart = self.by_seed[a, :, quantity] - self.by_seed[b, :, quantity]
        of_seeds = float(apart.var(ddof=1)) / self.seeds
        # Test pictures are many, so that their part counts as known.
        known = np.inf if of_seeds == 0 else (self.seeds - 1) * (variance / of_seeds) ** 2
        return max(self.seeds - 1, known)


def measure(
    labels: NDArray[np.int64],
    probabilities: Mapping[str, NDArray[np.floating]],
    classes: Sequence[str],
    groups: Mapping[tuple[str, str], NDArray[np.bool_]] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> Measured:
    """Measure arms on one test split.

    ``labels`` (N,) in [0, C); ``probabilities`` maps an arm to (S, N, C), the same S for all; ``groups``
    maps (column, value) to who belongs to it (N,). Raises :class:`DiffInfError` where arms were trained
    on different numbers of seeds, or a class has no test picture.
    """
    labels = np.asarray(labels, np.int64)
    n, count = len(labels), len(classes)
    shapes = {p.shape for p in probabilities.values()}
    if len(shapes) != 1 or next(iter(shapes))[1:] != (n, count):
        raise DiffInfError(
            "The arms cannot be compared: their predictions differ in seeds, test pictures or classes; "
            "retrain them again."
        )
    if len(np.unique(labels)) < count:
        absent = min(set(range(count)) - set(labels.tolist()))
        raise DiffInfError(f"The test split has no picture of class {classes[absent]!r}.")
    seeds = next(iter(shapes))[0]
    groups = groups or {}
    models = [p for arm in probabilities.values() for p in arm]
    columns = np.stack([picture_columns(labels, p) for p in models], 1)  # (N, M, K)
    hits = columns[:, :, :count].sum(2)
    shape = (len(probabilities), seeds, -1)
    every = np.ones((1, n), np.float32)
    once = figures_of(columns.sum(0)[None], group_accuracy(every, hits, groups), labels, count)
    rng = np.random.default_rng(seed)
    weights = _resampled(labels, draws, rng)
    flat = columns.astype(np.float32).reshape(n, -1)
    sums = (weights @ flat).astype(np.float64).reshape(draws, len(models), -1)
    drawn = figures_of(sums, group_accuracy(weights, hits, groups), labels, count)
    by_seed = _seed_weights(seeds, draws, rng)
    return Measured(
        arms=tuple(probabilities),
        quantities=quantities_of(labels, models, classes, groups),
        by_seed=once.reshape(shape),
        draws=np.einsum("bs,basq->baq", by_seed, drawn.reshape(draws, *shape)),
    )


def tabulate(measured: Measured, against: str | None) -> pd.DataFrame:
    """Every figure of every arm with its difference to ``against``, one per row.

    Columns: arm, section, name, n (test pictures), seeds, value, sd (over seeds), against, difference, low,
    high (95 %), p_holm (corrected over all groups of all arms; empty for what is no group). Differences
    are empty for ``against`` itself, and for all arms where it is None.
    """
    rows, sd = [], measured.deviations
    for a, arm in enumerate(measured.arms):
        for i, q in enumerate(measured.quantities):
            found = measured.difference(arm, against, i) if against and arm != against else None
            rows.append(
                {
                    "arm": arm,
                    "section": q.section,
                    "name": q.name,
                    "n": q.n,
                    "seeds": measured.seeds,
                    "value": measured.values[a, i],
                    "sd": None if sd is None else sd[a, i],
                    "against": against,
                    "difference": found and found.value,
                    "low": found and found.low,
                    "high": found and found.high,
                    "p_holm": found.p if found and q.is_group else None,
                }
            )
    table = pd.DataFrame(rows)
    for column in ("sd", "difference", "low", "high", "p_holm"):
        table[column] = pd.to_numeric(table[column])
    tested = table["p_holm"].notna()
    table.loc[tested, "p_holm"] = holm(table.loc[tested, "p_holm"])
    return table


def _resampled(labels: NDArray[np.int64], draws: int, rng: np.random.Generator) -> NDArray:
    """How often each draw takes each picture, float32 (B, N): as many of each class as there are."""
    out = np.empty((draws, len(labels)), np.float32)
    rows = np.arange(draws)[:, None]
    for c in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == c)
        m = len(members)
        taken = rng.integers(0, m, (draws, m)) + rows * m
        out[:, members] = np.bincount(taken.ravel(), minlength=draws * m).reshape(draws, m)
    return out


def _seed_weights(seeds: int, draws: int, rng: np.random.Generator) -> Floats:
    """The share of each seed in each draw (B, S); a single seed cannot vary."""
    if seeds == 1:
        return np.ones((draws, 1))
    taken = rng.integers(0, seeds, (draws, seeds - 1))
    return (taken[:, :, None] == np.arange(seeds)).mean(1)


def holm(p: ArrayLike) -> Floats:
    """P-values (G,) corrected for their number (Holm 1979), in the order given."""
    given = np.asarray(p, np.float64)
    order = np.argsort(given, kind="stable")
    steps = np.maximum.accumulate((len(given) - np.arange(len(given))) * given[order])
    out = np.empty(len(given))
    out[order] = np.minimum(1, steps)
    return out
