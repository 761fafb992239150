"""Worst group and equal opportunity, by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from diffinf_core.experiments.differences import measure, tabulate
from diffinf_core.experiments.fairness import by_group, cells, changed_groups, group_figures
from tests.arms import predictions


def hits(right: list[int], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Probabilities (N, 2) of a network that is right where asked."""
    predicted = np.where(right, labels, 1 - labels)
    return np.eye(2)[predicted]


def test_worst_group_and_gap_by_hand() -> None:
    """Two groups of four, two classes: recalls (1, 1/2) in one and (1/2, 0) in the other."""
    labels = np.array([0, 0, 1, 1] * 2)
    a = np.arange(8) < 4
    p = np.stack([hits([1, 1, 1, 0, 1, 0, 0, 0], labels), hits([1] * 8, labels)])
    found = group_figures(labels, p, {("by sex", "f"): a, ("by sex", "m"): ~a}, fewest=2)
    assert found is not None and found.worst_group == "sex = m"
    # seed 0: accuracies 3/4 and 1/4, recall gaps 1/2 and 1/2; seed 1: all right
    assert found.worst == pytest.approx((0.25 + 1) / 2) and found.gap == pytest.approx(0.25)
    assert found.worst_sd == pytest.approx(np.std([0.25, 1], ddof=1))
    assert found.gap_sd == pytest.approx(np.std([0.5, 0], ddof=1))
    alone = group_figures(labels, p[:1], {("by sex", "f"): a, ("by sex", "m"): ~a}, fewest=2)
    assert alone is not None and alone.worst_sd is None and alone.gap == pytest.approx(0.5)


def test_columns_are_not_mixed_and_small_cells_are_left_out() -> None:
    labels = np.array([0, 0, 1, 1] * 2)
    a = np.arange(8) < 4
    p = hits([1, 1, 1, 1, 0, 0, 0, 0], labels)[None]
    # one group of each of two columns: nothing to compare, though their recalls differ
    found = group_figures(labels, p, {("by sex", "f"): a, ("by age", "old"): ~a}, fewest=2)
    assert found is not None and found.gap is None and found.worst == 0
    # every group is large enough, no cell of group and class is
    few = group_figures(labels, p, {("by sex", "f"): a, ("by sex", "m"): ~a}, fewest=3)
    assert few is not None and few.gap is None
    assert group_figures(labels, p, {("by sex", "f"): a}, fewest=5) is None
    assert group_figures(labels, p, {}) is None


def test_cells_are_the_classes_of_a_group_with_enough_pictures() -> None:
    labels = np.array([0, 0, 1, 1, 1, 0])
    f = np.array([1, 1, 1, 0, 0, 0], bool)
    found = cells({("by sex", "f"): f, ("by sex", "m"): ~f}, labels, ("x", "y"), fewest=2)
    assert list(found) == [("within sex", "f, x"), ("within sex", "m, y")]
    np.testing.assert_array_equal(found["within sex", "m, y"], ~f & (labels == 1))
    assert cells({("by by", "f"): f}, labels, ("x",), 1).keys() == {("within by", "f, x")}


def test_rows_by_group_are_the_tables_and_changes_are_beyond_chance() -> None:
    labels, f = np.arange(400) % 2, np.arange(400) < 200
    right = {"noisy": np.arange(400) % 4 > 0, "ours": np.where(f, True, np.arange(400) % 4 > 0)}
    p = {k: predictions(labels, 2, r)[None] for k, r in right.items()}
    groups = {("by sex", "f"): f, ("by sex", "m"): ~f}
    table = tabulate(measure(labels, p, "xy", groups), "noisy")
    rows = by_group(table)
    assert [(r["section"], r["name"]) for r in rows["ours"]] == [
        ("metric", "accuracy"), ("by sex", "f"), ("by sex", "m"),
    ]  # fmt: skip
    assert rows["noisy"][1]["difference"] is None and rows["ours"][1]["difference"] == 0.25
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert changed_groups(table)["name"].tolist() == ["f"]
    assert by_group(tabulate(measure(labels, p, "xy"), "noisy")) == {}
