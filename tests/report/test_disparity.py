"""Groups that are picked more than their part: the exact test by hand, planted unfairness, and none."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

from diffinf_core.records import Decision
from diffinf_core.report.disparity import Measure, disparities, in_words, measures
from diffinf_core.report.explore import Samples

Flags = np.ndarray


def picked(taken: Flags, among: Flags | None = None) -> list[Measure]:
    """One measure of some pictures."""
    every = np.ones(len(taken), bool)
    return [Measure("pictures", "edited pictures", every if among is None else among, taken)]


def test_the_test_is_a_count_of_every_pick_and_the_interval_is_exact() -> None:
    group, taken = np.array(list("aaabbbbb")), np.array([1, 1, 0, 1, 0, 0, 0, 0], bool)
    found = disparities(picked(taken), pd.DataFrame({"g": group})).set_index("value")
    every = [np.isin(range(8), c) for c in combinations(range(8), 3)]
    for value, k in (("a", 2), ("b", 1)):
        at_least = [(pick & (group == value)).sum() >= k for pick in every]
        assert found.loc[value, "p"] == pytest.approx(np.mean(at_least))
        assert found.loc[value, "k"] == k and found.loc[value, "n_picked"] == 3
        low, high = beta.ppf(0.025, k, 4 - k), beta.ppf(0.975, k + 1, 3 - k)
        assert found.loc[value, ["low", "high"]].tolist() == pytest.approx([low, high])
    assert found.loc["a", "adjusted"] == pytest.approx(2 * found.loc["a", "p"])


def test_who_could_not_be_picked_does_not_count() -> None:
    group = pd.DataFrame({"g": list("aabbcc")})
    among = np.array([1, 1, 1, 1, 0, 0], bool)
    found = disparities(picked(np.array([1, 0, 0, 0, 0, 0], bool), among), group)
    assert found["value"].tolist() == ["a", "b"] and set(found["n_whole"]) == {4}
    for nothing in (np.zeros(6, bool), np.ones(6, bool)):
        assert disparities(picked(nothing), group).empty
    assert in_words(disparities(picked(np.zeros(6, bool)), group), {}) == []
    assert disparities(picked(np.eye(6, dtype=bool)[0]), pd.DataFrame(index=range(6))).empty


def problem(seed: int, rates: dict[str, float], n: int = 800) -> tuple[pd.DataFrame, Flags, Flags]:
    """Groups, wrong labels at a rate per value of "sex", and the pictures that a fair ranking puts on top."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], n, p=[0.4, 0.6])
    groups = pd.DataFrame({"sex": sex, "skin": rng.choice(["1", "2", "3"], n)})
    wrong = rng.random(n) < pd.Series(sex).map(rates).to_numpy()
    score = rng.normal(size=n) + 2 * wrong
    return groups, wrong, score.argsort().argsort() >= 0.8 * n


@pytest.mark.parametrize("seed", range(10))
def test_a_group_whose_labels_were_flipped_more_is_edited_more_and_named(seed: int) -> None:
    groups, wrong, taken = problem(seed, {"f": 0.4, "m": 0.05})
    f = (groups["sex"] == "f").to_numpy()
    rates = {("sex", "f"): (wrong[f].mean(), wrong[~f].mean())}
    (said,) = in_words(disparities(picked(taken), groups), rates)
    assert said.startswith("More frequent among edited pictures than among pictures: sex = f (")
    assert f"{(taken & f).sum() / taken.sum():.0%} of {taken.sum()}, 95 % interval " in said
    assert f"against {f.mean():.0%} of 800; {wrong[f].mean():.0%} of its labels are wrong" in said
    assert "sex = m" not in said and said.endswith("Holm-corrected for 5 groups and measures.")


def test_even_noise_raises_an_alarm_as_rarely_as_is_promised() -> None:
    """At most 5 % of runs; of 200, 17 or fewer but with probability 0.01."""
    alarms = 0
    for seed in range(200):
        groups, _, taken = problem(seed, {"f": 0.2, "m": 0.2})
        alarms += bool(in_words(disparities(picked(taken), groups), {}))
    assert alarms <= 17


def ranked(sex: Flags, high: Flags) -> Samples:
    """Samples of a ranked run."""
    n = len(sex)
    table = pd.DataFrame({"id": [f"s{i}" for i in range(n)], "high": high})
    groups = pd.DataFrame({"label": ["x", "y"] * (n // 2), "sex": sex})
    return Samples(table, pd.DataFrame(), groups)


def test_reviewers_who_refuse_the_edits_of_one_group_are_named() -> None:
    n = 400
    sex, high = np.where(np.arange(n) < 200, "f", "m"), np.arange(n) % 2 == 0
    decisions = {}
    for i in np.flatnonzero(high):
        bad = i % 8 == 0 if sex[i] == "m" else i % 8 != 0
        decisions[f"s{i}"] = Decision(f"s{i}", "reject" if bad else "accept", "ann", "now")
    decisions["s1"] = Decision("s1", "drop", "ann", "now")
    samples = ranked(sex, high)
    found = measures(samples, high, decisions)
    assert [m.picked for m in found] == [
        "edited pictures", "edits that are not accepted", "dropped pictures", "relabelled pictures",
    ]  # fmt: skip
    assert [int(m.among.sum()) for m in found] == [400, 200, 400, 400]
    assert [int(m.taken.sum()) for m in found] == [200, 100, 1, 0]
    (said,) = in_words(disparities(found, samples.groups.drop(columns="label")), {})
    assert said.startswith(
        "More frequent among edits that are not accepted than among decided edits: "
    )
    assert "sex = f (75% of 100, " in said and "against 50% of 200; p = " in said
    before = measures(samples, None, {})
    assert before[0].picked == "high-influence pictures"
    np.testing.assert_array_equal(before[0].taken, high)
