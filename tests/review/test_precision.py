"""Precision by decisions: corrected for the order of review, and its interval against the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from diffinf_core.records import Decision
from diffinf_core.review.precision import LEAST, judgements, reviewed_precision

N = 1000
IDS = pd.Series([f"{i:012x}" for i in range(N)])
RANKS = np.arange(1, N + 1)


def decided(rows: np.ndarray, wrong: np.ndarray, looked: bool = True) -> dict[str, Decision]:
    """Keep where the label is right, relabel where it is wrong."""
    return {
        IDS[i]: Decision(IDS[i], "relabel" if wrong[i] else "keep", "r", "", looked=looked)
        for i in rows
    }


def test_what_decisions_say_of_a_label() -> None:
    actions = ("accept", "reject", "keep", "relabel", "drop", "second_look")
    made = {a: Decision(a, a, "r", "", looked=True) for a in actions}
    assert judgements(made) == {"accept": True, "keep": False, "relabel": True, "drop": True}
    unseen = {a: Decision(a, a, "r", "") for a in actions}
    assert judgements(unseen) == {}, "nobody looked: a rule, a bulk decision or a program"


def test_everything_decided_is_known_exactly() -> None:
    wrong = np.random.default_rng(0).random(N) < 0.4
    found = reviewed_precision(IDS, RANKS, decided(np.arange(100), wrong), 10.0, 100)
    assert found is not None and found.unseen == 0
    assert found.value == found.low == found.high == found.as_decided == wrong[:100].mean()


def test_the_first_by_rank_do_not_stand_for_all() -> None:
    """The top half is all wrong and decided; the other half is right, and one in ten is decided."""
    wrong = np.arange(N) < 50
    rows = np.concatenate([np.arange(50), np.arange(50, 100, 10)])
    found = reviewed_precision(IDS, RANKS, decided(rows, wrong), 10.0, 100)
    assert found is not None
    assert found.as_decided == pytest.approx(50 / 55)
    assert found.value == pytest.approx(0.5)
    assert found.low == found.value < found.high < found.as_decided, (
        "45 are undecided, none was wrong"
    )


def test_ranks_of_which_nothing_is_decided_are_bounded_by_those_above() -> None:
    wrong = np.arange(N) % 2 == 0
    found = reviewed_precision(IDS, RANKS, decided(np.arange(50), wrong), 10.0, 100)
    assert found is not None and found.unseen == pytest.approx(0.5)
    assert found.as_decided == 0.5
    assert found.low >= 0.25 and found.high <= 0.5 + 0.25
    assert found.value == pytest.approx((0.5 + 0.25) / 2, abs=0.06)


def test_too_little_is_no_estimate() -> None:
    wrong = np.zeros(N, bool)
    rows = np.arange(LEAST - 1)
    assert reviewed_precision(IDS, RANKS, decided(rows, wrong), 10.0, 100) is None
    assert reviewed_precision(IDS, RANKS, decided(np.arange(100), wrong, False), 10.0, 100) is None
    beyond = decided(np.arange(500, 600), wrong)
    assert reviewed_precision(IDS, RANKS, beyond, 10.0, 100) is None


def test_the_interval_holds_the_truth_for_reviews_that_thin_out() -> None:
    """Half of the decisions are in the first fifth; precision falls with rank."""
    held, plain = 0, 0
    for seed in range(100):
        draw = np.random.default_rng(seed)
        wrong = draw.random(N) < np.linspace(0.95, 0.2, N)
        rows = np.flatnonzero(draw.random(400) < np.linspace(0.8, 0.1, 400))
        found = reviewed_precision(IDS, RANKS, decided(rows, wrong), 40.0, 400)
        assert found is not None
        truth = wrong[:400].mean()
        held += found.low <= truth <= found.high
        plain += abs(found.as_decided - truth) < abs(found.value - truth)
    assert held >= 90 and plain < 30, (held, plain)
