"""What each score is in closed form, how scores combine, and how their agreement is counted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffinf_core.config import ON_REQUEST, SIGNALS, estimator_names
from diffinf_core.influence.estimators import (
    ESTIMATORS,
    agreement,
    forgetting_events,
    logged_scores,
    quality,
    rank_mean,
    rank_table,
    score_of,
)


def test_every_configurable_score_is_described() -> None:
    assert set(ESTIMATORS) == set(SIGNALS + ON_REQUEST)
    for name, e in ESTIMATORS.items():
        assert e.name == name and all((e.title, e.meaning, e.source, e.cost))


@pytest.mark.parametrize(
    "margins,events",
    [
        ([1, 1, 1, 1], 0),
        ([-1, -1, 1, 1], 0),  # learnt late is not forgotten
        ([1, -1, 1, -1], 2),
        ([-1, 1, -1, -1], 1),
        ([-1, -1, -1, -1], 4),  # never fitted: the number of epochs
        ([0, 0, 0, 0], 4),  # a tie is not a fit
    ],
)
def test_forgetting_events(margins: list[int], events: int) -> None:
    assert forgetting_events(np.array(margins, float)[:, None]).tolist() == [events]


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), min_size=1, max_size=9))
def test_forgetting_counts_are_what_a_loop_counts(rows: list[list[int]]) -> None:
    margins = np.array(rows, float)
    for i, found in enumerate(forgetting_events(margins)):
        fitted = [m > 0 for m in margins[:, i]]
        want = sum(a and not b for a, b in pairwise(fitted))
        assert found == (want if any(fitted) else len(fitted))


def test_logged_scores_read_their_columns_up_to_an_epoch() -> None:
    draw = np.random.default_rng(0)
    signals = draw.normal(size=(6, 5, 3)).astype(np.float32)
    found = logged_scores(signals, 4)
    np.testing.assert_allclose(found["mean_loss"], signals[:4, :, 0].mean(0))
    np.testing.assert_allclose(found["aum"], -signals[:4, :, 1].mean(0))
    np.testing.assert_allclose(found["el2n"], signals[:4, :, 2].mean(0))
    np.testing.assert_array_equal(found["forgetting"], forgetting_events(signals[:4, :, 1]))


def test_a_rank_mean_does_not_care_for_scale() -> None:
    a, b = np.array([1.0, 2, 3, 4]), np.array([4.0, 3, 2, 1])
    np.testing.assert_allclose(rank_mean([a, b]), [0.625] * 4)
    np.testing.assert_allclose(rank_mean([a, 1000 * a]), [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(rank_mean([np.exp(a), a]), rank_mean([a, a]))
    np.testing.assert_allclose(rank_mean([np.zeros(4)]), [0.625] * 4)


def test_score_of_takes_one_column_or_the_mean_rank_of_several() -> None:
    table = pd.DataFrame({"aum": [3.0, 1, 2], "el2n": [10.0, 30, 20]})
    np.testing.assert_array_equal(score_of(table, "aum"), [3, 1, 2])
    np.testing.assert_allclose(score_of(table, "aum+el2n"), [2 / 3] * 3)


@pytest.mark.parametrize("name", ["", "magic", "aum+", "aum+magic", "aum+aum", "aum,el2n"])
def test_a_name_that_is_no_score_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="estimator"):
        estimator_names(name)
    assert estimator_names(" aum + el2n ") == ("aum", "el2n")


def test_quality_of_a_perfect_a_random_and_a_reversed_score() -> None:
    n = 1000
    wrong = np.arange(n) < 200
    table = pd.DataFrame(
        {
            "aum": wrong.astype(float),
            "el2n": np.random.default_rng(0).normal(size=n),
            "mean_loss": -wrong.astype(float),
        }
    )
    found = quality(table, ["aum", "el2n", "mean_loss"], wrong, 10)
    assert found["aum"] == {"average_precision": 1.0, "precision_at_tau": 1.0}
    assert abs(found["el2n"]["average_precision"] - 0.2) < 0.05
    assert found["mean_loss"]["precision_at_tau"] == 0


def test_agreement_is_symmetric_in_rank_and_one_on_the_diagonal() -> None:
    draw = np.random.default_rng(1)
    base = draw.normal(size=500)
    table = pd.DataFrame(
        {
            "aum": base,
            "el2n": base + draw.normal(size=500),
            "mean_loss": -base,
            "forgetting": np.zeros(500),
        }
    )
    rho, shared = agreement(table, list(table), 10)
    assert list(rho.columns) == list(rho.index) == list(table)
    np.testing.assert_allclose(np.diag(shared), 1)
    np.testing.assert_allclose(rho, rho.T)
    assert rho.loc["aum", "mean_loss"] == -1 and shared.loc["aum", "mean_loss"] == 0
    assert 0.5 < rho.loc["aum", "el2n"] < 0.9 and 0.2 < shared.loc["aum", "el2n"] < 0.9
    assert np.isnan(rho.loc["aum", "forgetting"]), "a constant score has no rank correlation"


def test_the_rank_table_breaks_ties_by_position() -> None:
    table = rank_table(pd.Series(list("abcd")), np.array([1.0, 2, 2, 0]), 50)
    assert table["rank"].tolist() == [3, 1, 2, 4]
    assert table["high"].tolist() == [False, True, True, False]
