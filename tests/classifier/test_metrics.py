"""Metrics against numbers worked out by hand, and against scikit-learn where it has them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    log_loss,
    roc_auc_score,
)

from diffinf_core.classifier.metrics import ECE_BINS, evaluate, expected_calibration_error
from diffinf_core.records import DiffInfError

Y = np.array([0, 0, 0, 1, 1, 2])
P = np.array(
    [[0.8, 0.1, 0.1], [0.5, 0.4, 0.1], [0.2, 0.3, 0.5],
     [0.3, 0.6, 0.1], [0.45, 0.35, 0.2], [0.1, 0.2, 0.7]]
)  # fmt: skip


def certain(predicted: list[int], classes: int) -> np.ndarray:
    """Probabilities that speak for one class each."""
    return np.eye(classes)[predicted]


def test_the_toy_example_has_its_known_numbers() -> None:
    found = evaluate(Y, P)
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["balanced_accuracy"] == pytest.approx(0.722222, abs=1e-6)
    assert found["auroc"] == pytest.approx((0.777778 + 0.875 + 1) / 3, abs=1e-6)
    assert found["auroc"] == pytest.approx(0.884259, abs=1e-6)
    assert found["kappa_linear"] == pytest.approx(0.4375)
    assert found["kappa"] == pytest.approx(0.478261, abs=1e-6)


def test_the_order_of_the_classes_matters_to_the_linear_kappa_alone() -> None:
    swap = np.array([1, 0, 2])
    found, swapped = evaluate(Y, P), evaluate(swap[Y], P[:, swap])
    assert swapped["kappa_linear"] == pytest.approx(0.571429, abs=1e-6)
    for name in set(found) - {"kappa_linear"}:
        assert swapped[name] == pytest.approx(found[name]), name


def test_linear_kappa_is_one_minus_observed_over_expected_distance() -> None:
    # Observed distances 0 0 2 0 1 0 (mean 1/2 of 2); expected from the margins, by hand.
    labels, predicted = Y, P.argmax(1)
    observed = np.zeros((3, 3))
    np.add.at(observed, (labels, predicted), 1)
    weights = np.abs(np.subtract.outer(np.arange(3), np.arange(3))) / 2
    expected = np.outer(observed.sum(1), observed.sum(0)) / observed.sum()
    by_hand = 1 - (weights * observed).sum() / (weights * expected).sum()
    assert evaluate(Y, P)["kappa_linear"] == pytest.approx(by_hand)


def test_a_class_that_is_never_predicted_keeps_its_place_in_the_distances() -> None:
    labels, predicted = [0, 1, 2, 3, 3, 0, 2], [0, 2, 2, 3, 2, 3, 2]
    found = evaluate(np.array(labels), certain(predicted, 4))["kappa_linear"]
    known = cohen_kappa_score(labels, predicted, weights="linear", labels=range(4))
    assert found == pytest.approx(known)


def test_perfect_and_opposite_predictions() -> None:
    y = np.array([0, 1, 2, 0, 1, 2])
    right = evaluate(y, certain(list(y), 3))
    for name in ("accuracy", "balanced_accuracy", "auroc", "kappa", "kappa_linear"):
        assert right[name] == 1, name
    assert right["ece"] == 0 and right["nll"] == pytest.approx(0, abs=1e-9)
    wrong = evaluate(np.array([0, 1, 0, 1]), certain([1, 0, 1, 0], 2))
    assert wrong["accuracy"] == 0 and wrong["auroc"] == 0
    assert wrong["kappa"] == pytest.approx(-1) and wrong["ece"] == 1
    assert np.isfinite(wrong["nll"]), "a probability of 0 must not make the mean infinite"


def test_the_same_answer_for_every_picture_is_worth_nothing() -> None:
    y = np.array([0] * 8 + [1] * 2)
    found = evaluate(y, np.tile([0.7, 0.3], (10, 1)))
    assert found["accuracy"] == pytest.approx(0.8)
    assert found["balanced_accuracy"] == pytest.approx(0.5)
    assert found["auroc"] == 0.5 and found["kappa"] == 0 and found["kappa_linear"] == 0
    assert found["ece"] == pytest.approx(0.1)
    assert found["nll"] == pytest.approx(-(0.8 * np.log(0.7) + 0.2 * np.log(0.3)))


def test_rows_are_brought_to_a_sum_of_one() -> None:
    scaled = P * np.array([[2.0], [0.5], [1], [7], [1e-3], [3]])
    assert evaluate(Y, scaled) == pytest.approx(evaluate(Y, P))


@pytest.mark.parametrize("absent", [0, 1, 2])
def test_a_class_absent_from_the_split_is_named(absent: int) -> None:
    keep = absent != Y
    with pytest.raises(DiffInfError, match=f"no sample of class number {absent}"):
        evaluate(Y[keep], P[keep])


@settings(max_examples=20)
@given(n=st.integers(4, 60), classes=st.integers(2, 5), seed=st.integers(0, 10_000))
def test_everything_equals_scikit_learn(n: int, classes: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    y = draw.integers(0, classes, n)
    assume(len(set(y.tolist())) == classes)
    # Sixteenths: ties are common, and exact in binary arithmetic.
    p = (draw.multinomial(16 - classes, np.ones(classes) / classes, n) + 1) / 16
    found, guess = evaluate(y, p), p.argmax(1)
    if classes == 2:
        area = roc_auc_score(y, p[:, 1])
    else:
        area = roc_auc_score(y, p, multi_class="ovr", average="macro")
    known = {
        "accuracy": accuracy_score(y, guess),
        "balanced_accuracy": balanced_accuracy_score(y, guess),
        "auroc": area,
        "kappa": cohen_kappa_score(y, guess, labels=range(classes)),
        "kappa_linear": cohen_kappa_score(y, guess, labels=range(classes), weights="linear"),
        "nll": log_loss(y, p, labels=range(classes)),
    }
    for name, value in known.items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
    assert set(found) == {*known, "ece"} and 0 <= found["ece"] <= 1


# ---------------------------------------------------------------- calibration


def test_calibration_error_by_hand() -> None:
    # Bins of 1/15: two at .80 (half right), one at .95 (right), one at .50 (wrong).
    p = np.array([[0.8, 0.2], [0.2, 0.8], [0.05, 0.95], [0.5, 0.5]])
    y = np.array([0, 0, 1, 1])
    by_hand = (2 * abs(0.5 - 0.8) + abs(1 - 0.95) + abs(0 - 0.5)) / 4
    assert expected_calibration_error(y, p) == pytest.approx(by_hand)


def test_the_default_is_fifteen_bins_of_equal_width() -> None:
    assert ECE_BINS == 15
    # .61 and .66 share a bin of fifteen, and lie in two bins of twenty.
    p, y = np.array([[0.61, 0.39], [0.66, 0.34]]), np.array([0, 1])
    assert expected_calibration_error(y, p) == pytest.approx(abs(0.5 - 0.635))
    apart = (abs(1 - 0.61) + 0.66) / 2
    assert expected_calibration_error(y, p, 20) == pytest.approx(apart)


def test_full_confidence_falls_into_the_last_bin() -> None:
    p, y = np.array([[1.0, 0.0]] * 4), np.array([0, 0, 0, 1])
    assert expected_calibration_error(y, p) == pytest.approx(0.25)


def test_a_calibrated_guesser_has_next_to_no_error() -> None:
    draw = np.random.default_rng(0)
    top = draw.uniform(0.5, 1, 50_000)
    y = (draw.random(50_000) > top).astype(int)
    assert expected_calibration_error(y, np.stack([top, 1 - top], 1)) < 0.01
    boast = np.tile([0.99, 0.01], (50_000, 1))
    gap = 0.99 - (y == 0).mean()
    assert expected_calibration_error(y, boast) == pytest.approx(gap)


@settings(max_examples=40)
@given(n=st.integers(1, 50), seed=st.integers(0, 1000), bins=st.integers(1, 20))
def test_calibration_error_does_not_depend_on_the_order(n: int, seed: int, bins: int) -> None:
    draw = np.random.default_rng(seed)
    p = draw.dirichlet(np.ones(3), n)
    y = draw.integers(0, 3, n)
    turn = draw.permutation(n)
    found = expected_calibration_error(y, p, bins)
    assert found == pytest.approx(expected_calibration_error(y[turn], p[turn], bins))
    # One bin compares the means; more bins can only find more.
    whole = abs((p.argmax(1) == y).mean() - p.max(1).mean())
    assert found >= whole - 1e-12
    assert expected_calibration_error(y, p, 1) == pytest.approx(whole)
