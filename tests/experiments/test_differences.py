"""Intervals of differences: against closed forms, against exact resampling, and under no difference."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from diffinf_core.classifier.metrics import evaluate
from diffinf_core.experiments.differences import FEWEST, Measured, holm, measure, tabulate
from diffinf_core.experiments.retrain import METRICS
from diffinf_core.records import DiffInfError
from tests.arms import predictions


def of(measured: Measured, arm: str, metric: str) -> float:
    return measured.value(arm, measured.index("metric", metric))


def noisy_scores(
    rng: np.random.Generator, labels: np.ndarray, classes: int, by: float
) -> np.ndarray:
    """Probabilities that know the label about as well as ``by`` says."""
    z = rng.normal(size=(len(labels), classes))
    z[np.arange(len(labels)), labels] += by
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(2, 5), st.integers(1, 3), st.integers(6, 60))
def test_figures_are_those_of_evaluate(seed: int, classes: int, seeds: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    arms = {
        name: np.stack([noisy_scores(rng, labels, classes, by) for _ in range(seeds)])
        for name, by in (("a", 0.5), ("b", 1.5))
    }
    found = measure(labels, arms, [str(c) for c in range(classes)], draws=3)
    for arm, p in arms.items():
        each = [evaluate(labels, q) for q in p]
        for metric in METRICS:
            values = [e[metric] for e in each]
            assert of(found, arm, metric) == pytest.approx(np.mean(values), abs=1e-9)
            if found.deviations is not None:
                sd = found.deviations[found.arms.index(arm), found.index("metric", metric)]
                assert sd == pytest.approx(np.std(values, ddof=1), abs=1e-9)
        said = p.argmax(2)
        for c in range(classes):
            recall = np.mean([(s[labels == c] == c).mean() for s in said])
            assert found.value(arm, found.index("recall", str(c))) == pytest.approx(recall)


def test_deviation_of_an_accuracy_difference_is_that_of_its_discordant_pairs() -> None:
    rng, n = np.random.default_rng(1), 600
    labels = np.arange(n) % 3
    a, b = rng.random(n) < 0.8, rng.random(n) < 0.7
    arms = {"a": predictions(labels, 3, a)[None], "b": predictions(labels, 3, b)[None]}
    found = measure(labels, arms, "xyz", draws=6000)
    at = found.index("metric", "accuracy")
    draws = found.draws[:, 0, at] - found.draws[:, 1, at]
    d = a.astype(float) - b
    # within each class, as the draws are
    expected = np.sqrt(sum((labels == c).sum() * d[labels == c].var() for c in range(3))) / n
    assert draws.std() == pytest.approx(expected, rel=0.04)
    difference = found.difference("a", "b", at)
    assert difference is not None and difference.low is not None and difference.high is not None
    assert difference.value == pytest.approx(d.mean())
    assert difference.high - difference.low == pytest.approx(2 * 1.96 * expected, rel=0.06)


def test_two_thirds_of_three_seeds_give_the_variance_of_a_mean_of_three() -> None:
    """One seed right everywhere, two wrong everywhere: only seeds vary, s^2 / 3 = 1 / 9."""
    labels = np.arange(40) % 2
    right, wrong = (predictions(labels, 2, np.full(40, v)) for v in (True, False))
    arms = {"a": np.stack([right, wrong, wrong]), "b": np.stack([wrong] * 3)}
    found = measure(labels, arms, "xy", draws=8000)
    at = found.index("metric", "accuracy")
    draws = found.draws[:, 0, at] - found.draws[:, 1, at]
    assert draws.std() == pytest.approx(1 / 3, rel=0.03)
    assert draws.mean() == pytest.approx(1 / 3, rel=0.05)


def test_seeds_are_paired_over_arms() -> None:
    """Seeds that are good for both arms alike leave nothing of their spread in the difference."""
    labels = np.arange(60) % 2
    right, wrong = (predictions(labels, 2, np.full(60, v)) for v in (True, False))
    arms = {"a": np.stack([right, wrong, right]), "b": np.stack([right, wrong, right])}
    found = measure(labels, arms, "xy")
    difference = found.difference("a", "b", found.index("metric", "accuracy"))
    assert difference is not None
    assert (difference.value, difference.low, difference.high) == (0, 0, 0)
    assert not difference.excludes_zero and difference.p == 1


def test_auroc_varies_as_under_exact_resampling() -> None:
    rng, n = np.random.default_rng(3), 240
    labels = np.arange(n) % 3
    p, q = noisy_scores(rng, labels, 3, 1.2), noisy_scores(rng, labels, 3, 0.6)
    found = measure(labels, {"a": p[None], "b": q[None]}, "xyz", draws=3000)
    at = found.index("metric", "auroc")
    quick = (found.draws[:, 0, at] - found.draws[:, 1, at]).std()
    exact = []
    for _ in range(400):
        rows = np.concatenate([rng.choice(np.flatnonzero(labels == c), n // 3) for c in range(3)])
        drawn = [evaluate(labels[rows], x[rows])["auroc"] for x in (p, q)]
        exact.append(drawn[0] - drawn[1])
    assert quick == pytest.approx(np.std(exact), rel=0.12)


def test_without_a_difference_about_one_interval_in_twenty_excludes_zero() -> None:
    rng, n, excluded = np.random.default_rng(5), 200, 0
    labels = np.arange(n) % 2
    for trial in range(200):
        arms = {k: predictions(labels, 2, rng.random(n) < 0.7)[None] for k in "ab"}
        found = measure(labels, arms, "xy", draws=200, seed=trial)
        difference = found.difference("a", "b", found.index("metric", "accuracy"))
        assert difference is not None
        excluded += difference.excludes_zero
    assert 2 <= excluded <= 24  # 10 expected; both ends are beyond four deviations of chance


def test_calibration_errors_interval_is_about_the_figure_not_about_its_inflated_draws() -> None:
    """Perfectly calibrated against overconfident: the difference must lie inside its interval."""
    rng, n = np.random.default_rng(7), 400
    labels = np.arange(n) % 2
    arms = {
        "fair": predictions(labels, 2, np.arange(n) % 10 < 8, 0.8)[None],
        "sure": predictions(labels, 2, rng.random(n) < 0.7, 0.95)[None],
    }
    found = measure(labels, arms, "xy")
    difference = found.difference("fair", "sure", found.index("metric", "ece"))
    assert difference is not None and difference.low is not None and difference.high is not None
    assert difference.low < difference.value < difference.high < 0


def test_few_pictures_get_no_interval() -> None:
    labels = np.arange(60) % 2
    few, enough = np.arange(60) < FEWEST - 1, np.arange(60) < FEWEST
    groups = {("by x", "few"): few, ("by x", "enough"): enough}
    arms = {k: predictions(labels, 2, np.arange(60) % m > 0)[None] for k, m in (("a", 3), ("b", 5))}
    found = measure(labels, arms, "xy", groups)
    small = found.difference("a", "b", found.index("by x", "few"))
    large = found.difference("a", "b", found.index("by x", "enough"))
    assert small is not None and small.low is None and small.p is None and not small.excludes_zero
    assert large is not None and large.low is not None


def test_a_class_that_nobody_predicts_has_no_precision() -> None:
    labels = np.arange(60) % 3
    p = predictions(labels, 3, labels != 2)  # 2 is always taken for 0
    found = measure(labels, {"a": p[None], "b": p[None]}, "xyz")
    at = found.index("precision", "z")
    assert np.isnan(found.value("a", at)) and found.difference("a", "b", at) is None


def test_the_same_seed_gives_the_same_intervals() -> None:
    labels = np.arange(50) % 2
    arms = {k: predictions(labels, 2, np.arange(50) % m > 0)[None] for k, m in (("a", 3), ("b", 5))}
    one, two, other = (measure(labels, arms, "xy", seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(one.draws, two.draws)
    assert not np.array_equal(one.draws, other.draws)


def test_p_counts_seeds_as_few_where_trainings_are_all_that_varies() -> None:
    """Every picture right or every one wrong: Student's paired test over seeds."""
    labels = np.arange(40) % 2
    right = {"a": [1, 1, 0, 1, 1, 1], "b": [0, 1, 0, 0, 1, 0]}
    arms = {
        k: np.stack([predictions(labels, 2, np.full(40, bool(r))) for r in v])
        for k, v in right.items()
    }
    found = measure(labels, arms, "xy", {("by all", "x"): labels < 2}, draws=20_000)
    expected = ttest_rel(right["a"], right["b"]).pvalue
    for at in (("metric", "accuracy"), ("by all", "x")):
        difference = found.difference("a", "b", found.index(*at))
        assert difference is not None and difference.p == pytest.approx(expected, rel=0.1)
    one = measure(labels, {k: p[2:3] for k, p in arms.items()}, "xy")
    same = one.difference("a", "b", one.index("metric", "accuracy"))
    assert same is not None and same.p == 1


def test_every_figure_stands_in_a_row_and_only_groups_are_corrected() -> None:
    labels = np.arange(60) % 2
    arms = {k: predictions(labels, 2, np.arange(60) % m > 0)[None] for k, m in (("a", 3), ("b", 5))}
    half = labels == 0
    groups = {("by g", "x"): half, ("by g", "y"): ~half, ("within g", "x, 0"): half}
    measured = measure(labels, arms, "xy", groups)
    table = tabulate(measured, "a")
    assert len(table) == 2 * len(measured.quantities) and table["sd"].isna().all()
    assert table.loc[table["arm"] == "a", "difference"].isna().all()
    tested = table[table["p_holm"].notna()]
    assert tested[["arm", "section", "name"]].to_numpy().tolist() == [
        ["b", "by g", "x"], ["b", "by g", "y"],
    ]  # fmt: skip
    raw = [measured.difference("b", "a", measured.index("by g", v)).p for v in "xy"]  # type: ignore[union-attr]
    assert tested["p_holm"].tolist() == pytest.approx(holm(raw))
    assert tabulate(measured, None)["difference"].isna().all()


def test_arms_that_cannot_be_compared_are_refused_in_a_sentence() -> None:
    labels = np.arange(20) % 2
    p = predictions(labels, 2, labels == 0)
    with pytest.raises(DiffInfError, match="differ in seeds"):
        measure(labels, {"a": np.stack([p, p]), "b": p[None]}, "xy")
    with pytest.raises(DiffInfError, match="no picture of class 'y'"):
        measure(np.zeros(20, int), {"a": p[None]}, "xy")


def test_holm_by_hand_in_any_order() -> None:
    p = {0.01: 0.03, 0.04: 0.06, 0.03: 0.06, 0.005: 0.02}
    for order in permutations(p):
        assert holm(order) == pytest.approx([p[v] for v in order])
    assert holm([0.9, 0.8]).tolist() == [1, 1] and holm([]).tolist() == []
