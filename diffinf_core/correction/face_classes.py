"""Which classes of a data set the published networks of faces know: expressions and ages, by name."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffinf_core.records import DiffInfError

#: the expressions that both networks know, with other names for them
EXPRESSIONS: Mapping[str, tuple[str, ...]] = {
    "neutral": ("neutral", "calm"),
    "happy": ("happy", "happiness", "joy", "smile", "smiling"),
    "sad": ("sad", "sadness"),
    "angry": ("angry", "anger"),
    "fearful": ("fearful", "fear", "afraid"),
    "disgusted": ("disgusted", "disgust"),
    "surprised": ("surprised", "surprise"),
}
#: words for ages, from the youngest; where they begin and end is fitted to the run's labels
_AGE_WORDS = (
    ("baby", "infant"),
    ("child", "kid"),
    ("teen", "teenager", "adolescent"),
    ("young", "young adult"),
    ("adult", "middle", "middle-aged", "middle aged"),
    ("old", "elderly", "senior"),
)
_RANGE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:-|to)\s*(\d+(?:\.\d+)?)")
_FROM = re.compile(r"(?:(?:over|above|more than|from|>|>=)\s*(\d+(?:\.\d+)?)|(\d+(?:\.\d+)?)\s*\+)")
_BELOW = re.compile(r"(?:under|below|less than|up to|<|<=)\s*(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class KnownExpressions:
    """``names[k]`` of :data:`EXPRESSIONS` is what the networks call class k."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class KnownAges:
    """Class k holds the ages from ``cuts[rank[k]]`` to ``cuts[rank[k] + 1]`` years.

    ``cuts`` begin with -inf and end with inf; None where they are to be fitted (:func:`fit_cuts`).
    """

    rank: tuple[int, ...]
    cuts: tuple[float, ...] | None

    def probabilities(self, years: NDArray[np.float64], spread: float) -> NDArray[np.float64]:
        """(B, C) for ages (B,) that are normally distributed around what was estimated."""
        assert self.cuts is not None
        below = [[_normal((c - y) / spread) for c in self.cuts] for y in years]
        return np.diff(np.array(below), axis=1)[:, list(self.rank)]


Known = KnownExpressions | KnownAges


def _normal(z: float) -> float:
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def _expression(name: str) -> str | None:
    return next((ours for ours, others in EXPRESSIONS.items() if name in others), None)


def _bounds(name: str) -> tuple[float, float] | None:
    """The ages that 20-39, 60+ or "under 12" stand for; whole years include the last."""
    if match := _RANGE.fullmatch(name):
        low, high = float(match[1]), float(match[2])
        return low, high + 1 if high.is_integer() and "." not in match[2] else high
    if match := _FROM.fullmatch(name):
        return float(match[1] or match[2]), math.inf
    if match := _BELOW.fullmatch(name):
        return -math.inf, float(match[1])
    return None


def known_classes(classes: Sequence[str], names: Mapping[str, str]) -> Known | None:
    """How the published networks see the classes, by ``names`` or else by their own; None if they cannot.

    Raises :class:`DiffInfError` for a name of no class, and for a value that is neither an expression nor
    an age.
    """
    for name, value in names.items():
        if name not in classes:
            raise DiffInfError(
                f"judge.classes names {name!r}; the classes are {', '.join(classes)}."
            )
        low = value.strip().lower()
        if not (_expression(low) or _bounds(low) or _word(low) is not None):
            raise DiffInfError(
                f"judge.classes.{name} is {value!r}: give one of {', '.join(EXPRESSIONS)}, or an age such as "
                "20-39, 60+ or young."
            )
    called = [names.get(name, name).strip().lower() for name in classes]
    expressions = [_expression(name) for name in called]
    if all(expressions) and len(set(expressions)) == len(classes):
        return KnownExpressions(tuple(e for e in expressions if e))
    bounds = [_bounds(name) for name in called]
    if all(bounds):
        return _ranges([b for b in bounds if b])
    words = [_word(name) for name in called]
    if None not in words and len(set(words)) == len(classes):
        order = sorted(w for w in words if w is not None)
        return KnownAges(tuple(order.index(w) for w in words if w is not None), None)
    return None


def _word(name: str) -> int | None:
    return next((i for i, names in enumerate(_AGE_WORDS) if name in names), None)


def _ranges(bounds: Sequence[tuple[float, float]]) -> KnownAges | None:
    """Classes by ranges that do not overlap; a gap between two is cut in its middle."""
    order = sorted(range(len(bounds)), key=lambda k: bounds[k])
    cuts = [-math.inf]
    for a, b in itertools.pairwise(order):
        if bounds[a][1] > bounds[b][0] + 1:
            return None
        cuts.append((bounds[a][1] + bounds[b][0]) / 2)
    rank = tuple(order.index(k) for k in range(len(bounds)))
    return KnownAges(rank, (*cuts, math.inf))


def fit_cuts(known: KnownAges, years: NDArray[np.float64], labels: NDArray[np.int64]) -> KnownAges:
    """Where each age class begins: the cut between two neighbours that agrees best with the labels.

    ``years`` (N,) are estimates, ``labels`` (N,) class indices. Both classes of a cut weigh the same, so
    wrong labels that go to any class alike do not move it.
    """
    rank = np.array(known.rank)[labels]
    cuts = [-math.inf]
    for k in range(len(known.rank) - 1):
        low, high = np.sort(years[rank == k]), np.sort(years[rank == k + 1])
        if not len(low) or not len(high):
            raise DiffInfError(
                "A class has no picture to fit its ages to; give them by judge.classes."
            )
        every = np.unique(np.concatenate([low, high]))
        between = (every[1:] + every[:-1]) / 2 if len(every) > 1 else every
        agrees = np.searchsorted(low, between) / len(low) - np.searchsorted(high, between) / len(
            high
        )
        # the middle of all cuts that are as good
        best = between[agrees >= agrees.max() - 1e-12]
        cuts.append(max(float(np.median(best)), cuts[-1]))
    return KnownAges(known.rank, (*cuts, math.inf))
