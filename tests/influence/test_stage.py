"""The ranking: what each score is, who is called high, and what another tau leaves alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from diffinf_core.classifier.network import build_classifier
from diffinf_core.classifier.stage import classifier_stage, load_snapshot, run_classifier
from diffinf_core.config import ON_REQUEST, SIGNALS, InfluenceConfig
from diffinf_core.data.evaluation import training_truth
from diffinf_core.data.training import open_training
from diffinf_core.influence import confidence, slices
from diffinf_core.influence import stage as module
from diffinf_core.influence.checkpoints import checkpoint_epochs, last_useful_epoch
from diffinf_core.influence.confidence import confidence_stage
from diffinf_core.influence.estimators import high_influence_count, top_tau
from diffinf_core.influence.gradients import GradientNorms
from diffinf_core.influence.stage import (
    Scorer,
    curvature_stage,
    gradients_stage,
    influence_stage,
    ranking,
    read_scores,
    run_influence,
    run_request,
)
from diffinf_core.records import DiffInfError
from diffinf_core.store import (
    Run,
    StageFolder,
    read_tensors,
    write_json,
    write_table,
    write_tensors,
)


def with_influence(run: Run, **over: Any) -> Run:
    """The same folder under another influence configuration."""
    influence = run.config.influence.model_copy(update=over)
    return Run(run.root, run.config.model_copy(update={"influence": influence}))


def forget(run: Run, size: int = 64) -> None:
    """Take back every score, and score in small passes from now on."""
    shutil.rmtree(influence_stage(run).path)
    shutil.rmtree(gradients_stage(run).path)
    plan = {"slice_size": size, "batch_size": 16}
    write_json(gradients_stage(run) / "plan.json", plan)


# ---------------------------------------------------------------- how many, and who


@settings(max_examples=200, deadline=None)
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


@settings(max_examples=100, deadline=None)
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
    logged = np.load(classifier_stage(ranked) / "signals.npy").astype(float)
    for name, column, sign in (("mean_loss", 0, 1), ("aum", 1, -1), ("el2n", 2, 1)):
        np.testing.assert_allclose(table[name], sign * logged[:, :, column].mean(0), rtol=1e-5)


def test_logged_signals_rank_wrong_labels_above_right_ones(ranked: Run) -> None:
    """A sign turned round would put them below. On so small a set gradients are less telling."""
    truth = training_truth(ranked)
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
    write_table(influence_stage(run) / "scores.csv", table)
    n = len(table)
    odd, even = np.arange(1, n, 2), np.arange(0, n, 2)
    expected = np.empty(n, int)
    expected[np.concatenate([odd, even])] = np.arange(1, n + 1)
    found = ranking(run)
    assert found["rank"].tolist() == expected.tolist()
    assert np.flatnonzero(found["high"]).tolist() == odd[: found["high"].sum()].tolist()
    assert found["percentile"].nunique() == 2, "equal scores have equal percentiles"


def test_another_tau_keeps_scores_and_ranks_and_only_widens_the_high_set(ranked: Run) -> None:
    file = influence_stage(ranked) / "scores.csv"
    before = (file.stat().st_mtime_ns, file.read_bytes())
    tables = []
    for tau in (5.0, 10.0, 30.0, 100.0):
        run = with_influence(ranked, tau=tau)
        assert influence_stage(run).path == influence_stage(ranked).path
        assert influence_stage(run).done
        tables.append(ranking(run))
    for narrow, wide in pairwise(tables):
        pd.testing.assert_frame_equal(narrow.drop(columns="high"), wide.drop(columns="high"))
        assert (wide["high"] | ~narrow["high"]).all() and wide["high"].sum() > narrow["high"].sum()
    assert tables[-1]["high"].all()
    assert (file.stat().st_mtime_ns, file.read_bytes()) == before


# ---------------------------------------------------------------- checkpoints


@pytest.mark.parametrize(
    "losses,epochs",
    [([4, 3, 2, 1], [1, 2, 3, 4]), ([4, 3, 1, 2], [1, 2, 3]), ([1, 2, 3, 4], [1, 2]),
     ([2, 1, 1, 3], [1, 2])],
)  # fmt: skip
def test_the_early_rule_stops_at_the_lowest_validation_loss(
    copy: Callable[[], Run], losses: list[float], epochs: list[int]
) -> None:
    run = with_influence(copy(), checkpoint_rule="early")
    history = [{"epoch": i + 1, "val_loss": value} for i, value in enumerate(losses)]
    write_json(classifier_stage(run) / "history.json", history)
    assert checkpoint_epochs(run) == epochs
    assert checkpoint_epochs(with_influence(run, checkpoint_rule="all")) == [1, 2, 3, 4]


def test_the_early_rule_has_scores_of_its_own(copy: Callable[[], Run]) -> None:
    run = with_influence(copy(), checkpoint_rule="early")
    history = [{"epoch": i + 1, "val_loss": v} for i, v in enumerate([2, 1, 3, 4])]
    write_json(classifier_stage(run) / "history.json", history)
    everything = read_scores(with_influence(run, checkpoint_rule="all"))
    with pytest.raises(DiffInfError, match="not ranked yet"):
        read_scores(run)
    for _ in run_influence(run):
        pass
    early = read_scores(run)
    assert influence_stage(run).figures["checkpoint_epochs"] == [1, 2]
    assert (early["self_influence"] < everything["self_influence"]).all()
    logged = np.load(classifier_stage(run) / "signals.npy").astype(float)
    np.testing.assert_allclose(early["mean_loss"], logged[:2, :, 0].mean(0), rtol=1e-5)


# ---------------------------------------------------------------- slices


def test_a_stopped_scoring_goes_on_with_the_next_slice(
    copy: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE", 32)
    scored: list[int] = []
    terms = Scorer.__call__

    def counting(self: Scorer, train: Any, positions: np.ndarray, batch: int) -> np.ndarray:
        scored.append(int(positions[0]))
        return terms(self, train, positions, batch)

    monkeypatch.setattr(Scorer, "__call__", counting)
    whole, cut = copy("whole"), copy("cut")
    for run in (whole, cut):
        forget(run, 32)
    n = len(open_training(cut))
    assert n > 64
    events = run_influence(cut)
    assert [next(events).done for _ in range(3)] == [0, 32, 64]
    events.close()
    assert not influence_stage(cut).done
    scored.clear()
    again = run_influence(cut)
    assert next(again).done == 64, "what is there is one event, so that it does not pass for speed"
    for _ in again:
        pass
    assert scored == list(range(64, n, 32))
    for _ in run_influence(whole):
        pass
    files = [(influence_stage(r) / "scores.csv").read_bytes() for r in (whole, cut)]
    assert files[0] == files[1]


def test_slices_give_the_scores_of_one_piece(ranked: Run, copy: Callable[[], Run]) -> None:
    run = copy()
    forget(run, 50)
    for _ in run_influence(run):
        pass
    found, known = read_scores(run), read_scores(ranked)
    pd.testing.assert_frame_equal(found, known, rtol=2e-3)


# ---------------------------------------------------------------- which checkpoints


@pytest.mark.parametrize(
    "train,val,epoch",
    [
        ([0.3, 0.5, 0.6, 0.7], [0.3, 0.5, 0.6, 0.7], 4),  # fits no better than it generalises
        ([0.3, 0.5, 0.7, 0.9], [0.3, 0.5, 0.6, 0.6], 2),
        ([0.3, 0.5, 0.9, 0.6], [0.3, 0.5, 0.6, 0.6], 2),  # once is enough
        ([0.9, 0.9, 0.9, 0.9], [0.3, 0.5, 0.6, 0.6], 0),
    ],
)
def test_the_agreement_rule_stops_where_the_fit_outruns_validation(
    train: list[float], val: list[float], epoch: int
) -> None:
    curve = [
        {"epoch": i + 1, "train_agreement": t, "val_accuracy": v, "val_loss": 1.0}
        for i, (t, v) in enumerate(zip(train, val, strict=True))
    ]
    assert last_useful_epoch(curve, "agreement") == epoch
    assert last_useful_epoch(curve, "all") == 4


def test_the_agreement_rule_keeps_two_checkpoints_at_least(copy: Callable[[], Run]) -> None:
    run = with_influence(copy(), checkpoint_rule="agreement")
    history = [{"epoch": e, "train_agreement": 1.0, "val_accuracy": 0.0} for e in (1, 2, 3, 4)]
    write_json(classifier_stage(run) / "history.json", history)
    assert checkpoint_epochs(run) == [1, 2]


# ---------------------------------------------------------------- batches that fit


class Wide(torch.nn.Module):
    """Keeps its input of 1000 doubles for the way back."""

    def __init__(self) -> None:
        super().__init__()
        self.out = torch.nn.Linear(1000, 3).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x.exp())


def test_the_memory_of_a_sample_is_counted_without_the_weights() -> None:
    net, x = Wide(), torch.randn(4, 1000).double()
    kept = slices.bytes_per_sample(net, x)
    assert 8000 <= kept < 12000, "exp keeps its result; the weight of 24 kB is not a sample's"


@pytest.mark.parametrize("free,batch", [(10**12, 64), (40 * 2 * 9000, 8), (1, 1)])
def test_the_batch_is_a_power_of_two_that_fits(
    monkeypatch: pytest.MonkeyPatch, free: int, batch: int
) -> None:
    monkeypatch.setattr(slices, "free_memory", lambda device: free)
    assert slices.fitting_batch(Wide(), torch.randn(2, 1000).double()) == batch


def test_a_resumed_stage_keeps_its_plan(copy: Callable[[], Run]) -> None:
    stage = gradients_stage(copy())
    (stage / "plan.json").unlink()
    assert slices.stored_plan(stage, 64, lambda: 8) == slices.Plan(64, 8)
    assert slices.stored_plan(stage, 16, lambda: 32) == slices.Plan(64, 8)


def test_a_batch_given_later_goes_before_the_stored_one(
    copy: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ran out of memory can lower it; the slices that are there still fit."""
    run = copy()
    forget(run)
    batches: list[int] = []
    terms = Scorer.terms

    def looking(self: Scorer, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
        batches.append(len(x))
        return terms(self, x, y)

    monkeypatch.setattr(Scorer, "terms", looking)
    for _ in run_influence(with_influence(run, batch_size=5)):
        pass
    assert max(batches) == 5


def test_a_lack_of_memory_is_one_sentence(
    copy: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy()
    forget(run)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Scorer, "terms", full)
    with pytest.raises(DiffInfError, match=r"smaller influence\.batch_size"):
        for _ in run_influence(run):
            pass


@pytest.mark.parametrize(
    "side,checkpoints,size",
    [(64, 10, 64), (128, 10, 64), (256, 10, 16), (256, 100, 1), (32, 1, 64)],
)
def test_a_slice_is_less_the_more_work_a_sample_is(side: int, checkpoints: int, size: int) -> None:
    assert slices.slice_size(side * side, checkpoints) == size


# ---------------------------------------------------------------- on request


def test_scores_on_request_are_computed_once_and_join_the_table(
    copy: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy()
    truth = training_truth(run)
    assert truth is not None
    assert not set(ON_REQUEST) & set(read_scores(run))
    for name in ON_REQUEST:
        asked = with_influence(run, estimator=name, folds=3, curvature_samples=64)
        assert not influence_stage(asked).done
        with pytest.raises(DiffInfError, match="not ranked yet"):
            ranking(asked)
        for _ in run_influence(asked):
            pass
        score = read_scores(asked)[name].to_numpy()
        assert np.isfinite(score).all() and len(np.unique(score)) > len(score) // 2
        above = (score[truth[1]][:, None] > score[~truth[1]]).mean()
        assert above > (0.8 if name == "self_confidence" else 0.55), f"{name}: {above:.2f}"
        np.testing.assert_array_equal(ranking(asked)["score"], score)
    assert influence_stage(run).key == influence_stage(asked).key, "one folder for all of them"
    monkeypatch.setattr(module, "run_confidence", None)
    both = with_influence(
        run, estimator="self_confidence+inverse_curvature", folds=3, curvature_samples=64
    )
    assert influence_stage(both).done, "nothing is trained or scored again"
    assert ranking(both)["score"].between(0, 1).all()


def test_a_stopped_fold_goes_on_and_ends_the_same(copy: Callable[[str], Run]) -> None:
    whole, cut = (
        with_influence(copy(name), estimator="self_confidence", folds=2) for name in ("a", "b")
    )
    for _ in run_request(whole, "self_confidence"):
        pass
    events = run_request(cut, "self_confidence")
    for event in events:
        if "fold 2" in event.note:
            break
    events.close()
    for _ in run_request(cut, "self_confidence"):
        pass
    scores = [np.load(confidence_stage(r) / "score.npy") for r in (whole, cut)]
    np.testing.assert_array_equal(*scores)


def test_an_estimator_that_was_not_asked_for_says_how_to_get_it(ranked: Run) -> None:
    with pytest.raises(DiffInfError, match=r"not computed yet.*--by self_confidence"):
        ranking(ranked, InfluenceConfig(estimator="self_confidence"))


def test_bfloat16_is_another_key_and_close(copy: Callable[[], Run]) -> None:
    run = copy()
    low = with_influence(run, precision="bfloat16")
    assert influence_stage(low).key != influence_stage(run).key
    for _ in run_influence(low):
        pass
    exact, found = read_scores(run)["self_influence"], read_scores(low)["self_influence"]
    error = ((found - exact).abs() / exact).median()
    assert 0 < error < 0.06


def test_a_stopped_curvature_goes_on_and_ends_the_same(
    copy: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SAVE_SECONDS", 0)
    scores = []
    for stop in (0, 2, 5, 8, 12):
        run = with_influence(copy(str(stop)), estimator="inverse_curvature", curvature_samples=64)
        events = run_request(run, "inverse_curvature")
        for _ in range(stop):
            next(events)
        events.close()
        for _ in run_request(run, "inverse_curvature"):
            pass
        scores.append(np.load(curvature_stage(run) / "score.npy"))
    for other in scores[1:]:
        np.testing.assert_array_equal(other, scores[0])


def test_folds_follow_the_rate_of_the_whole_training_and_keep_groups_together(
    copy: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy()
    run = with_influence(run, estimator="self_confidence", folds=2)
    train = open_training(run)
    train.table["person"] = [str(i // 5) for i in range(len(train))]
    folds = train.folds(2, 0, "person")
    assert train.table.groupby("person").apply(lambda t: len(set(folds[t.index]))).max() == 1
    seen: list[Any] = []

    def training(data: Any, classes: int, config: Any, *_: Any, **more: Any) -> Any:
        seen.append((config.epochs, more["stop_after"]))
        raise DiffInfError("enough")

    monkeypatch.setattr(confidence, "train_classifier", training)
    with pytest.raises(DiffInfError, match="enough"):
        for _ in run_request(run, "self_confidence"):
            pass
    assert seen == [(4, 4)]
    with pytest.raises(DiffInfError, match="folds cannot be made"):
        train.folds(1000, 0, None)


def test_a_checkpoint_that_cannot_be_tapped_is_said(
    copy: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy()
    forget(run)
    monkeypatch.setattr(GradientNorms, "_agrees", lambda *_: False)
    notes = [event.note for event in run_influence(run)]
    assert "slow, because the self-check against autograd failed" in notes[-1]
    assert "self-check" in gradients_stage(run).figures["fallback"]


# ---------------------------------------------------------------- what can go wrong


def rescored(run: Run) -> None:
    forget(run)
    for _ in run_influence(run):
        pass


def test_a_gradient_that_is_no_number_names_the_sample(copy: Callable[[], Run]) -> None:
    run = copy()
    file = classifier_stage(run) / "epoch-003.pt"
    state = read_tensors(file)
    state["net"]["output.bias"] = torch.full_like(state["net"]["output.bias"], torch.nan)
    write_tensors(file, state)
    first = str(open_training(run).ids[0])
    with pytest.raises(DiffInfError, match=f"sample '{first}' at checkpoint 3 of 4"):
        rescored(run)
    assert not influence_stage(run).done


def test_a_truncated_checkpoint_is_named(copy: Callable[[], Run]) -> None:
    run = copy()
    file = classifier_stage(run) / "epoch-002.pt"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DiffInfError, match=r"epoch-002\.pt is missing, damaged") as caught:
        rescored(run)
    # what the sentence says to do does help
    folder = classifier_stage(run).path
    assert f"remove the folder {folder} " in str(caught.value)
    shutil.rmtree(folder)
    for stage in (run_classifier, run_influence):
        for _ in stage(run):
            pass
    assert influence_stage(run).done


def test_a_checkpoint_of_another_architecture_is_named(copy: Callable[[], Run]) -> None:
    run = copy()
    file = classifier_stage(run) / "epoch-002.pt"
    other = build_classifier("small", 7).state_dict()
    write_tensors(file, {"net": other, "learning_rate": 1e-3, "epoch": 2})
    with pytest.raises(DiffInfError, match=r"epoch-002\.pt is .* of another network"):
        rescored(run)


def test_pictures_are_read_a_pass_at_a_time_and_the_scores_streamed(tmp_path: Path) -> None:
    """What memory holds does not depend on how many samples there are."""
    train, n = Endless(), 1000
    snapshots = [(build_classifier("small", 3), 1e-3)] * 2
    stage = StageFolder(tmp_path, "key")

    with Scorer(snapshots) as scorer:

        def score(rows: np.ndarray) -> np.ndarray:
            return scorer(train, rows, 16)  # type: ignore[arg-type]

        for event in slices.map_slices(stage, n, 64, score, lambda: "scoring"):
            assert event.total == n
            assert len(list(tmp_path.glob("slice-*.npy"))) == -(-event.done // 64)
    assert train.most == 16 and train.read == n, "every picture once, whatever the checkpoints"
    assert slices.read_slices(stage, n, 64).shape == (n, 2, 2)


class Endless:
    """A training split of any length that draws its pictures when they are read."""

    def __init__(self) -> None:
        self.most = self.read = 0
        self.labels = np.zeros(100_000, np.int64)
        self.ids = np.arange(100_000).astype(str)

    def tensors(self, positions: Any) -> torch.Tensor:
        self.most = max(self.most, len(positions))
        self.read += len(positions)
        draw = torch.Generator().manual_seed(int(positions[0]))
        return torch.randn(len(positions), 3, 32, 32, generator=draw)
