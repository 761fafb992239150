"""The pace of a review, from the times of its decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from diffinf_core.records import Decision
from diffinf_core.ui.review.pace import pace

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def decided(
    seconds: list[float], reviewer: str = "ann", looked: bool = True
) -> dict[str, Decision]:
    """A decision at each time."""
    return {
        f"{reviewer}{s}": Decision(
            f"{reviewer}{s}",
            "keep",
            reviewer,
            (BEGIN + timedelta(seconds=s)).isoformat(),
            looked=looked,
        )
        for s in seconds
    }


def test_one_pair_every_four_seconds_is_fifteen_a_minute() -> None:
    assert pace(decided([4.0 * i for i in range(12)]), "ann") == pytest.approx(15)


def test_a_pause_is_no_part_of_it() -> None:
    times = [4.0 * i for i in range(6)] + [3600 + 4.0 * i for i in range(6)]
    assert pace(decided(times), "ann") == pytest.approx(15)


def test_only_the_last_twenty_count() -> None:
    slow, fast = [30.0 * i for i in range(20)], [600 + 2.0 * i for i in range(20)]
    assert pace(decided(slow + fast), "ann") == pytest.approx(30)


def test_others_bulks_and_too_few_give_none() -> None:
    several = [4.0 * i for i in range(12)]
    assert pace(decided(several, "bob"), "ann") is None
    assert pace(decided(several, looked=False), "ann") is None
    assert pace(decided([0.0, 4.0, 8.0]), "ann") is None and pace({}, "ann") is None
