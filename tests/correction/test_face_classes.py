"""Which classes the published networks know, and where ages begin."""

from __future__ import annotations

import math

import numpy as np
import pytest

from diffinf_core.correction.face_classes import (
    KnownAges,
    KnownExpressions,
    fit_cuts,
    known_classes,
)
from diffinf_core.records import DiffInfError

INF = math.inf


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("happy", "neutral", "surprised"), ("happy", "neutral", "surprised")),
        (("Smiling", "Neutral"), ("happy", "neutral")),
        (("anger", "disgust", "fear"), ("angry", "disgusted", "fearful")),
    ],
)
def test_expressions_by_name(classes: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert known_classes(classes, {}) == KnownExpressions(expected)


@pytest.mark.parametrize(
    ("classes", "rank", "cuts"),
    [
        (("Middle", "Old", "Young"), (1, 2, 0), None),
        (("child", "senior"), (0, 1), None),
        (("0-19", "20-39", "40+"), (0, 1, 2), (-INF, 20, 40, INF)),
        (("60+", "20 to 59", "under 20"), (2, 1, 0), (-INF, 20, 60, INF)),
        (("more than 70", "10-19", "20-70"), (2, 0, 1), (-INF, 20, 70.5, INF)),
        (("0-10", "30-40"), (0, 1), (-INF, 20.5, INF)),
    ],
)
def test_ages_by_name(
    classes: tuple[str, ...], rank: tuple[int, ...], cuts: tuple[float, ...] | None
) -> None:
    assert known_classes(classes, {}) == KnownAges(rank, cuts)


@pytest.mark.parametrize(
    "classes",
    [("cat", "dog"), ("happy", "dog"), ("happy", "smile"), ("young", "20-30"), ("0-30", "20-40"),
     ("middle", "adult")],
)  # fmt: skip
def test_what_they_do_not_know_is_none(classes: tuple[str, ...]) -> None:
    assert known_classes(classes, {}) is None


def test_a_mapping_names_what_names_do_not_tell() -> None:
    assert known_classes(("a", "b"), {"a": "happy", "b": "sad"}) == KnownExpressions(
        ("happy", "sad")
    )
    assert known_classes(("class 0", "old"), {"class 0": "young"}) == KnownAges((0, 1), None)
    assert known_classes(("a", "b"), {"a": "happy"}) is None
    with pytest.raises(DiffInfError, match=r"names 'c'; the classes are a, b"):
        known_classes(("a", "b"), {"c": "happy"})
    with pytest.raises(DiffInfError, match=r"judge.classes.a is 'bored'"):
        known_classes(("a", "b"), {"a": "bored", "b": "sad"})


def test_probabilities_of_ages_sum_to_one_and_fall_at_the_cuts() -> None:
    known = KnownAges((1, 2, 0), (-INF, 20, 45, INF))
    p = known.probabilities(np.array([0.0, 20.0, 30.0, 45.0, 80.0]), 5.0)
    np.testing.assert_allclose(p.sum(1), 1)
    assert p.argmax(1).tolist()[::2] == [2, 0, 1]
    np.testing.assert_allclose(p[1, 2], 0.5)
    np.testing.assert_allclose(p[3, 1], 0.5)


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_cuts_are_found_through_wrong_labels(noise: float) -> None:
    rng = np.random.default_rng(3)
    years = rng.uniform(0, 80, 6000)
    labels = np.searchsorted([22.0, 50.0], years)
    wrong = rng.random(len(labels)) < noise
    labels = np.where(wrong, (labels + rng.integers(1, 3, len(labels))) % 3, labels)
    known = KnownAges((1, 2, 0), None)  # class 2 is the youngest
    found = fit_cuts(known, years, (labels + 2) % 3)
    assert found.cuts is not None
    assert found.cuts[1] == pytest.approx(22, abs=1.5) and found.cuts[2] == pytest.approx(
        50, abs=1.5
    )


def test_cuts_never_cross_and_an_empty_class_is_one_sentence() -> None:
    known = KnownAges((0, 1, 2), None)
    years = np.array([40.0, 41, 10, 11, 30, 31])
    cuts = fit_cuts(known, years, np.array([0, 0, 1, 1, 2, 2])).cuts
    assert cuts is not None and list(cuts) == sorted(cuts)
    with pytest.raises(DiffInfError, match="no picture to fit its ages to"):
        fit_cuts(known, years, np.array([0, 0, 1, 1, 1, 1]))
