"""How far reviewers agree: Cohen's kappa for each pair, Krippendorff's alpha for all.

Both compare the agreement that was seen with the one that chance would give: 1 is perfect, 0 is chance.
J. Cohen, "A coefficient of agreement for nominal scales" (1960); K. Krippendorff, "Computing
Krippendorff's alpha-reliability" (2011). Intervals come from resampling the samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffinf_core.records import Decision

RESAMPLES = 2000
#: the share of resamples that the interval holds
CONFIDENCE = 0.95
Floats = NDArray[np.float64]


def value_of(decision: Decision) -> str | None:
    """A decision as a value to agree on: the action, and the class of a relabel.

    None for a second look, which says that there is no opinion yet. Which version was accepted does not
    count.
    """
    if decision.action == "second_look":
        return None
    return f"relabel to {decision.new_label}" if decision.new_label else decision.action


def _kappa(tables: Floats) -> Floats:
    """Cohen's kappa of tables (R, C, C) of counts; NaN where chance alone would agree always."""
    n = tables.sum((1, 2))
    seen = np.trace(tables, axis1=1, axis2=2) / n
    chance = (tables.sum(1) * tables.sum(2)).sum(1) / n**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance < 1, (seen - chance) / (1 - chance), np.nan)


def _alpha(units: NDArray[np.int64], weights: Floats) -> Floats:
    """Nominal alpha (R,): units (U, C) counts of each value, weights (R, U) how often each unit counts.

    Each unit has two values at least. NaN where all values are the same.
    """
    size = units.sum(1)
    pairs = (units * (units - 1)).sum(1) / (size - 1)
    n = weights @ size
    values = weights @ units
    with np.errstate(invalid="ignore", divide="ignore"):
        chance = (values * (values - 1)).sum(1) / (n - 1)
        return np.where(n > chance, 1 - (n - weights @ pairs) / (n - chance), np.nan)


def cohen_kappa(a: Sequence[str], b: Sequence[str]) -> float | None:
    """Kappa of two reviewers' values of the same samples; None where it is not defined."""
    if len(a) != len(b):
        raise ValueError(f"Two reviewers of the same samples, not of {len(a)} and {len(b)}.")
    if not len(a):
        return None
    return _number(_kappa(_table(a, b)[None].astype(float))[0])


def krippendorff_alpha(units: Sequence[Sequence[str]]) -> float | None:
    """Nominal alpha of the values that each sample was given; None where it is not defined.

    Samples with fewer than two values do not count; missing values are simply left out.
    """
    counts = _counts(units)
    return _number(_alpha(counts, np.ones((1, len(counts))))[0]) if len(counts) else None


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _table(a: Sequence[str], b: Sequence[str]) -> NDArray[np.int64]:
    values = {value: i for i, value in enumerate(sorted({*a, *b}))}
    table = np.zeros((len(values), len(values)), np.int64)
    np.add.at(table, ([values[v] for v in a], [values[v] for v in b]), 1)
    return table


def _counts(units: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    paired = [unit for unit in units if len(unit) > 1]
    values = {value: i for i, value in enumerate(sorted({v for unit in paired for v in unit}))}
    counts = np.zeros((len(paired), len(values)), np.int64)
    for row, unit in zip(counts, paired, strict=True):
        np.add.at(row, [values[v] for v in unit], 1)
    return counts


def _interval(values: Floats) -> tuple[float | None, float | None]:
    known = values[np.isfinite(values)]
    if not len(known):
        return None, None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _resampled(counts: NDArray[np.int64], resamples: int, seed: int) -> Floats:
    """How often each of the kinds of samples, which occur ``counts`` times, is drawn: (R, kinds).

    Samples that say the same are interchangeable, so kinds are drawn instead of samples.
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(counts.sum(), counts / counts.sum(), resamples).astype(float)


def agreement(
    opinions: Mapping[str, Mapping[str, Decision]], seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Any]:
    """The agreement of independent opinions, {sample: {reviewer: decision}}; JSON-able.

    ``pairs`` has a row for each two reviewers that judged the same samples: a, b, n, agree (a share),
    kappa, low, high. ``alpha`` with low and high is over all n samples with two opinions at least,
    ``reviewers`` says how many of those each one judged. What is not defined is None: where there is
    nothing to compare, or everybody always said the same.
    """
    said = {
        sample: {name: v for name, d in of.items() if (v := value_of(d)) is not None}
        for sample, of in opinions.items()
    }
    judged = [of for of in said.values() if len(of) > 1]
    names = sorted({name for of in judged for name in of})
    pairs = []
    for a, b in combinations(names, 2):
        both = [(of[a], of[b]) for of in judged if a in of and b in of]
        if both:
            pairs.append({"a": a, "b": b, **_pair(both, resamples, seed)})
    out: dict[str, Any] = {
        "n": len(judged),
        "reviewers": {name: sum(name in of for of in judged) for name in names},
        "pairs": pairs,
        "alpha": None,
        "low": None,
        "high": None,
    }
    if judged:
        counts = _counts([list(of.values()) for of in judged])
        kinds, times = np.unique(counts, axis=0, return_counts=True)
        out["alpha"] = _number(_alpha(kinds, times[None].astype(float))[0])
        out["low"], out["high"] = _interval(_alpha(kinds, _resampled(times, resamples, seed)))
    return out


def agreement_by_mode(
    opinions: Mapping[str, Mapping[str, Decision]], seed: int = 0
) -> dict[str, Any]:
    """:func:`agreement` of all opinions, and as "blind" of the samples that were judged in blind mode alone.

    Scores and a suggestion on the page draw reviewers to the same answer: what they agree on beyond that is
    what the blind samples say.
    """
    blind = {s: of for s, of in opinions.items() if all(d.mode == "blind" for d in of.values())}
    return agreement(opinions, seed) | {"blind": agreement(blind, seed)}


def _pair(both: Sequence[tuple[str, str]], resamples: int, seed: int) -> dict[str, Any]:
    table = _table([a for a, _ in both], [b for _, b in both])
    drawn = _resampled(table.ravel(), resamples, seed).reshape(resamples, *table.shape)
    low, high = _interval(_kappa(drawn))
    return {
        "n": len(both),
        "agree": float(np.trace(table) / len(both)),
        "kappa": _number(_kappa(table[None].astype(float))[0]),
        "low": low,
        "high": high,
    }
