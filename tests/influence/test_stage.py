"""The ranking: what each score is, who is called high, and what another tau leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from math import floor

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from diffinf_core.classifier.stage import CLASSIFIER, load_snapshot
from diffinf_core.config import SIGNALS, InfluenceConfig
from diffinf_core.data.part import open_training
from diffinf_core.data.truth import open_truth
from diffinf_core.influence.checkpoints import checkpoint_epochs
from diffinf_core.influence.estimators import high_influence_count, top_tau
from diffinf_core.influence.gradients import GradientNorms
from diffinf_core.influence.scoring import Scorer
from diffinf_core.influence.stage import INFLUENCE, ranking, read_scores
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import write_table
from diffinf_core.runs.run import Run
from tests.influence.runs import with_influence

# ---------------------------------------------------------------- how many, and who


@settings(max_examples=200)
@given(n=st.integers(1, 5000), tenths=st.integers(1, 1000))
def test_the_count_is_tau_per_cent_rounded_half_up_and_at_least_one(n: int, tenths: int) -> None:
    exact = Fraction(tenths * n, 1000)
    found = high_influence_count(n, tenths / 10)
    allowed = {max(1, floor(exact + Fraction(1, 2)))}
    if exact % 1 == Fraction(1, 2):  # a tie may fall either way in binary arithmetic
        allowed.add(max(1, floor(exact)))
    assert found in allowed and found <= n


@pytest.mark.parametrize(
    "n,tau,count", [(1000, 10, 100), (105, 10, 11), (104, 10, 10), (3, 10, 1), (7, 100, 7)]
)
def test_the_count_of_known_cases(n: int, tau: float, count: int) -> None:
    assert high_influence_count(n, tau) == count


@settings(max_examples=100)
@given(scores=st.lists(st.integers(-3, 3), min_size=1, max_size=40), tau=st.floats(0.1, 100))
def test_the_top_goes_by_falling_score_and_ties_by_position(scores: list[int], tau: float) -> None:
    found = top_tau(np.array(scores, float), tau)
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    assert found.tolist() == order[: high_influence_count(len(scores), tau)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_is_refused_by_position(bad: float) -> None:
    with pytest.raises(DiffInfError, match="position 2 is not finite"):
        top_tau(np.array([1.0, 2, bad, 3]), 10)


# ---------------------------------------------------------------- the scores


def test_scores_stand_in_training_order_with_one_column_per_signal(ranked: Run) -> None:
    table = read_scores(ranked)
    assert list(table) == ["id", *SIGNALS]
    assert list(table["id"]) == list(open_training(ranked).ids)
    assert np.isfinite(table[list(SIGNALS)].to_numpy()).all()
    assert (table[["self_influence", "last_layer", "mean_loss", "el2n", "forgetting"]] >= 0).all(
        None
    )
    assert (table["self_influence"] >= table["last_layer"] * (1 - 1e-4)).all()


def test_self_influence_is_the_sum_of_eta_times_the_squared_gradient(ranked: Run) -> None:
    train, table = open_training(ranked), read_scores(ranked)
    assert checkpoint_epochs(ranked) == [1, 2, 3, 4]
    for at in (0, 17, len(train) - 1):
        full = last = 0.0
        for epoch in (1, 2, 3, 4):
            net, eta = load_snapshot(ranked, epoch)
            assert eta == ranked.config.classifier.learning_rate
            parameters = dict(net.named_parameters())
            for p in parameters.values():
                p.requires_grad_(True)
            y = torch.tensor([int(train.labels[at])])
            loss = F.cross_entropy(net(train.tensors([at])), y)
            grads = torch.autograd.grad(loss, list(parameters.values()))
            for name, g in zip(parameters, grads, strict=True):
                square = float(g.double().square().sum())
                full += eta * square
                last += eta * square * name.startswith("output")
        assert table["self_influence"][at] == pytest.approx(full, rel=1e-3)
        assert table["last_layer"][at] == pytest.approx(last, rel=1e-3)


def test_the_last_layer_is_the_same_whether_tapped_or_computed(
    ranked: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, rows = open_training(ranked), np.arange(20)
    snapshots = [load_snapshot(ranked, e) for e in (1, 4)]
    with Scorer(snapshots) as scorer:
        tapped = scorer(train, rows, 8)
        assert scorer.fallback is None
    monkeypatch.setattr(GradientNorms, "_agrees", lambda *_: False)
    with Scorer(snapshots) as scorer:
        computed = scorer(train, rows, 8)
        assert scorer.fallback is not None
    np.testing.assert_allclose(tapped, computed, rtol=2e-3)
    assert (tapped[:, :, 1] < tapped[:, :, 0]).all() and (tapped[:, :, 1] > 0).all()


def test_logged_signals_are_means_over_the_epochs_with_high_as_suspicious(ranked: Run) -> None:
    table = read_scores(ranked)
    logged = np.load(CLASSIFIER.folder(ranked) / "signals.npy").astype(float)
    for name, column, sign in (("mean_loss", 0, 1), ("aum", 1, -1), ("el2n", 2, 1)):
        np.testing.assert_allclose(table[name], sign * logged[:, :, column].mean(0), rtol=1e-5)


def test_logged_signals_rank_wrong_labels_above_right_ones(ranked: Run) -> None:
    """A sign turned round would put them below. On so small a set gradients are less telling."""
    truth = open_truth(ranked, "benchmark").training()
    assert truth is not None
    table = read_scores(ranked)
    for name in ("mean_loss", "aum", "el2n", "last_layer"):
        wrong, right = table.loc[truth[1], name], table.loc[~truth[1], name]
        above = (wrong.to_numpy()[:, None] > right.to_numpy()).mean()
        assert above > 0.8, f"{name}: {above:.2f}"


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_the_batch_size_does_not_matter(ranked: Run, batch: int) -> None:
    train = open_training(ranked)
    snapshots = [load_snapshot(ranked, e) for e in (2, 4)]
    some = np.array([3, 0, 11, 20, 8, 40, 41, 2])
    with Scorer(snapshots) as scorer:
        found = scorer(train, some, batch)
        known = np.concatenate([scorer(train, some[i : i + 1], 4) for i in range(8)])
        assert scorer.fallback is None
    assert found.shape == (8, 2, 2)
    np.testing.assert_allclose(found, known, rtol=2e-3)
    assert len(set(found[:, 0, 0])) == len(some)


# ---------------------------------------------------------------- the ranking


def test_the_ranking_has_its_columns_and_rank_one_is_the_most_suspicious(ranked: Run) -> None:
    table = ranking(ranked)
    assert list(table) == ["id", "score", "rank", "percentile", "high"]
    n = len(table)
    assert list(table["id"]) == list(open_training(ranked).ids)
    assert sorted(table["rank"]) == list(range(1, n + 1))
    by_rank = table.sort_values("rank")
    assert by_rank["score"].is_monotonic_decreasing
    assert by_rank["percentile"].is_monotonic_decreasing
    assert table["percentile"].max() == 100 and table["percentile"].min() > 0
    k = floor(n / 10 + 0.5)
    assert table["high"].dtype == bool and table["high"].sum() == k
    assert (table["high"] == (table["rank"] <= k)).all()


@pytest.mark.parametrize("name", SIGNALS)
def test_any_signal_can_be_ranked_by(ranked: Run, name: str) -> None:
    scores = read_scores(ranked)[name]
    found = ranking(with_influence(ranked, estimator=name))
    np.testing.assert_array_equal(found["score"], scores)
    assert found.loc[found["rank"] == 1, "score"].item() == scores.max()
    given_here = ranking(ranked, InfluenceConfig(estimator=name))
    pd.testing.assert_frame_equal(given_here, found)


def test_ties_keep_the_order_of_the_training_set(copy: Callable[[], Run]) -> None:
    run = copy()
    table = read_scores(run)
    table["self_influence"] = np.where(np.arange(len(table)) % 2 == 0, 1.0, 2.0)
    write_table(INFLUENCE.folder(run) / "scores.csv", table)
    n = len(table)
    odd, even = np.arange(1, n, 2), np.arange(0, n, 2)
    expected = np.empty(n, int)
    expected[np.concatenate([odd, even])] = np.arange(1, n + 1)
    found = ranking(run)
    assert found["rank"].tolist() == expected.tolist()
    assert np.flatnonzero(found["high"]).tolist() == odd[: found["high"].sum()].tolist()
    assert found["percentile"].nunique() == 2, "equal scores have equal percentiles"


def test_another_tau_keeps_scores_and_ranks_and_only_widens_the_high_set(ranked: Run) -> None:
    file = INFLUENCE.folder(ranked) / "scores.csv"
    before = (file.stat().st_mtime_ns, file.read_bytes())
    tables = []
    for tau in (5.0, 10.0, 30.0, 100.0):
        run = with_influence(ranked, tau=tau)
        assert INFLUENCE.folder(run).path == INFLUENCE.folder(ranked).path
        assert INFLUENCE.folder(run).done
        tables.append(ranking(run))
    for narrow, wide in pairwise(tables):
        pd.testing.assert_frame_equal(narrow.drop(columns="high"), wide.drop(columns="high"))
        assert (wide["high"] | ~narrow["high"]).all() and wide["high"].sum() > narrow["high"].sum()
    assert tables[-1]["high"].all()
    assert (file.stat().st_mtime_ns, file.read_bytes()) == before
