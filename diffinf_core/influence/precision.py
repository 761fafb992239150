"""How precise a ranking is where no wrong label is known, estimated from planted errors.

Precision among the top tau % of N samples is ``W R(tau) / (tau N / 100)``: the wrong labels W times the
fraction R of them that the top holds. R is taken from the planted errors. W is bracketed by what the network
contradicts before it memorises labels (:func:`~.planting.count_wrong`): confidently, ``bound`` of them;
calibrated, ``counted``; and if it has memorised as many of the wrong labels as of the planted errors,
of which it contradicts a fraction t, W is ``counted / t``. The estimate is the geometric mean of the last
two.

Only labels that look certain are planted wrong, which is corrected for twice. Some of them were wrong before,
and one in C - 1 of these became right: R is unmixed from the ranking of right labels. And wrong labels on
pictures like those that were left out though rightly labelled, the hard ones, are found less often: of a
fraction h of the wrong labels R lies between 0 and that of the planted ones. The estimate takes the middle.

An interval covers chance in the planted errors (a bootstrap, the same draw for R and t), the whole bracket
of W and that of the hard ones. It does not cover wrong labels of another kind than the planted ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

from diffinf_core.influence.estimators import score_of

Floats = NDArray[np.float64]
DRAWS, LEVEL = 1000, 0.95
#: by which part of the bracket of W, in logarithms, its interval is wider at either end: planted errors are
#: not memorised just like the others
_BEYOND = 0.1
#: fractions of the ranking at which a curve is kept: every per cent
GRID: Floats = np.arange(1, 101) / 100


@dataclass(frozen=True)
class Estimate:
    """A figure with the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """JSON-able."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class PlantedErrors:
    """What a training with planted errors showed.

    ``scores`` has a column (N,) per score of that training, high is suspicious; ``positions`` (m,) of the
    planted errors and whether the network ``contradicts`` (m,) each of them; ``bound`` and ``counted`` labels
    that networks contradict without the planted ones, means of the training with and the one without them;
    ``left_out`` the most suspicious labels, among which none was planted; ``classes`` the number of classes.
    """

    scores: pd.DataFrame
    positions: NDArray[np.int64]
    contradicts: NDArray[np.bool_]
    bound: float
    counted: float
    left_out: int
    classes: int
    seed: int = 0

    @classmethod
    def of(
        cls,
        scores: pd.DataFrame,
        positions: NDArray[np.int64],
        contradicts: NDArray[np.bool_],
        before: tuple[int, int],
        after: tuple[int, int],
        classes: int,
    ) -> PlantedErrors:
        """From what networks contradict ``before`` and ``after`` the planting, see :func:`count_wrong`."""
        m = len(positions)
        t = (contradicts.sum() + 1) / (m + 2)
        # of the planted errors the second counts hold as large a part as of the others
        own = 1 - m * t / max(after[1], m * t)
        bound, counted = ((b + a * own) / 2 for b, a in zip(before, after, strict=True))
        return cls(scores, positions, contradicts, bound, counted, before[1], classes)

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def _draws(self) -> NDArray[np.float64]:
        """How often each draw takes each planted error (B + 1, m); the first row is the data."""
        m = len(self.positions)
        taken = np.random.default_rng(self.seed).multinomial(m, np.full(m, 1 / m), DRAWS)
        return np.concatenate([np.ones((1, m)), taken])

    @cached_property
    def _wrong(self) -> Floats:
        """The number of wrong labels in each draw (B + 1,); the first is the estimate."""
        m = len(self.positions)
        # one success and one failure more: no draw has t = 0
        t = (self._draws @ self.contradicts + 1) / (m + 2)
        at = np.random.default_rng(self.seed + 1).uniform(-_BEYOND, 1 + _BEYOND, DRAWS)
        # that none is counted does not say that there is none
        bound, counted = max(self.bound, 0.5), max(self.counted, 1.0)
        high = counted / t[1:]
        drawn = bound * (high / bound) ** at
        return np.minimum(np.concatenate([[counted * t[0] ** -0.5], drawn]), len(self))

    @property
    def wrong(self) -> Estimate:
        """The number of wrong labels in the set."""
        return _estimate(self._wrong)

    def recall(self, name: str) -> Floats:
        """The fraction of the planted errors in the top by a score, (B + 1, 100) on :data:`GRID`.

        The least concave majorant of what is observed: the higher the rank, the more are wrong.
        """
        score = score_of(self.scores, name)
        others = np.sort(np.delete(score, self.positions))
        own = score[self.positions]
        left, right = (np.searchsorted(others, own, side) for side in ("left", "right"))
        # among equal scores a sample stands anywhere, and is spread evenly over their ranks
        first, last = 1 - (right + 1) / (len(others) + 1), 1 - left / (len(others) + 1)
        within = np.minimum(last[:, None], GRID) - np.maximum(first[:, None], GRID - GRID[0])
        steps = self._draws @ (np.maximum(within, 0) / (last - first)[:, None]) / len(own)
        falling = np.stack([isotonic_regression(row, increasing=False).x for row in steps])
        return falling.cumsum(1)

    def curve(self, name: str) -> Floats:
        """Precision in the top of the ranking, (B + 1, 100) on :data:`GRID`."""
        found = self._corrected(self.recall(name))
        return np.minimum(self._wrong[:, None] * found / (GRID * len(self)), 1)

    def _corrected(self, planted: Floats) -> Floats:
        """Recall of the wrong labels (B + 1, 100) from that of the planted errors; see the module."""
        n, wrong, out = len(self), self._wrong[:, None], self.left_out
        r = np.minimum(wrong / n, 0.9)
        beyond = wrong * (1 - _at(planted, 100 * out / n)[:, None])
        q = np.clip(beyond / max(n - out, 1) / (self.classes - 1), 0, 0.5 * (1 - r))
        unmixed = (planted * (1 - r) - q * GRID) / (1 - r - q)
        unmixed = np.maximum.accumulate(np.clip(unmixed, 0, 1), 1)
        right = out - (wrong - beyond)
        hard = np.clip(right / np.maximum(n - wrong, 1), 0, 1)
        missed = np.random.default_rng(self.seed + 2).random((DRAWS, 1))
        return unmixed * (1 - hard * np.concatenate([[[0.5]], missed]))

    def assess(self, name: str, taus: Sequence[float]) -> dict[str, Any]:
        """``average_precision``, and ``precision`` at each tau in per cent, as :class:`Estimate`."""
        curve = self.curve(name)
        # what the corrected recall gains, as the curve has it
        gained = np.diff(curve * GRID, axis=1, prepend=0)
        gained /= gained.sum(1, keepdims=True)
        at = {tau: _at(curve, tau) for tau in taus}
        return {
            "average_precision": _estimate((gained * curve).sum(1)),
            "precision": {tau: _estimate(values) for tau, values in at.items()},
        }

    def tau_for(self, name: str, wished: float) -> tuple[float | None, float | None]:
        """The largest tau whose precision is estimated at ``wished`` or more, and the largest whose interval
        lies above it; None where no tau has it."""
        curve = self.curve(name)
        low = np.quantile(curve[1:], (1 - LEVEL) / 2, axis=0)
        held = [np.flatnonzero(values >= wished) for values in (curve[0], low)]
        estimate, sure = (float(100 * GRID[rows[-1]]) if len(rows) else None for rows in held)
        return estimate, sure

    def best(self, names: Sequence[str]) -> str:
        """The score with the highest estimated average precision; the first of equals."""
        return max(names, key=lambda name: self.assess(name, ())["average_precision"].value)


def _at(curve: Floats, tau: float) -> Floats:
    """Precision (B + 1,) at a tau between those of the grid."""
    place = np.clip(tau / 100 * len(GRID) - 1, 0, len(GRID) - 1)
    i = min(int(place), len(GRID) - 2)
    return curve[:, i] + (place - i) * (curve[:, i + 1] - curve[:, i])


def _estimate(draws: Floats) -> Estimate:
    low, high = np.quantile(draws[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value = float(draws[0])
    return Estimate(value, min(float(low), value), max(float(high), value))
