"""How many labels of the top of the ranking are wrong, by what reviewers decided.

Reviewers decide by rank, the most suspicious first, so the fraction of wrong labels among the decided is that
of the top and not of the whole high-influence set. Here ranks are cut into strata: each counts by its size,
whatever part of it was decided (Horvitz and Thompson 1952), and what is undecided in it is drawn from the
Beta distribution that its decisions leave (Jeffreys). Of a stratum without a decision it is assumed that no
larger fraction is wrong than in the last one above it with decisions.

Within a stratum, which samples were decided must not depend on their labels: who picks pairs by their looks
changes the estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.records import Decision
from diffinf_core.runs.seal import under_seal

#: decisions that say that the label is wrong for the picture, and that it is right; others say nothing of it
WRONG, RIGHT = ("accept", "relabel", "drop"), ("keep",)
STRATA, DRAWS, LEVEL = 10, 4000, 0.95
#: labels decided in the top, without which there is no estimate
LEAST = 10


@dataclass(frozen=True)
class Reviewed:
    """Precision in the top tau %, k samples: ``decided`` of them, ``wrong`` of those.

    ``as_decided`` is wrong / decided; ``value``, with a 95 % interval from ``low`` to ``high``, is corrected
    for the order of review. ``unseen`` is the fraction of the top that lies in strata without a decision.
    """

    tau: float
    k: int
    decided: int
    wrong: int
    as_decided: float
    value: float
    low: float
    high: float
    unseen: float


def judgements(decisions: Mapping[str, Decision]) -> dict[str, bool]:
    """Whether the label is wrong, of each sample on whose label somebody decided who looked at it."""
    spoken = {s: d for s, d in decisions.items() if d.looked and d.action in (*WRONG, *RIGHT)}
    return {s: d.action in WRONG for s, d in spoken.items()}


@under_seal
def reviewed_precision(
    ids: pd.Series,
    ranks: NDArray[np.int64],
    decisions: Mapping[str, Decision],
    tau: float,
    k: int,
    seed: int = 0,
) -> Reviewed | None:
    """Precision among the ``k`` samples of the top ``tau`` %; None with fewer than :data:`LEAST` decisions.

    ``ids`` (N,) and ``ranks`` (N,), 1 is the most suspicious. What was decided without looking at the
    pair, by a rule say, does not count.
    """
    said = judgements(decisions)
    top = np.argsort(ranks, kind="stable")[:k]
    known = ids.iloc[top].map(said)
    decided, wrong = known.notna().to_numpy(), (known == True).to_numpy()  # noqa: E712
    if decided.sum() < LEAST:
        return None
    stratum = np.arange(k) * min(STRATA, k) // k
    size = np.bincount(stratum)
    n = np.bincount(stratum, decided).astype(int)
    w = np.bincount(stratum, wrong).astype(int)
    rng = np.random.default_rng(seed)
    total, above, value, expected = np.zeros(DRAWS), np.ones(DRAWS), 0.0, 1.0
    for b in range(len(size)):
        if n[b]:
            above = rng.beta(w[b] + 0.5, n[b] - w[b] + 0.5, DRAWS)
            expected = w[b] / n[b]
            rate, mean = above, expected
        else:
            rate, mean = above * rng.random(DRAWS), expected / 2
        total += w[b] + rng.binomial(size[b] - n[b], rate)
        value += w[b] + (size[b] - n[b]) * mean
    low, high = np.quantile(total / k, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value /= k
    return Reviewed(
        tau=tau,
        k=k,
        decided=int(decided.sum()),
        wrong=int(wrong.sum()),
        as_decided=float(wrong.sum() / decided.sum()),
        value=float(value),
        low=float(min(low, value)),
        high=float(max(high, value)),
        unseen=float(size[n == 0].sum() / k),
    )
