"""What each reviewer did: how many decisions, how they came about, and how fast those by eye were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from diffinf_core.records import Decision
from diffinf_core.review.bulk import MARK as BULK
from diffinf_core.review.rules import MARK as RULE

#: how a decision came about: a person looked at the pair, or decided many at once, or a rule or program did
MANNERS = ("by eye", "in bulk", "by rule", "by program")
#: a pause of more seconds is no part of the work
_PAUSE = 120.0
#: gaps between decisions that are needed to speak of a pace
_FEWEST = 5


def manner(decision: Decision) -> str:
    """One of :data:`MANNERS`."""
    if decision.looked:
        return "by eye"
    if decision.comment.startswith(RULE):
        return "by rule"
    return "in bulk" if decision.comment.startswith(BULK) else "by program"


def pace(decisions: Sequence[Decision]) -> float | None:
    """Pairs per minute of one reviewer's decisions by eye, newest first; None where there are too few."""
    times = [datetime.fromisoformat(d.time) for d in decisions if d.looked]
    gaps = [(late - early).total_seconds() for late, early in pairwise(times)]
    gaps = [gap for gap in gaps if 0 < gap <= _PAUSE]
    return 60 * len(gaps) / sum(gaps) if len(gaps) >= _FEWEST else None


def effort(decisions: Mapping[str, Sequence[Decision]]) -> list[dict[str, Any]]:
    """A row for each reviewer, by name; ``decisions`` are those of each, newest first.

    ``reviewer``, ``decisions`` (how many), how many of each of :data:`MANNERS`, ``blind`` (how many in blind
    mode), and ``pace`` in pairs per minute.
    """
    rows = []
    for name, own in sorted(decisions.items()):
        counts = Counter(manner(d) for d in own)
        row: dict[str, Any] = {"reviewer": name, "decisions": len(own)}
        row |= {kind: counts[kind] for kind in MANNERS}
        rows.append(row | {"blind": sum(d.mode == "blind" for d in own), "pace": pace(own)})
    return rows
