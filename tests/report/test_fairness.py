"""The audit of groups: its rows by hand, an edit that harms one group, and chance over many data sets."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from diffinf_core.experiments.fairness import GroupFigures
from diffinf_core.records import Decision
from diffinf_core.report.explore import Samples
from diffinf_core.report.fairness import (
    accuracy_in_words,
    arms_in_words,
    audit,
    harms,
    training_in_words,
    training_rows,
)
from diffinf_core.report.subgroups import wilson
from tests.experiments.test_comparison import comparison

SAMPLES = Samples(
    pd.DataFrame(
        {
            "id": list("abcdef"),
            "score": [1.0, 2, 3, 4, 5, 6],
            "high": [True, False, True, False, False, True],
        }
    ),
    pd.DataFrame(),
    pd.DataFrame({"label": list("xxyyxy"), "sex": ["m", "m", "m", "m", "f", ""]}),
)
EDITED = np.array([True, False, True, False, False, False])
DECISIONS = {
    "a": Decision("a", "accept", "me", "now"),
    "b": Decision("b", "drop", "me", "now"),
    "c": Decision("c", "relabel", "me", "now", new_label="x"),
    "d": Decision("d", "second_look", "me", "now"),
}
WRONG = np.array([True, False, True, False, False, False])


def test_rows_of_groups_and_classes_by_hand() -> None:
    rows = training_rows(SAMPLES, EDITED, DECISIONS, WRONG)
    assert [(r["column"], r["value"], r["class"], r["n"]) for r in rows.to_dict("records")] == [
        ("label", "x", "", 3), ("label", "y", "", 3),
        ("sex", "m", "", 4), ("sex", "m", "x", 2), ("sex", "m", "y", 2),
        ("sex", "(empty)", "", 1), ("sex", "(empty)", "y", 1),
        ("sex", "f", "", 1), ("sex", "f", "x", 1),
    ]  # fmt: skip
    men = rows.iloc[2]
    assert men["wrong"] == wilson(2, 4) and men["flagged"] == wilson(2, 4) == men["edited"]
    assert men["decided"] == 3, "a second look decides nothing"
    assert men["accepted"] == men["dropped"] == men["relabelled"] == wilson(1, 3)
    x, y = rows.iloc[3], rows.iloc[4]
    assert x["accepted"] == wilson(1, 2) == x["dropped"] and x["relabelled"] == wilson(0, 2)
    assert y["decided"] == 1 and y["relabelled"] == wilson(1, 1)
    empty = rows.iloc[5]
    assert empty["wrong"] == wilson(0, 1), "the truth of an empty value, too"
    assert empty["flagged"] == wilson(1, 1) and empty["accepted"] is None


def test_what_nobody_knows_is_no_column() -> None:
    words = training_in_words(training_rows(SAMPLES, None, {}, None))
    assert list(words.columns) == ["of", "pictures", "high-influence"]
    assert words["of"].tolist()[0] == "class: x" and "sex: m, y" in set(words["of"])
    full = training_in_words(training_rows(SAMPLES, EDITED, DECISIONS, WRONG))
    assert list(full.columns)[2:] == [
        "wrong labels", "high-influence", "edited", "decided", "of these accepted", "dropped",
        "relabelled",
    ]  # fmt: skip
    assert full.iloc[2]["wrong labels"].startswith("50 %\n") and full.iloc[7]["dropped"] == "-"


def trained(
    rng: np.random.Generator, groups: dict[str, np.ndarray], change: dict[str, float], spread: float
) -> list[np.ndarray]:
    """What three trainings get right: groups ``change`` their accuracy, and trainings vary by ``spread``."""
    out = []
    for _ in range(3):
        rate = np.full(len(next(iter(groups.values()))), 0.7)
        for name, member in groups.items():
            rate = rate + member * (change.get(name, 0.0) + rng.normal(0, spread))
        out.append(rng.random(len(rate)) < rate)
    return out


def sexes(n: int) -> tuple[np.ndarray, pd.DataFrame, dict[str, np.ndarray]]:
    labels, f = np.arange(n) % 2, np.arange(n) % 3 == 0
    return labels, pd.DataFrame({"sex": np.where(f, "f", "m")}), {"f": f, "m": ~f}


@pytest.mark.parametrize("seed", range(3))
def test_edits_that_harm_one_group_and_help_another_are_named(seed: int) -> None:
    labels, table, groups = sexes(1200)
    rng = np.random.default_rng(seed)
    right = {
        "noisy": trained(rng, groups, {}, 0.01),
        "removal": trained(rng, groups, {"m": 0.02, "f": 0.02}, 0.01),
        "repaired": trained(rng, groups, {"m": 0.25, "f": -0.2}, 0.01),
    }
    c = comparison(right, labels, table)
    found = audit(None, None, pd.DataFrame(), {}, None, c)
    (said,) = found.harms
    assert (
        said.startswith("Repaired helps overall (+") and "but harms pictures with sex f: -" in said
    )
    assert "and helps those with sex m: +" in said and "400 pictures" in said
    assert said.endswith("p after Holm's correction for 4 subgroup comparisons.")
    assert (
        found.arms["repaired"].worst_group == "sex = f" and found.arms["repaired"].gap is not None
    )
    assert found.arms["repaired"].gap > found.arms["noisy"].gap + 0.2  # type: ignore[operator]
    assert set(found.test["section"]) == {"recall", "by sex", "within sex"}
    cell = found.test[(found.test["section"] == "within sex") & (found.test["arm"] == "repaired")]
    assert set(cell["name"]) == {"f, x", "f, y", "m, x", "m, y"}
    assert (cell.set_index("name").loc[["f, x", "f, y"], "high"] < 0).all()
    words = accuracy_in_words(found.test)
    assert "sex: f" in set(words["of"]) and "within sex: f, y" in set(words["of"])
    as_json = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert as_json["harms"] == [said] and as_json["training"] == []


def test_where_trainings_vary_alike_a_group_is_seldom_taken_for_harmed() -> None:
    """At most 5 % of data sets; of 60, 7 or fewer but with probability 0.01."""
    labels, table, groups = sexes(300)
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(100 + seed)
        right = {arm: trained(rng, groups, {}, 0.03) for arm in ("noisy", "repaired")}
        c = comparison(right, labels, table)
        alarms += bool(audit(None, None, pd.DataFrame(), {}, None, c).harms)
    assert alarms <= 7


def test_one_seed_is_said_to_leave_training_out() -> None:
    labels, table, groups = sexes(900)
    rng = np.random.default_rng(0)
    right = {
        arm: trained(rng, groups, change, 0)[:1]
        for arm, change in (("noisy", {}), ("repaired", {"f": -0.3}))
    }
    c = comparison(right, labels, table)
    (said,) = audit(None, None, pd.DataFrame(), {}, None, c).harms
    assert said.startswith("Repaired harms pictures with sex f: -")
    assert said.endswith("With one seed, chance in training is left out.")
    titles = {"repaired": "Our method"}
    assert harms(audit_table(c), titles)[0].startswith("Our method harms")


def audit_table(c):  # type: ignore[no-untyped-def]
    from diffinf_core.experiments.comparison import tidy

    return tidy(c, "noisy")


def test_arms_are_words_with_deviations_where_there_are_any() -> None:
    figures = {
        "noisy": GroupFigures(0.5, 0.01, "sex = f", 0.25, 0.02),
        "repaired": GroupFigures(0.625, None, "sex = m", None, None),
    }
    first, second = arms_in_words(figures).to_numpy().tolist()
    assert first == ["noisy", "sex = f", "50.0 ± 1.0", "25.0 ± 2.0"]
    assert second == ["repaired", "sex = m", "62.5", "-"]


def test_a_run_before_its_ranking_has_an_empty_audit() -> None:
    found = audit(None, None, pd.DataFrame(), {}, None, None)
    assert found.training.empty and found.test.empty and not found.arms
    assert training_in_words(found.training).empty and accuracy_in_words(found.test).empty
    assert json.loads(json.dumps(found.as_dict()))["disparities"] == []
