"""Subgroups: intervals, the permutation test and its correction, against figures that are known."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from diffinf_core.experiments.differences import holm
from diffinf_core.records import Decision
from diffinf_core.report.subgroups import (
    LEAST_EDITS,
    group_table,
    permutation_p,
    shifts,
    subgroup_columns,
    warnings,
    wilson,
)

# ---------------------------------------------------------------- intervals


@settings(max_examples=200)
@given(n=st.integers(1, 5000), data=st.data())
def test_wilsons_interval_is_scipys(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    found = wilson(k, n)
    assert found is not None
    expected = binomtest(k, n).proportion_ci(method="wilson")
    assert found == pytest.approx((k / n, expected.low, expected.high), abs=1e-12)
    assert 0 <= found[1] <= found[0] <= found[2] <= 1


def test_a_share_of_nothing_has_no_interval() -> None:
    assert wilson(0, 0) is None
    assert wilson(0, 7)[1] == 0 and wilson(7, 7)[2] == 1  # type: ignore[index]


# ---------------------------------------------------------------- tests


def exact_p(values: np.ndarray, inside: np.ndarray) -> float:
    """By every way to choose who is inside."""
    n, k = len(values), int(inside.sum())

    def apart(chosen: tuple[int, ...]) -> float:
        rest = np.delete(values, chosen)
        return abs(values[list(chosen)].mean() - rest.mean())

    observed = apart(tuple(np.flatnonzero(inside)))
    every = [apart(c) for c in combinations(range(n), k)]
    return float(np.mean([a >= observed - 1e-12 for a in every]))


@pytest.mark.parametrize("seed", range(4))
def test_p_is_that_of_every_deal(seed: int) -> None:
    draw = np.random.default_rng(seed)
    values = draw.normal(size=10)
    member = np.zeros((10, 2), bool)
    member[:3, 0], member[4:9, 1] = True, True
    found = permutation_p(values, member)
    expected = [exact_p(values, member[:, g]) for g in range(2)]
    # four standard errors of 9,999 draws
    assert found == pytest.approx(expected, abs=0.021)


def test_equal_values_are_no_difference_and_no_p_is_nought() -> None:
    member = np.arange(40)[:, None] < 20
    assert permutation_p(np.full(40, 0.3), member).tolist() == [1]
    far = permutation_p(np.where(member[:, 0], 9.0, 0.0), member)
    assert far.tolist() == [1 / 10_000]


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, 0.9])), [1, 1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(given_p: list[float]) -> None:
    p = np.array(given_p)
    found = holm(p)
    assert (found >= p).all() and (found <= np.minimum(1, len(p) * p) + 1e-12).all()
    assert (np.diff(found[np.argsort(p, kind="stable")]) >= 0).all()


# ---------------------------------------------------------------- tables


def test_columns_with_few_values_are_subgroups() -> None:
    table = pd.DataFrame(
        {
            "id": range(42),
            "file": range(42),
            "label": ["a"] * 42,
            "one": ["x"] * 42,
            "two": ["x", "y"] * 21,
            "twenty": [str(i % 20) for i in range(42)],
            "more": [str(i % 21) for i in range(42)],
        }
    )
    assert subgroup_columns(table) == ["label", "two", "twenty"]


SAMPLES = pd.DataFrame(
    {
        "id": list("abcdef"),
        "score": [1.0, 2, 3, 4, 5, 6],
        "high": [True, False, True, False, False, True],
    }
)
CELLS = pd.Series(["m", "m", "m", "m", "f", "f"], name="sex")


def test_a_group_is_counted() -> None:
    edits = pd.DataFrame(
        {
            "id": ["a", "c", "f"],
            "label": ["x", "x", "y"],
            "judge_class_after": ["x", "y", "y"],
            "identity": [0.9, 0.7, None],
        }
    )
    decisions = {
        "a": Decision("a", "accept", "me", "now"),
        "b": Decision("b", "drop", "me", "now"),
        "c": Decision("c", "accept", "me", "now"),
    }
    found = group_table(CELLS, SAMPLES, edits, decisions)
    assert found["value"].tolist() == ["m", "f"] and found["n"].tolist() == [4, 2]
    men, women = found.to_dict("records")
    assert men["high"] == wilson(2, 4) and women["high"] == wilson(1, 2)
    assert men["mean_score"] == 2.5 and women["mean_score"] == 5.5
    assert men["edited"] == wilson(2, 4) and men["judge_agrees"] == wilson(1, 2)
    assert men["identity"] == pytest.approx(0.8) and pd.isna(women["identity"])
    assert (men["accept"], men["drop"], women["accept"]) == (2, 1, 0)


def test_without_repairs_nothing_is_said_of_edits() -> None:
    found = group_table(CELLS, SAMPLES, None, {})
    assert found[["edited", "judge_agrees", "identity"]].isna().all().all()
    assert found["accept"].tolist() == [0, 0]


def edited(shift: float, n: int = 60, small: int = 20) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Edits of two subgroups, of which the smaller is moved farther by ``shift`` deviations."""
    draw = np.random.default_rng(3)
    group = np.array(["few"] * small + ["many"] * (n - small))
    far = shift * (group == "few")
    edits = pd.DataFrame(
        {"perceptual": 1 + 0.1 * (draw.normal(size=n) + far), "identity": [None] * n}
    )
    return edits, pd.DataFrame({"group": group})


def test_a_subgroup_that_is_moved_farther_is_named_with_its_figures() -> None:
    edits, groups = edited(3)
    found = shifts(edits, groups)
    assert found[["metric", "value", "n"]].to_numpy().tolist() == [
        ["perceptual distance", "few", 20],
        ["perceptual distance", "many", 40],
    ]
    means = edits["perceptual"].groupby(groups["group"]).mean()
    assert found["mean"].tolist() == pytest.approx([means["few"], means["many"]])
    assert found["others"].tolist() == pytest.approx([means["many"], means["few"]])
    (said,) = warnings(found)
    assert said.startswith("By perceptual distance, edits change these more than the others: ")
    few = f"group = few (mean {means['few']:.4g} over 20 edits against {means['many']:.4g}, p = 0.0002)"
    assert few in said and "many (" not in said and "Holm-corrected for 2 tests" in said


def test_nothing_is_said_where_there_is_no_difference() -> None:
    found = shifts(*edited(0))
    assert len(found) == 2 and warnings(found) == []


def test_lower_identity_is_farther() -> None:
    edits, groups = edited(0)
    edits["identity"] = np.where(groups["group"] == "few", 0.6, 0.9)
    found = shifts(edits, groups).set_index(["metric", "value"])["farther"]
    assert found["identity cosine", "few"] and not found["identity cosine", "many"]


@pytest.mark.parametrize("small,tested", [(LEAST_EDITS - 1, 0), (LEAST_EDITS, 2)])
def test_groups_of_too_few_edits_are_not_tested(small: int, tested: int) -> None:
    assert len(shifts(*edited(3, small=small))) == tested


def test_edits_without_an_identity_are_left_out_of_its_test() -> None:
    edits, groups = edited(0)
    edits["identity"] = 0.9
    edits.loc[:29, "identity"] = None
    found = shifts(edits, groups)
    assert set(found["metric"]) == {"perceptual distance"}
