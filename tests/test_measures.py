"""Measures of the benchmarks of photographs, in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.measures import kid


def test_kid_of_two_pairs_of_numbers() -> None:
    a, b = np.array([[1.0], [2.0]]), np.array([[0.0], [3.0]])
    assert kid(a, b) == pytest.approx(27 + 1 - 2 * (1 + 64 + 1 + 343) / 4)


def test_kid_is_zero_on_average_of_one_distribution_and_not_of_two() -> None:
    rng = np.random.default_rng(0)
    same = [kid(*rng.standard_normal((2, 30, 8))) for _ in range(300)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(len(same))
    moved = [
        kid(rng.standard_normal((30, 8)) + 0.5, rng.standard_normal((30, 8))) for _ in range(30)
    ]
    assert np.mean(moved) > 3 * np.std(same)
