"""Precision estimated from planted errors, where the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from diffinf_core.influence.precision import DRAWS, GRID, Estimate, PlantedErrors

N = 1000


def made(
    ranks: np.ndarray, contradicts: bool = True, counted: float = 100.0, out: int = 0
) -> PlantedErrors:
    """Errors planted at ``ranks`` (m,), 1 is the most suspicious, among N samples."""
    suspicion = -np.arange(N + len(ranks), dtype=float)
    table = pd.DataFrame({"mean_loss": suspicion, "aum": np.zeros(len(suspicion))})
    flags = np.full(len(ranks), contradicts)
    return PlantedErrors(table, ranks - 1, flags, 0.6 * counted, counted, out, 3)


def test_a_perfect_ranking_of_known_errors_by_hand() -> None:
    """All 50 planted errors in the top of 1,050, all contradicted: of W = 100 all are in the top 10 %."""
    errors = made(np.arange(1, 51))
    t = 51 / 52
    assert errors.wrong.value == pytest.approx(100 * t**-0.5)
    assert errors.recall("mean_loss")[0] == pytest.approx(np.ones(100))
    wrong = 100 * t**-0.5
    found = errors.assess("mean_loss", (10.0, 20.0, 50.0))["precision"]
    for tau in (10.0, 20.0, 50.0):
        assert found[tau].value == pytest.approx(min(1, wrong / (tau / 100 * 1050)), rel=0.01)
        assert found[tau].low <= found[tau].value <= found[tau].high


def test_a_ranking_at_random_has_the_rate_of_wrong_labels_everywhere() -> None:
    errors = made(np.linspace(1, 1050, 100).round().astype(int))
    found = errors.assess("mean_loss", (5.0, 20.0, 100.0))
    rate = errors.wrong.value / len(errors)
    for estimate in (found["average_precision"], *found["precision"].values()):
        assert estimate.value == pytest.approx(rate, rel=0.25)
        assert estimate.low < rate < estimate.high


def test_equal_scores_are_a_ranking_at_random() -> None:
    errors = made(np.arange(1, 51))
    np.testing.assert_allclose(errors.recall("aum")[0], GRID, atol=1e-9)


def test_a_score_with_few_values_gains_nothing_by_its_ties() -> None:
    """One flag for the first fifth: the planted errors of it may stand at any rank of the fifth."""
    ranks = np.concatenate([np.arange(1, 200, 5), np.arange(300, 1000, 70)])
    errors = made(ranks)
    flagged = errors.scores["mean_loss"].rank(ascending=False) <= 200
    errors.scores["forgetting"] = flagged.astype(float)
    inside = flagged.to_numpy()[errors.positions].mean()
    width = np.delete(flagged.to_numpy(), errors.positions).mean()
    recall = errors.recall("forgetting")[0]
    assert recall[9] == pytest.approx(inside * 0.1 / width, rel=0.02)
    assert errors.best(["forgetting", "mean_loss"]) == "mean_loss"


def test_memorised_errors_widen_the_bracket_to_the_corrected_count() -> None:
    draw = np.random.default_rng(0)
    ranks = np.sort(draw.choice(1050, 60, replace=False)) + 1
    errors = made(ranks)
    half = PlantedErrors(errors.scores, errors.positions, np.arange(60) % 2 == 0, 60.0, 100.0, 0, 3)
    assert errors.wrong.value == pytest.approx(100, rel=0.01)
    assert half.wrong.value == pytest.approx(100 * np.sqrt(2), rel=0.01)
    assert (
        half.wrong.low < 60 < 100 < half.wrong.value and half.wrong.high > 200 > errors.wrong.high
    )
    none = made(ranks, contradicts=False, counted=0.0)
    assert 0 < none.wrong.low < none.wrong.value < none.wrong.high <= N + 60, (
        "none counted is not none"
    )


def test_a_curve_falls_and_gives_the_tau_that_holds_a_precision() -> None:
    draw = np.random.default_rng(1)
    ranks = np.unique((draw.beta(1, 6, 80) * 1000).astype(int)) + 1
    errors = made(ranks, counted=200.0, out=150)
    curve = errors.curve("mean_loss")
    assert curve.shape == (DRAWS + 1, 100) and (np.diff(curve[0]) <= 1e-9).all()
    estimate, sure = errors.tau_for("mean_loss", 0.5)
    assert estimate is not None and sure is not None and sure < estimate
    at = errors.assess("mean_loss", (estimate, estimate + 1))["precision"]
    assert at[estimate].value >= 0.5 > at[estimate + 1].value
    assert errors.assess("mean_loss", (sure,))["precision"][sure].low >= 0.5
    flat = made(np.linspace(1, 1000, 60).round().astype(int))
    assert flat.tau_for("mean_loss", 0.9) == (None, None)


def test_planted_errors_that_became_right_are_unmixed() -> None:
    """Of a perfect ranking one tenth of the planted became right and lie at random below: R is 1 again."""
    top, rest = np.arange(1, 91), np.linspace(200, 1090, 10).round().astype(int)
    ranks = np.concatenate([top, rest])
    errors = made(ranks, counted=300.0, out=0)
    raw, corrected = errors.recall("mean_loss")[0], errors._corrected(errors.recall("mean_loss"))[0]
    assert raw[19] < 0.93 and raw[19] < corrected[19] <= 1


def test_more_planted_errors_make_narrower_intervals_and_the_best_score_wins() -> None:
    few, many = (
        made(np.linspace(1, 500, m).round().astype(int)).assess("mean_loss", (20.0,))["precision"]
        for m in (20, 400)
    )
    assert many[20.0].high - many[20.0].low < few[20.0].high - few[20.0].low
    assert made(np.arange(1, 51)).best(["aum", "mean_loss"]) == "mean_loss"
    assert Estimate(0.5, 0.4, 0.6).as_dict() == {"value": 0.5, "low": 0.4, "high": 0.6}


def simulated(seed: int) -> tuple[PlantedErrors, np.ndarray, np.ndarray]:
    """A ranking of 1,000 labels of which 200 are wrong, which are wrong, and the 40 planted errors.

    A planted error is ranked, and contradicted, as any wrong label is.
    """
    rng, n, memorised = np.random.default_rng(seed), 1000, 0.3
    wrong = np.arange(n) < 200
    score = rng.normal(size=n) + 1.5 * wrong
    contradicted = wrong & (rng.random(n) >= memorised)
    confident = contradicted & (rng.random(n) < 0.7)
    planted = rng.choice(np.flatnonzero(~wrong & (score < 1)), 40, replace=False)
    after = score.copy()
    after[planted] = rng.normal(size=40) + 1.5
    errors = PlantedErrors(
        pd.DataFrame({"mean_loss": after}),
        planted,
        rng.random(40) >= memorised,
        float(confident.sum()),
        float(contradicted.sum()),
        int(contradicted.sum()),
        3,
        seed,
    )
    return errors, score, wrong


def test_the_interval_covers_the_truth_of_rankings_that_are_known() -> None:
    """Of 40 rankings the truth lies inside in 36 or more, for every figure, and intervals say something."""
    taus, runs = (5.0, 10.0, 20.0, 30.0), 40
    inside, widths = np.zeros(2 + len(taus), int), np.zeros(2 + len(taus))
    for seed in range(runs):
        errors, score, wrong = simulated(seed)
        ranked = wrong[np.argsort(-score)]
        truth = [wrong.sum(), average_precision_score(wrong, score)]
        truth += [ranked[: int(tau * 10)].mean() for tau in taus]
        found = errors.assess("mean_loss", taus)
        estimates = [errors.wrong, found["average_precision"], *found["precision"].values()]
        for i, (estimate, true) in enumerate(zip(estimates, truth, strict=True)):
            inside[i] += estimate.low <= true <= estimate.high
            widths[i] += (estimate.high - estimate.low) / runs
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= (1 if i else 1040)
    assert (inside >= 0.9 * runs).all(), inside
    assert widths[0] < 400 and (widths[1:] < 0.75).all(), widths
