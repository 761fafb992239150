"""A rule that accepts edits as people did so far, proposed with the error it is likely to make.

Thresholds are chosen on one half of the decided edits and judged on the other half, which the choice has not
seen. A person applies the rule, or does not. What a rule, a bulk decision or a program decided is never
evidence: nobody looked at those pairs.

The samples that people decided first are the most suspicious ones. The error holds for samples like those;
further down the queue it may be another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import beta

from diffinf_core.records import Choice, Decision
from diffinf_core.review.second import share_of
from diffinf_core.runs.seal import under_seal

#: fewer decided edits than this say nothing about a rule
LEAST = 40
#: how the comment of a decision begins that a rule made
MARK = "rule: "
_STEPS = np.linspace(0, 0.95, 13)
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rule:
    """What was found; ``why`` says why nothing is proposed, "" where something is.

    ``judge_after`` and ``identity`` are least, ``perceptual`` is the largest value (None: not asked
    for); edits with a flag are never accepted. Of ``held_out`` decided edits that fit the rule and took no
    part in choosing it, ``errors`` were not accepted by people; ``low`` and ``high`` bound that share with
    95 % confidence (Clopper and Pearson). ``choices`` accepts the undecided edits that fit it.
    """

    why: str
    words: str = ""
    judge_after: float | None = None
    identity: float | None = None
    perceptual: float | None = None
    decided: int = 0
    held_out: int = 0
    errors: int = 0
    low: float = 0.0
    high: float = 1.0
    choices: tuple[Choice, ...] = ()

    @property
    def proposed(self) -> bool:
        """Whether there is a rule to apply."""
        return not self.why


@lru_cache(maxsize=4096)
def clopper_pearson(errors: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share of which ``errors`` of ``n`` were seen; (0, 1) for n = 0."""
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, errors, n - errors + 1)) if errors else 0.0
    high = float(beta.ppf(1 - tail, errors + 1, n - errors)) if errors < n else 1.0
    return low, high


class _Edits:
    """The figures of edits that a rule looks at, as arrays (N,)."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.plain = (table["flags"] == "").to_numpy(bool)
        self.judge_after = table["judge_after"].to_numpy(float)
        self.identity = table["identity"].to_numpy(float)
        self.perceptual = table["perceptual"].to_numpy(float)


@dataclass(frozen=True)
class _Thresholds:
    judge_after: float
    identity: float | None
    perceptual: float

    def fits(self, edits: _Edits) -> Mask:
        """Which edits the rule accepts, (N,)."""
        found = edits.plain & (edits.judge_after >= self.judge_after)
        found &= edits.perceptual <= self.perceptual
        return found if self.identity is None else found & (edits.identity >= self.identity)

    def words(self) -> str:
        """The rule as a person reads it."""
        same = "" if self.identity is None else f", identity is at least {self.identity:g}"
        return (
            f"accept edits without a flag where the judge gives the label at least "
            f"{self.judge_after:g}{same} and the perceptual distance is at most {self.perceptual:g}"
        )


@under_seal
def propose_rule(
    queue: pd.DataFrame,
    decisions: Mapping[str, Decision],
    limit: float = 0.1,
    differing: Collection[str] = (),
) -> Rule:
    """The rule that accepts most of the undecided edits and errs in at most ``limit`` of them.

    ``queue`` has the columns of :data:`diffinf_core.review.queue.COLUMNS`. An edit counts as not
    accepted where people decided anything else, another version of it included. What was decided
    without looking at the pair is no evidence. ``differing`` are samples that reviewers disagree on.
    """
    edits = queue[queue["version"] != ""]
    settled = {s: d for s, d in decisions.items() if d.action != "second_look"}
    by_people = {s for s, d in settled.items() if d.looked}
    undecided = edits[~edits["id"].isin([*settled, *differing])]
    decided = edits[edits["id"].isin(list(by_people))]
    if len(decided) < LEAST:
        why = f"Only {len(decided)} edits were decided one by one by people; a rule needs {LEAST} at least."
        return Rule(why, decided=len(decided))
    accepted = np.array(
        [
            settled[s].action == "accept" and settled[s].version == v
            for s, v in zip(decided["id"], decided["version"], strict=True)
        ]
    )
    choosing = np.array([share_of(s, "rule") < 0.5 for s in decided["id"]])
    left = _Edits(undecided)
    chosen = _choose(_Edits(decided[choosing]), accepted[choosing], left, limit)
    if chosen is None:
        why = "No edit that people decided is without a flag."
        return Rule(why, decided=len(decided))
    held = chosen.fits(_Edits(decided[~choosing]))
    n, errors = int(held.sum()), int((held & ~accepted[~choosing]).sum())
    low, high = clopper_pearson(errors, n)
    words, why = chosen.words(), ""
    if high > limit:
        why = (
            f"The best rule found may err in up to {high:.0%} of what it accepts: people did not accept "
            f"{errors} of {n} held out. The limit is {limit:.0%}."
        )
    comment = f"{MARK}{words} ({errors} errors in {n} held out)"
    rows = undecided[chosen.fits(left)] if not why else undecided[:0]
    return Rule(
        why=why,
        words=words,
        judge_after=chosen.judge_after,
        identity=chosen.identity,
        perceptual=chosen.perceptual,
        decided=len(decided),
        held_out=n,
        errors=errors,
        low=low,
        high=high,
        choices=tuple(
            Choice(s, "accept", v, comment=comment)
            for s, v in zip(rows["id"], rows["version"], strict=True)
        ),
    )


def _levels(
    values: NDArray[np.float64], at: NDArray[np.float64], rounded: Callable[[float], int]
) -> list[float]:
    return sorted({rounded(float(v) * 1000) / 1000 for v in np.quantile(values, at)})


def _candidates(edits: _Edits) -> list[_Thresholds]:
    """Thresholds at quantiles of the unflagged edits, rounded so that each lets its quantile in."""
    plain = edits.plain
    if not plain.any():
        return []
    judge = _levels(edits.judge_after[plain], _STEPS, math.floor)
    perceptual = _levels(edits.perceptual[plain], 1 - _STEPS, math.ceil)
    identity: list[float | None] = [None]
    if np.isfinite(edits.identity[plain]).all():
        identity = [*_levels(edits.identity[plain], _STEPS, math.floor)]
    return [_Thresholds(j, i, p) for j in judge for i in identity for p in perceptual]


def _choose(decided: _Edits, accepted: Mask, left: _Edits, limit: float) -> _Thresholds | None:
    """The candidate that accepts most undecided edits within the limit; where none is, the safest."""

    def merit(candidate: _Thresholds) -> tuple[bool, float, float]:
        fits = candidate.fits(decided)
        high = clopper_pearson(int((fits & ~accepted).sum()), int(fits.sum()))[1]
        if high > limit:
            return False, -high, 0.0
        return True, float(candidate.fits(left).sum()), -high

    return max(_candidates(decided), key=merit, default=None)
