"""The filters of the Review page."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffinf_core.experiments.comparison import subgroups as compared_subgroups
from diffinf_core.records import ACTIONS, Decision, DiffInfError
from diffinf_core.records import FLAGS as EDIT_FLAGS
from diffinf_core.report.subgroups import subgroup_columns
from diffinf_core.ui.filters import FLAGS, SCORES, SORTS, STATES, Filter, chosen, subgroups


def made(n: int = 40, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    flags = ["", "adversarial", "blurred", "judge disagrees, blurred"]
    table = pd.DataFrame(
        {
            "id": [f"{i:012x}" for i in range(n)],
            "rank": rng.permutation(n) + 1,
            "label": rng.choice(["happy", "sad"], n),
            "flags": rng.choice(flags, n),
            "suggestion": rng.choice(["accept", "keep", "relabel"], n),
            "judge_after": rng.random(n),
            "identity": rng.random(n),
            "perceptual": rng.random(n),
            "by_sex": rng.choice(["f", "m"], n),
        }
    )
    table.loc[0, "identity"] = np.nan
    return table


def decision(sample: str, action: str = "keep", who: str = "ann") -> Decision:
    return Decision(sample, action, who, "2026-01-01T00:00:00+00:00")


def test_the_default_is_what_is_left_most_suspicious_first() -> None:
    table = made()
    decided = {
        table["id"][3]: decision(table["id"][3]),
        table["id"][4]: decision(table["id"][4], "second_look"),
    }
    ids = chosen(table, Filter(), decided)
    by_rank = list(table.sort_values("rank")["id"])
    assert ids == [i for i in by_rank if i != table["id"][3]]


def test_each_filter_keeps_what_it_says() -> None:
    table = made().set_index("id", drop=False)
    for name, column, value in (("label", "label", "sad"), ("suggestion", "suggestion", "relabel")):
        ids = chosen(table, Filter(**{name: value}), {})
        assert len(ids) == (table[column] == value).sum() > 0
        assert set(table.loc[ids, column]) == {value}
    assert set(table.loc[chosen(table, Filter(flag="blurred"), {}), "flags"]) == {
        "blurred",
        "judge disagrees, blurred",
    }
    assert set(table.loc[chosen(table, Filter(flag="unflagged"), {}), "flags"]) == {""}
    assert set(table.loc[chosen(table, Filter(group="sex = f"), {}), "by_sex"]) == {"f"}
    assert subgroups(table) == ["sex = f", "sex = m"]
    table["by_decade"] = [str(10 * (i % 12)) for i in range(len(table))]
    assert subgroups(table)[-12:] == [f"decade = {10 * i}" for i in range(12)], "10 before 100"
    assert chosen(table, Filter(group="nothing = f"), {}) == []
    low = chosen(table, Filter(score="identity", low=0.5, high=0.9), {})
    assert low and table.loc[low, "identity"].between(0.5, 0.9).all()


def test_states_and_reviewers() -> None:
    table = made()
    ids = list(table["id"])
    decided = {
        s: decision(s, a, "ann" if i % 2 else "bob")
        for i, (s, a) in enumerate(zip(ids, ACTIONS, strict=False))
    }
    for i, action in enumerate(ACTIONS):
        assert chosen(table, Filter(state=action), decided) == [ids[i]]
    assert set(chosen(table, Filter(state="decided"), decided)) == set(decided)
    mine = chosen(table, Filter(state="all", reviewer="bob"), decided)
    assert {decided[i].reviewer for i in mine} == {"bob"} and len(mine) == 3
    assert chosen(table, Filter(state="disagreement"), decided, {ids[5]}) == [ids[5]]
    newest = chosen(table, Filter(state="decided", sort="newest decision first"), decided)
    assert newest == list(reversed(decided))


@given(
    wanted=st.builds(
        Filter,
        state=st.sampled_from(list(STATES)),
        label=st.sampled_from(["all", "happy", "sad", "'; drop table journal; --"]),
        flag=st.sampled_from(FLAGS),
        sort=st.sampled_from(list(SORTS)),
        score=st.sampled_from(list(SCORES)),
        low=st.none() | st.floats(0, 1),
        high=st.none() | st.floats(0, 1),
    ),
    seed=st.integers(0, 20),
)
def test_any_filter_gives_some_of_the_ids_once(wanted: Filter, seed: int) -> None:
    table = made(seed=seed)
    rng = np.random.default_rng(seed)
    decided = {
        s: decision(s, ACTIONS[int(rng.integers(6))]) for s in table["id"] if rng.random() < 0.4
    }
    ids = chosen(table, wanted, decided)
    assert len(ids) == len(set(ids)) and set(ids) <= set(table["id"])
    if wanted.state == "to do":
        assert all(i not in decided or decided[i].action == "second_look" for i in ids)


@pytest.mark.parametrize("name", ["state", "flag", "sort", "score"])
@pytest.mark.parametrize("value", ["accepted", "(", "<script>", "", "x' OR 1=1"])
def test_what_is_no_choice_is_refused_with_those_there_are(name: str, value: str) -> None:
    with pytest.raises(DiffInfError, match=f"Unknown {name} .*choose one of"):
        Filter(**{name: value})


@pytest.mark.parametrize("sort", list(SORTS))
def test_every_order_names_a_column_that_a_queue_has(sort: str) -> None:
    from diffinf_core.review.queue import COLUMNS

    column, _ = SORTS[sort]
    assert column == "" or column in COLUMNS


def test_the_ends_of_a_range_are_read_as_numbers_or_refused() -> None:
    others = ("to do", "all", "all", "most suspicious first", "all", "all", "all", "identity")
    assert Filter.asked(*others, "", None) == Filter(score="identity")
    assert Filter.asked(*others, " .5", "1") == Filter(score="identity", low=0.5, high=1.0)
    for bad in ("x", "nan", "1e999", "<b>"):
        with pytest.raises(DiffInfError, match="must be a number"):
            Filter.asked(*others, bad, "")


def test_every_flag_can_be_filtered_by_and_groups_are_those_of_the_report() -> None:
    assert set(EDIT_FLAGS) < set(FLAGS)
    n = 42
    table = pd.DataFrame({"id": range(n), "file": range(n), "label": ["a", "b"] * (n // 2)})
    for count in (1, 2, 20, 21):
        table[f"by_{count}"] = [str(i % count) for i in range(n)]
    columns = ["by_2", "by_20"]
    assert subgroup_columns(table) == ["label", *columns]
    assert {name for name, _ in compared_subgroups(table)} == {
        f"by {c}" for c in ["label", *columns]
    }
    offered = {choice.partition(" = ")[0] for choice in subgroups(table)}
    assert offered == {c.removeprefix("by_") for c in columns}
