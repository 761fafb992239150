"""What each reviewer did and how fast, from their decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from diffinf_core.records import Choice, Decision
from diffinf_core.review.bulk import MARK as BULK
from diffinf_core.review.effort import effort, manner, pace
from diffinf_core.review.journal import Journal
from diffinf_core.review.rules import MARK as RULE

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def decided(seconds: list[float], looked: bool = True) -> list[Decision]:
    """A decision at each time, newest first."""
    times = [(BEGIN + timedelta(seconds=s)).isoformat() for s in sorted(seconds, reverse=True)]
    return [Decision(t, "keep", "ann", t, looked=looked) for t in times]


def test_one_pair_every_four_seconds_is_fifteen_a_minute() -> None:
    assert pace(decided([4.0 * i for i in range(12)])) == pytest.approx(15)


def test_a_pause_is_no_part_of_it() -> None:
    times = [4.0 * i for i in range(6)] + [3600 + 4.0 * i for i in range(6)]
    assert pace(decided(times)) == pytest.approx(15)


def test_bulks_and_too_few_give_none() -> None:
    several = [4.0 * i for i in range(12)]
    assert pace(decided(several, looked=False)) is None
    assert pace(decided([0.0, 4.0, 8.0])) is None and pace([]) is None


def test_how_a_decision_came_about() -> None:
    made = Decision("s", "keep", "ann", "")
    for comment, looked, kind in (
        (f"{BULK}3 pairs of a filter", False, "in bulk"),
        (f"{RULE}accept edits", False, "by rule"),
        ("judge > .9", False, "by program"),
        (f"{BULK}so I write", True, "by eye"),
    ):
        assert manner(Decision(**{**vars(made), "comment": comment, "looked": looked})) == kind


def test_each_reviewer_is_counted_once_a_sample(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite", ("happy", "sad"))
    journal.decide("s1", "keep", "ann", seen=0, mode="blind")
    journal.decide("s1", "drop", "ann", seen=0, mode="open")
    journal.decide("s2", "drop", "ann", seen=0, mode="blind")
    journal.decide("s3", "drop", "ann", seen=0)
    journal.undo("ann")
    journal.decide_many([Choice(s, "keep", comment=f"{BULK}2") for s in ("s4", "s5")], "bob")
    journal.decide("s2", "keep", "bob", role="second")
    ann, bob = effort(journal.by_reviewer())
    kinds = ("reviewer", "decisions", "by eye", "in bulk", "by rule", "by program", "blind", "pace")
    assert [ann[k] for k in kinds] == ["ann", 2, 2, 0, 0, 0, 1, None]
    assert [bob[k] for k in kinds] == ["bob", 3, 0, 2, 0, 1, 0, None]
