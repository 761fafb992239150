"""How far a review is, and how fast it goes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import islice, pairwise

from diffinf_core.records import Decision

#: the last decisions that count for the pace; a pause of more seconds is no part of it
_LAST, _PAUSE = 20, 120.0
_FEWEST = 5


def pace(decisions: Mapping[str, Decision], reviewer: str) -> float | None:
    """Pairs per minute of a reviewer's last decisions by eye; None where there are too few.

    ``decisions`` are in the order in which they were made.
    """
    own = (d for d in reversed([*decisions.values()]) if d.reviewer == reviewer and d.looked)
    times = [datetime.fromisoformat(d.time) for d in islice(own, _LAST)]
    gaps = [(late - early).total_seconds() for late, early in pairwise(times)]
    gaps = [gap for gap in gaps if 0 < gap <= _PAUSE]
    return 60 * len(gaps) / sum(gaps) if len(gaps) >= _FEWEST else None
