"""A killed server loses nothing it acknowledged; reviewers at once never get the same pair."""

from __future__ import annotations

from pathlib import Path

from tests.ui.endurance import crowd, killed_session


def test_kills_at_random_moments_lose_no_acknowledged_decision(run_copy: Path) -> None:
    found = killed_session(run_copy, decisions=80, kills=4)
    assert found["decisions"] == 80 and found["kills"] >= 2


def test_reviewers_at_once_do_not_collide(run_copy: Path) -> None:
    found = crowd(run_copy, reviewers=8, seconds=12)
    assert found["reviewers"] == 8 and found["decisions"] >= 16
