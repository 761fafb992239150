"""Agreement against published worked examples."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from diffinf_core.records import Decision
from diffinf_core.review.agreement import (
    agreement,
    agreement_by_mode,
    cohen_kappa,
    krippendorff_alpha,
    value_of,
)

#: Krippendorff (2011), four observers, twelve units, "." is missing
FOUR = ("1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 .")  # fmt: skip
#: the same paper: two observers of binary data, and of nominal data
MEG, OWEN = "0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0"
BEN, GERRY = "a a b b d c c c e d d a", "b a b b b c c c e d d d"


def units(*observers: str) -> list[list[str]]:
    """Observers' rows to the values of each unit."""
    columns = zip(*(row.split() for row in observers), strict=True)
    return [[v for v in column if v != "."] for column in columns]


@pytest.mark.parametrize(
    "observers,alpha", [(FOUR, 0.743), ((MEG, OWEN), 0.095), ((BEN, GERRY), 0.692)]
)
def test_alpha_of_krippendorffs_examples(observers: tuple[str, ...], alpha: float) -> None:
    found = krippendorff_alpha(units(*observers))
    assert found is not None and round(found, 3) == alpha


def pairs(table: list[list[int]]) -> tuple[list[str], list[str]]:
    """A table of counts to two reviewers' values."""
    a, b = [], []
    for i, row in enumerate(table):
        for j, n in enumerate(row):
            a += [str(i)] * n
            b += [str(j)] * n
    return a, b


@pytest.mark.parametrize(
    "table,kappa",
    [
        ([[20, 5], [10, 15]], 0.40),
        ([[45, 15], [25, 15]], 0.1304),  # the same agreement,
        ([[25, 35], [5, 35]], 0.2593),  # another chance
        # 0.29 seen, 0.35 by chance
        ([[50, 26, 24], [24, 4, 32], [6, 30, 4]], -0.06 / 0.65),
        ([[0, 5], [5, 0]], -1.0),
        ([[3, 0], [0, 4]], 1.0),
    ],
)
def test_kappa_of_worked_examples(table: list[list[int]], kappa: float) -> None:
    assert cohen_kappa(*pairs(table)) == pytest.approx(kappa, abs=5e-5)


VALUES = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1)


@given(VALUES)
def test_kappa_is_scikit_learns(both: list[tuple[str, str]]) -> None:
    a, b = [x for x, _ in both], [y for _, y in both]
    found = cohen_kappa(a, b)
    if len(set(a)) == 1 and set(a) == set(b):
        assert found is None, "nothing but chance could have been seen"
    else:
        assert found == pytest.approx(cohen_kappa_score(a, b), abs=1e-9)


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=4), max_size=12))
def test_alpha_is_one_minus_observed_over_expected_disagreement(values: list[list[str]]) -> None:
    """The definition, pair by pair."""
    paired = [unit for unit in values if len(unit) > 1]
    everything = [v for unit in paired for v in unit]
    n = len(everything)
    expected = sum(a != b for a, b in itertools.permutations(everything, 2))
    observed = sum(
        sum(a != b for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in paired
    )
    found = krippendorff_alpha(values)
    if expected == 0:
        assert found is None
    else:
        assert found == pytest.approx(1 - (n - 1) * observed / expected)


def test_lists_of_other_lengths_are_refused_and_empty_ones_say_nothing() -> None:
    with pytest.raises(ValueError, match="2 and 1"):
        cohen_kappa(["a", "b"], ["a"])
    assert cohen_kappa([], []) is None and krippendorff_alpha([["a"], []]) is None


def opinion(who: str, action: str, label: str | None = None) -> Decision:
    return Decision("s", action, who, "t", "v" if action == "accept" else None, label)


def test_values_are_actions_and_classes() -> None:
    assert value_of(opinion("a", "relabel", "sad")) != value_of(opinion("a", "relabel", "happy"))
    assert value_of(opinion("a", "accept")) == "accept"
    assert value_of(opinion("a", "second_look")) is None


def course(n: int, wrong: int) -> dict[str, dict[str, Decision]]:
    """n samples that two judged, half of them kept; the second differs on the first ones."""
    out = {}
    for i in range(n):
        first = ("keep", "drop")[i % 2]
        second = ("drop", "keep")[i % 2] if i < wrong else first
        out[f"s{i}"] = {"ann": opinion("ann", first), "bob": opinion("bob", second)}
    return out


def test_the_report_counts_what_was_judged_twice() -> None:
    opinions = course(40, 10)
    opinions["lonely"] = {"ann": opinion("ann", "keep")}
    opinions["unsure"] = {"ann": opinion("ann", "keep"), "bob": opinion("bob", "second_look")}
    opinions["s0"]["cem"] = opinion("cem", "keep")
    found: Any = json.loads(json.dumps(agreement(opinions, seed=1)))
    assert found["n"] == 40 and found["reviewers"] == {"ann": 40, "bob": 40, "cem": 1}
    assert [(p["a"], p["b"], p["n"]) for p in found["pairs"]] == [
        ("ann", "bob", 40),
        ("ann", "cem", 1),
        ("bob", "cem", 1),
    ]
    pair = found["pairs"][0]
    assert pair["agree"] == 0.75 and pair["kappa"] == pytest.approx(0.5)
    assert found["low"] < found["alpha"] < found["high"]
    assert agreement(opinions, seed=1) == found and agreement(opinions, seed=2) != found


def test_the_interval_is_as_wide_as_theory_says() -> None:
    """Two values, equally frequent: kappa is 2 p - 1, and p is a share of n."""
    pair = agreement(course(400, 100), resamples=4000)["pairs"][0]
    width = 1.96 * 2 * np.sqrt(0.75 * 0.25 / 400)
    assert pair["low"] == pytest.approx(0.5 - width, abs=0.02)
    assert pair["high"] == pytest.approx(0.5 + width, abs=0.02)


def test_where_nothing_can_be_said_it_is_none() -> None:
    assert agreement({})["alpha"] is None and agreement({})["pairs"] == []
    same = {f"s{i}": {w: opinion(w, "keep") for w in ("a", "b")} for i in range(5)}
    found = agreement(same)
    assert found["n"] == 5 and found["alpha"] is None and found["low"] is None
    assert found["pairs"][0]["agree"] == 1 and found["pairs"][0]["kappa"] is None


def test_what_was_judged_blindly_is_compared_alone() -> None:
    def opinion(sample: str, who: str, action: str, mode: str) -> Decision:
        return Decision(sample, action, who, "", mode=mode)

    table = [("keep", "keep"), ("keep", "drop"), ("drop", "drop"), ("drop", "keep")]
    opinions = {
        f"{mode}{i}": {
            "ann": opinion(f"{mode}{i}", "ann", a, "blind"),
            "bob": opinion(f"{mode}{i}", "bob", b if mode == "blind" else a, mode),
        }
        for mode in ("blind", "open")
        for i, (a, b) in enumerate(table)
    }
    found = agreement_by_mode(opinions)
    assert found["n"] == 8 and found["pairs"][0]["agree"] == 0.75
    assert found["blind"]["n"] == 4 and found["blind"]["pairs"][0]["kappa"] == 0.0
