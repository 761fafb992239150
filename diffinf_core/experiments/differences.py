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
from scipy.stats import rankdata
from scipy.stats import t as student

from diffinf_core.classifier.metrics import ECE_BINS, confidence_bin
from diffinf_core.experiments.retrain import METRICS
from diffinf_core.records import DiffInfError

Floats = NDArray[np.float64]
DRAWS, LEVEL = 1000, 0.95
#: on fewer test pictures than this no interval is given: resampling them shows too little
FEWEST = 20
LOWER_IS_BETTER = ("ece", "nll")
#: how the sections of groups, and of classes within them, begin
BY, WITHIN = "by ", "within "


@dataclass(frozen=True)
class Quantity:
    """One figure that every arm has.

    ``section`` is metric, recall, precision, "by " and a column (the accuracy in a group), or "within " and a
    column (the accuracy in one class of a group). ``n`` is the number of test pictures that it is
    measured on.
    """

    section: str
    name: str
    n: int

    @property
    def is_group(self) -> bool:
        """Whether it is the accuracy in a group."""
        return self.section.startswith(BY)

    @property
    def higher_is_better(self) -> bool:
        """Whether a rise is a gain."""
        return self.name not in LOWER_IS_BETTER or self.section != "metric"


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
    columns = np.stack([_columns(labels, p) for p in models], 1)  # (N, M, K)
    hits = columns[:, :, :count].sum(2)
    shape = (len(probabilities), seeds, -1)
    every = np.ones((1, n), np.float32)
    once = _figures(columns.sum(0)[None], _in_groups(every, hits, groups), labels, count)
    rng = np.random.default_rng(seed)
    weights = _resampled(labels, draws, rng)
    flat = columns.astype(np.float32).reshape(n, -1)
    sums = (weights @ flat).astype(np.float64).reshape(draws, len(models), -1)
    drawn = _figures(sums, _in_groups(weights, hits, groups), labels, count)
    by_seed = _seed_weights(seeds, draws, rng)
    return Measured(
        arms=tuple(probabilities),
        quantities=_quantities(labels, models, classes, groups),
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


def _in_groups(
    weights: NDArray[np.float32], hits: Floats, groups: Mapping[tuple[str, str], NDArray[np.bool_]]
) -> Floats:
    """The accuracy (B, M, G) of each model (``hits`` is (N, M)) in each group under ``weights`` (B, N)."""
    out = np.empty((len(weights), hits.shape[1], len(groups)))
    for g, member in enumerate(groups.values()):
        own = weights[:, member]  # counts, which single precision holds exactly
        right = (own @ hits[member].astype(np.float32)).astype(np.float64)
        with np.errstate(invalid="ignore"):
            out[:, :, g] = right / own.sum(1, keepdims=True)
    return out


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


def _columns(labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> Floats:
    """What each picture adds to the sums behind the figures of one model (N, K).

    In order: hits of each class, predictions of each class, classes between label and prediction,
    correct less confident in each bin, log loss, AUROC of each class.
    """
    p = np.asarray(probabilities, np.float64)
    p = p / p.sum(1, keepdims=True)
    n, count = p.shape
    predicted, confidence = p.argmax(1), p.max(1)
    hit = predicted == labels
    hot = labels[:, None] == np.arange(count)
    gap = np.zeros((n, ECE_BINS))
    gap[np.arange(n), confidence_bin(confidence)] = hit - confidence
    parts = [
        hot & hit[:, None],
        predicted[:, None] == np.arange(count),
        np.abs(labels - predicted)[:, None],
        gap,
        -np.log(np.clip(p[np.arange(n), labels], 1e-12, 1))[:, None],
        np.stack([_auroc_parts(p[:, c], hot[:, c]) for c in range(count)], 1),
    ]
    return np.concatenate([np.asarray(part, np.float64) for part in parts], 1)


def _auroc_parts(score: Floats, positive: NDArray[np.bool_]) -> Floats:
    """Components (N,) that add up to the AUROC: the share of pairs that a picture is in, rightly ordered."""
    ranks = rankdata(score)
    above, below = int(positive.sum()), int((~positive).sum())
    share = np.empty(len(score))
    share[positive] = (ranks[positive] - rankdata(score[positive])) / below
    share[~positive] = 1 - (ranks[~positive] - rankdata(score[~positive])) / above
    # both sides average to the area, which would be counted twice
    area = share[positive].mean()
    return (share - area / 2) / np.where(positive, above, below)


def _figures(sums: Floats, grouped: Floats, labels: NDArray[np.int64], count: int) -> Floats:
    """Figures (B, M, Q) from sums (B, M, K) and the accuracy in each group (B, M, G)."""
    n = len(labels)
    members = np.bincount(labels, minlength=count)
    ends = np.cumsum([count, count, 1, ECE_BINS, 1, count])
    hits, predicted, apart, gaps, loss, areas = np.split(sums, ends[:-1], axis=2)
    places = np.arange(count)
    distance = np.abs(places[:, None] - places)
    accuracy, recall = hits.sum(2) / n, hits / members
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(predicted > 0, hits / predicted, np.nan)
    metrics = {
        "accuracy": accuracy,
        "balanced_accuracy": recall.mean(2),
        "auroc": areas.mean(2),
        "kappa_linear": 1 - n * apart[:, :, 0] / (predicted @ (distance @ members)),
        "kappa": 1 - (1 - accuracy) / (1 - predicted @ members / n**2),
        "ece": np.abs(gaps).sum(2) / n,
        "nll": loss[:, :, 0] / n,
    }
    return np.concatenate(
        [np.stack([metrics[m] for m in METRICS], 2), recall, precision, grouped], 2
    )


def _quantities(
    labels: NDArray[np.int64],
    models: Sequence[NDArray[np.floating]],
    classes: Sequence[str],
    groups: Mapping[tuple[str, str], NDArray[np.bool_]],
) -> tuple[Quantity, ...]:
    members = np.bincount(labels, minlength=len(classes))
    predicted = np.min([np.bincount(p.argmax(1), minlength=len(classes)) for p in models], 0)
    return (
        *(Quantity("metric", name, len(labels)) for name in METRICS),
        *(Quantity("recall", name, int(n)) for name, n in zip(classes, members, strict=True)),
        *(Quantity("precision", name, int(n)) for name, n in zip(classes, predicted, strict=True)),
        *(Quantity(*key, int(member.sum())) for key, member in groups.items()),
    )


def holm(p: ArrayLike) -> Floats:
    """P-values (G,) corrected for their number (Holm 1979), in the order given."""
    given = np.asarray(p, np.float64)
    order = np.argsort(given, kind="stable")
    steps = np.maximum.accumulate((len(given) - np.arange(len(given))) * given[order])
    out = np.empty(len(given))
    out[order] = np.minimum(1, steps)
    return out
