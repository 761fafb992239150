"""The table of samples: every filter and order against plain pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from diffinf_core.data.part import open_training
from diffinf_core.influence.stage import ranking
from diffinf_core.records import Decision, DiffInfError
from diffinf_core.report.explore import (
    STATES,
    Samples,
    View,
    disagreement,
    positions,
    read_samples,
    states,
)
from diffinf_core.runs.run import Run


def made_up(n: int = 60) -> Samples:
    draw = np.random.default_rng(0)
    score = draw.integers(0, 20, n).astype(float)  # with ties
    order = np.argsort(-score, kind="stable")
    rank = np.empty(n, int)
    rank[order] = np.arange(1, n + 1)
    labels = draw.choice(["happy", "sad"], n)
    table = pd.DataFrame(
        {
            "file": [f"Dir{i % 3}/Face{i:03d}.PNG" for i in range(n)],
            "label": labels,
            "id": [f"{i:012x}" for i in range(n)],
            "score": score,
            "rank": rank,
            "high": rank <= 6,
        }
    )
    scores = pd.DataFrame({"aum": draw.normal(size=n), "el2n": score})
    groups = pd.DataFrame({"label": labels, "sex": draw.choice(["f", "m", ""], n)})
    return Samples(table, scores, groups)


SAMPLES = made_up()
DECIDED = {
    SAMPLES.table["id"][i]: Decision(SAMPLES.table["id"][i], action, "me", "now")
    for i, action in ((3, "accept"), (7, "drop"), (8, "drop"), (9, "second_look"))
}
T = SAMPLES.table


@pytest.mark.parametrize(
    "view,keep",
    [
        (View(), T["rank"] > 0),
        (View(label="sad"), T["label"] == "sad"),
        (View(group=("sex", "")), SAMPLES.groups["sex"] == ""),
        (View(text="dir1/FACE0"), T["file"].str.startswith("Dir1/Face0")),
        (View(text="."), T["rank"] > 0),
        (View(text="nowhere"), T["rank"] < 0),
        (View(high=True), T["high"]),
        (View(high=False), ~T["high"]),
        (View(state="drop"), T.index.isin([7, 8])),
        (View(state="undecided"), ~T.index.isin([3, 7, 8, 9])),
        (View(ids=frozenset(T["id"][:5])), T.index < 5),
        (View(ids=frozenset()), T["rank"] < 0),
        (View(label="happy", high=False, text="7"),
         (T["label"] == "happy") & ~T["high"] & T["file"].str.contains("7")),
    ],
)  # fmt: skip
def test_filters(view: View, keep: pd.Series) -> None:
    found = positions(SAMPLES, DECIDED, view)
    assert found.tolist() == T[keep].sort_values("rank").index.tolist()


@pytest.mark.parametrize("sort", SAMPLES.sorts)
@pytest.mark.parametrize("descending", [False, True])
def test_every_order_breaks_ties_by_rank(sort: str, descending: bool) -> None:
    found = positions(SAMPLES, {}, View(sort=sort, descending=descending))
    both = T.assign(**{n: SAMPLES.scores[n] for n in SAMPLES.scores})
    expected = both.sort_values("rank").sort_values(sort, ascending=not descending, kind="stable")
    assert found.tolist() == expected.index.tolist()


def test_what_cannot_be_asked_is_said() -> None:
    for view, words in (
        (View(sort="beauty"), "sorted by 'beauty'"),
        (View(group=("height", "2")), "no column 'height'"),
        (View(state="asleep"), "Unknown state 'asleep'"),
    ):
        with pytest.raises(DiffInfError, match=words):
            positions(SAMPLES, {}, view)


def test_states_are_the_standing_decisions() -> None:
    found = states(SAMPLES, DECIDED)
    assert found.dtype == np.uint8
    assert [STATES[i] for i in found[[0, 3, 7, 9]]] == [
        "undecided",
        "accept",
        "drop",
        "second_look",
    ]
    assert (found > 0).sum() == 4


def test_scores_disagree_where_one_calls_high_and_the_other_does_not() -> None:
    table = pd.DataFrame({"id": list("abcdefghij")})
    # b is first by one score and last by the other, a the first of both, c second and third
    scores = pd.DataFrame(
        {"mean_loss": [10.0, 9, 8, 7, 6, 5, 4, 3, 2, 1], "aum": [10.0, 1, 8, 9, 6, 5, 4, 3, 2, 1.5]}
    )
    samples = Samples(table, scores, pd.DataFrame())
    found = disagreement(samples, "mean_loss", "aum", 30)
    assert found.to_numpy().tolist() == [[1, 2, 10]]
    assert disagreement(samples, "aum", "mean_loss", 30).to_numpy().tolist() == [[3, 2, 4]]
    assert disagreement(samples, "aum", "aum", 30).empty
    with pytest.raises(DiffInfError, match="'three' is not computed"):
        disagreement(samples, "aum", "three", 30)


def test_a_run_is_read_as_it_is(ranked: Run) -> None:
    samples, train, table = read_samples(ranked), open_training(ranked), ranking(ranked)
    assert samples.table["id"].tolist() == train.ids.tolist()
    assert samples.table["label"].tolist() == [train.classes[i] for i in train.labels]
    for name in ("score", "rank", "high"):
        np.testing.assert_array_equal(samples.table[name], table[name])
    assert samples.file(train.ids[3]) == train.sample(3).file
    with pytest.raises(DiffInfError, match="no training sample 'x'"):
        samples.file("x")
    assert list(samples.groups) == ["label"] and "aum" in samples.scores
