"""Symmetric noise: an exact number of labels, never to themselves, all other classes alike."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffinf_core.data.noise import add_symmetric_noise


def labels_of(n: int, classes: int, seed: int = 0) -> np.ndarray:
    """Random clean labels."""
    return np.random.default_rng(seed).integers(0, classes, n)


@settings(max_examples=150)
@given(
    n=st.integers(0, 400),
    classes=st.integers(2, 7),
    percent=st.integers(0, 100),
    seed=st.integers(0, 2**32),
)
def test_exactly_the_rounded_share_changes_and_never_to_itself(
    n: int, classes: int, percent: int, seed: int
) -> None:
    clean = labels_of(n, classes, seed % 97)
    before = clean.copy()
    noisy, flipped = add_symmetric_noise(clean, classes, percent / 100, seed)
    exact = Fraction(percent * n, 100)
    allowed = {int(exact + Fraction(1, 2))}
    if exact % 1 == Fraction(1, 2):  # a tie may fall either way in binary arithmetic
        allowed.add(int(exact))
    assert int(flipped.sum()) in allowed
    np.testing.assert_array_equal(flipped, noisy != clean)
    np.testing.assert_array_equal(clean, before)
    assert noisy.shape == clean.shape and noisy.dtype == np.int64 and flipped.dtype == bool
    assert n == 0 or (noisy.min() >= 0 and noisy.max() < classes)


@pytest.mark.parametrize(
    "n,rate,count",
    [(1000, 0.3, 300), (100, 0.29, 29), (10, 0.25, 3), (10, 0.24, 2), (3, 0.1, 0), (7, 0.5, 4),
     (5, 0.0, 0), (8, 1.0, 8), (1, 0.5, 1)],
)  # fmt: skip
def test_the_count_rounds_half_up_and_does_not_truncate(n: int, rate: float, count: int) -> None:
    _, flipped = add_symmetric_noise(labels_of(n, 3), 3, rate, 1)
    assert flipped.sum() == count


@pytest.mark.parametrize("classes", [3, 4])
def test_every_other_class_is_reached_alike(classes: int) -> None:
    clean = np.repeat(np.arange(classes), 20_000)
    noisy, flipped = add_symmetric_noise(clean, classes, 0.3, 0)
    for c in range(classes):
        moved = noisy[flipped & (clean == c)]
        counts = np.bincount(moved, minlength=classes)
        p = 1 / (classes - 1)
        sigma = np.sqrt(len(moved) * p * (1 - p))
        others = np.delete(counts, c)
        assert counts[c] == 0
        assert np.abs(others - len(moved) * p).max() < 4 * sigma


def test_every_position_is_as_likely_as_any_other() -> None:
    clean, runs = labels_of(50, 3), 2000
    hits = sum(add_symmetric_noise(clean, 3, 0.2, seed)[1].astype(int) for seed in range(runs))
    sigma = np.sqrt(runs * 0.2 * 0.8)
    assert np.abs(hits - 0.2 * runs).max() < 4.5 * sigma


def test_a_seed_decides_everything() -> None:
    clean = labels_of(1000, 3)
    first, again = (add_symmetric_noise(clean, 3, 0.3, 5) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    other = add_symmetric_noise(clean, 3, 0.3, 6)
    assert (first[1] != other[1]).any() and (first[0] != other[0]).any()


def test_the_global_random_state_is_neither_read_nor_moved() -> None:
    clean = labels_of(100, 3)
    np.random.seed(1)
    first = add_symmetric_noise(clean, 3, 0.3, 5)[0]
    drawn = np.random.random()
    np.random.seed(2)
    np.testing.assert_array_equal(add_symmetric_noise(clean, 3, 0.3, 5)[0], first)
    np.random.seed(1)
    assert np.random.random() == drawn


def test_which_labels_change_does_not_depend_on_what_they_are() -> None:
    a, b = labels_of(300, 4, 1), labels_of(300, 4, 2)
    changed = [add_symmetric_noise(x, 4, 0.2, 3) for x in (a, b)]
    np.testing.assert_array_equal(changed[0][1], changed[1][1])
    np.testing.assert_array_equal((changed[0][0] - a) % 4, (changed[1][0] - b) % 4)


@pytest.mark.parametrize("classes,rate", [(1, 0.1), (0, 0.1), (3, -0.1), (3, 1.1)])
def test_noise_that_cannot_be_made_is_refused(classes: int, rate: float) -> None:
    with pytest.raises(ValueError, match=f"classes={classes}, rate={rate}"):
        add_symmetric_noise(np.zeros(4, np.int64), classes, rate, 0)
