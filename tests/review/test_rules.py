"""A rule is proposed only with evidence that had no part in choosing it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from diffinf_core.records import Choice, Decision
from diffinf_core.review.rules import LEAST, MARK, clopper_pearson, propose_rule

N = 600


def queue(n: int = N, seed: int = 0) -> pd.DataFrame:
    """Edits whose judge's figure says how good they are."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": [f"{i:012x}" for i in range(n)],
            "version": "0" * 16,
            "judge_after": rng.uniform(0, 1, n),
            "identity": rng.uniform(0.8, 1, n),
            "perceptual": rng.uniform(0, 0.1, n),
            "flags": np.where(rng.uniform(size=n) < 0.1, "blurred", ""),
        }
    )


def judged(table: pd.DataFrame, good: pd.Series, looked: bool = True) -> dict[str, Decision]:
    """People accept what is good and reject the rest."""
    return {
        s: Decision(s, "accept" if g else "reject", "ann", "t", v if g else None, looked=looked)
        for s, v, g in zip(table["id"], table["version"], good, strict=True)
    }


def test_a_rule_that_people_follow_is_found_and_accepts_no_others() -> None:
    table = queue()
    good = (table["judge_after"] > 0.5) & (table["flags"] == "")
    first = table[:300]
    rule = propose_rule(table, judged(first, good[:300]))
    assert rule.proposed and rule.decided == 300 and rule.errors == 0
    assert rule.judge_after is not None and 0.45 < rule.judge_after < 0.6
    assert 0 < rule.low + rule.high <= 0.1 and rule.held_out > 36
    chosen = {c.sample for c in rule.choices}
    left = table[300:]
    fits = left[(left["judge_after"] >= rule.judge_after) & (left["flags"] == "")]
    fits = fits[(fits["perceptual"] <= rule.perceptual) & (fits["identity"] >= rule.identity)]
    assert chosen == set(fits["id"]) and len(chosen) > 80
    assert all(c.comment.startswith(MARK) and rule.words in c.comment for c in rule.choices)
    assert isinstance(rule.choices[0], Choice) and rule.choices[0].action == "accept"
    for figure in (rule.judge_after, rule.identity, rule.perceptual):
        assert f"{figure:g}" in rule.words


def test_what_the_rule_was_chosen_on_is_no_evidence() -> None:
    """People who accept at random give every threshold luck; the held-out half shows it."""
    table = queue()
    for seed in range(5):
        good = pd.Series(np.random.default_rng(seed).uniform(size=N) < 0.8)
        rule = propose_rule(table, judged(table, good))
        assert not rule.proposed and "limit is 10%" in rule.why and rule.choices == ()
        assert rule.high > 0.1 and rule.errors > 0
    assert propose_rule(table[:500], judged(table[:400], good[:400]), limit=0.5).proposed


def test_what_nobody_looked_at_is_no_evidence() -> None:
    table = queue()
    everything = pd.Series([True] * N)
    made = judged(table[:550], everything[:550], looked=False)
    rule = propose_rule(table, made)
    assert not rule.proposed and rule.decided == 0
    by_people = judged(table[:200], everything[:200])
    rule = propose_rule(table, {**made, **by_people})
    assert rule.proposed and rule.decided == 200
    assert {c.sample for c in rule.choices} <= set(table["id"][550:]), "decided ones are left alone"
    differing = set(table["id"][560:580])
    rule = propose_rule(table, {**made, **by_people}, differing=differing)
    assert rule.proposed and not differing & {c.sample for c in rule.choices}


@pytest.mark.parametrize("n,part", [(0, "Only 0"), (LEAST - 1, "Only 39"), (LEAST, "may err")])
def test_too_few_decisions_propose_nothing(n: int, part: str) -> None:
    table = queue()
    rule = propose_rule(table, judged(table[:n], pd.Series([True] * n)))
    assert not rule.proposed and part in rule.why and rule.why.endswith(".")


def test_another_version_or_a_second_look_is_no_acceptance() -> None:
    table = queue()
    other = {s: Decision(s, "accept", "ann", "t", "1" * 16, looked=True) for s in table["id"][:300]}
    rule = propose_rule(table, other)
    assert not rule.proposed and rule.errors == rule.held_out > 0
    unsure = {s: Decision(s, "second_look", "ann", "t", looked=True) for s in table["id"][:300]}
    assert propose_rule(table, unsure).decided == 0


def test_where_identity_is_not_measured_it_is_not_asked_for() -> None:
    table = queue().assign(identity=np.nan)
    good = table["judge_after"] > 0.5
    rule = propose_rule(table, judged(table[:400], good[:400]))
    assert rule.proposed and rule.identity is None and "identity" not in rule.words


def test_flagged_edits_only_propose_nothing() -> None:
    table = queue().assign(flags="blurred")
    rule = propose_rule(table, judged(table[:100], pd.Series([True] * 100)))
    assert rule.why == "No edit that people decided is without a flag."


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_where_the_binomial_tails_are_a_fortieth(case: tuple[int, int]) -> None:
    errors, n = case
    low, high = clopper_pearson(errors, n)
    if errors:
        assert binom.sf(errors - 1, n, low) == pytest.approx(0.025)
    else:
        assert low == 0
    if errors < n:
        assert binom.cdf(errors, n, high) == pytest.approx(0.025)
    else:
        assert high == 1


def test_the_interval_of_known_cases() -> None:
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    assert clopper_pearson(0, 36)[1] == pytest.approx(1 - 0.025 ** (1 / 36))
    low, high = clopper_pearson(5, 50)
    assert (round(low, 4), round(high, 4)) == (0.0333, 0.2181)
