"""The influence predictor: none judges a sample that it saw, and pictures can follow it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from diffinf_core.config import PredictorConfig
from diffinf_core.data.part import open_training
from diffinf_core.data.split import fold_of
from diffinf_core.influence import predictor as module
from diffinf_core.influence.predictor import (
    PREDICTOR,
    CrossFittedPredictor,
    PredictorNet,
    feature_epoch,
    load_predictor,
    train_predictor,
)
from diffinf_core.influence.stage import ranking
from diffinf_core.runs.run import Run


def fitted(run: Run) -> np.ndarray:
    """Fit every fold; the out-of-fold predictions."""
    for _ in PREDICTOR.compute(run):
        pass
    return np.load(PREDICTOR.folder(run) / "out_of_fold.npy")


@pytest.fixture
def run(copy: Callable[[], Run]) -> Run:
    """A ranked run of its own."""
    return copy()


# ---------------------------------------------------------------- folds


@settings(max_examples=100)
@given(n=st.integers(12, 300), folds=st.integers(2, 12), seed=st.integers(0, 2**32))
def test_folds_are_even_and_decided_by_the_seed(n: int, folds: int, seed: int) -> None:
    found = fold_of(n, folds, seed)
    counts = np.bincount(found, minlength=folds)
    assert len(found) == n and len(counts) == folds and counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(found, fold_of(n, folds, seed))


def test_folds_are_shuffled() -> None:
    found = fold_of(300, 5, 0)
    assert (found != fold_of(300, 5, 1)).any() and (found != np.arange(300) % 5).any()


def test_the_target_of_a_sample_never_moves_its_own_prediction(
    copy: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fitted(copy("before"))
    run = copy("after")
    config = run.config.predictor
    fold = fold_of(len(before), config.folds, config.seed)
    at = int(np.flatnonzero(~ranking(run)["high"])[5])

    def turned(asked: Run) -> pd.DataFrame:
        table = ranking(asked)
        table.loc[at, "high"] = ~table.loc[at, "high"]
        return table

    monkeypatch.setattr(module, "ranking", turned)
    after = fitted(run)
    own = fold == fold[at]
    assert after[at] == before[at]
    np.testing.assert_array_equal(after[own], before[own])
    assert (after[~own] != before[~own]).all(), "every other fold learns from it"


def test_every_sample_trains_all_folds_but_its_own(
    copy: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    train = module.train_predictor

    def counting(g: torch.Tensor, *more: Any) -> PredictorNet:
        seen.append(len(g))
        return train(g, *more)

    monkeypatch.setattr(module, "train_predictor", counting)
    n = len(fitted(copy("run")))
    assert len(seen) == 3 and sum(seen) == 2 * n


# ---------------------------------------------------------------- the stage


def test_the_figures_are_those_of_the_out_of_fold_predictions(run: Run) -> None:
    found = fitted(run)
    high = ranking(run)["high"]
    assert found.shape == (len(high),) and found.min() > 0 and found.max() < 1
    figures = PREDICTOR.folder(run).figures
    assert figures["auroc"] == roc_auc_score(high, found)
    assert figures["average_precision"] == average_precision_score(high, found)
    assert figures["feature_epoch"] == feature_epoch(run) == 4


def test_a_stopped_fit_goes_on_with_the_next_fold(copy: Callable[[str], Run]) -> None:
    whole = fitted(copy("whole"))
    run = copy("cut")
    events = PREDICTOR.compute(run)
    for event in events:
        if event.note == "fold 2":
            break
    events.close()
    stage = PREDICTOR.folder(run)
    assert not stage.done
    before = {p.name: p.stat().st_mtime_ns for p in stage.path.glob("fold-*.pt")}
    assert set(before) == {"fold-0.pt", "fold-1.pt"}
    np.testing.assert_array_equal(fitted(run), whole)
    after = {p.name: p.stat().st_mtime_ns for p in stage.path.glob("fold-*.pt")}
    assert {k: after[k] for k in before} == before and len(after) == 3


def test_another_tau_or_signal_has_predictors_of_its_own(ranked: Run) -> None:
    config = ranked.config
    keys = {PREDICTOR.key(ranked)}
    for over in ({"tau": 20.0}, {"estimator": "aum"}):
        influence = config.influence.model_copy(update=over)
        other = Run(ranked.root, config.model_copy(update={"influence": influence}))
        keys.add(PREDICTOR.key(other))
    assert len(keys) == 3


def test_where_everything_is_high_there_is_no_figure_and_no_crash(run: Run) -> None:
    influence = run.config.influence.model_copy(update={"tau": 100.0})
    everything = Run(run.root, run.config.model_copy(update={"influence": influence}))
    assert np.isfinite(fitted(everything)).all()
    assert PREDICTOR.folder(everything).figures["auroc"] is None


# ---------------------------------------------------------------- h for pictures


def test_pictures_get_the_prediction_of_the_fold_that_excludes_them(run: Run) -> None:
    known = fitted(run)
    train = open_training(run)
    h = CrossFittedPredictor(run)
    assert len(set(h.folds)) == 3 == len(h.heads)
    turn = np.random.default_rng(0).permutation(len(train))
    for rows in (np.arange(len(train)), turn, turn[:1]):
        label = torch.from_numpy(train.labels[rows])
        with torch.no_grad():
            found = h.logit(train.tensors(rows), label, rows).sigmoid()
        np.testing.assert_allclose(found, known[rows], rtol=1e-4, atol=1e-6)
    # Another fold's network says something else.
    with torch.no_grad():
        every, label = np.arange(len(train)), torch.from_numpy(train.labels)
        swapped = h.logit(train.tensors(every), label, np.roll(every, 1))
    moved = h.folds != np.roll(h.folds, 1)
    assert (np.abs(swapped.sigmoid().numpy() - known)[moved] > 1e-5).mean() > 0.9


def test_the_logit_can_be_differentiated_in_the_picture(run: Run) -> None:
    fitted(run)
    train, rows = open_training(run), np.array([2, 9, 30, 31])
    h = CrossFittedPredictor(run)
    h.net.double()
    for head in h.heads:
        head.double()
    label = torch.from_numpy(train.labels[rows])
    x = train.tensors(rows).double().requires_grad_(True)
    (grad,) = torch.autograd.grad(h.logit(x, label, rows).sum(), x)
    assert (grad.flatten(1).norm(dim=1) > 0).all()
    torch.manual_seed(0)
    way, step = torch.randn_like(x), 1e-7
    with torch.no_grad():
        ahead, behind = (h.logit(x + s * step * way, label, rows) for s in (1, -1))
    slope = (ahead - behind) / (2 * step)
    torch.testing.assert_close((grad * way).flatten(1).sum(1), slope, rtol=1e-3, atol=1e-6)
    # A picture's logit depends on no other picture of the batch.
    (alone,) = torch.autograd.grad(h.logit(x, label, rows)[1], x)
    assert alone[1].abs().sum() > 0 and alone[[0, 2, 3]].abs().sum() == 0
    assert not any(p.requires_grad for p in [*h.net.parameters(), *h.heads[0].parameters()])


# ---------------------------------------------------------------- the network


def mismatch(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features that show the true class; a tenth of the labels is wrong, and those are high."""
    draw = torch.Generator().manual_seed(seed)
    true = torch.arange(n) % 4
    wrong = torch.rand(n, generator=draw) < 0.1
    label = torch.where(wrong, (true + 1 + torch.arange(n) % 3) % 4, true)
    features = 0.3 * torch.randn(n, 12, generator=draw)
    features[torch.arange(n), true] += 1.5
    return features, label, wrong.long()


def test_wrong_labels_are_found_where_features_tell_them_apart() -> None:
    net = train_predictor(*mismatch(800, 0), 4, PredictorConfig(epochs=25), 0)
    g, y, high = mismatch(600, 1)
    p = net(g, y).sigmoid()
    assert roc_auc_score(high, p) > 0.97
    # The weight on positives is taken out again: h is a probability.
    assert float(p.mean()) == pytest.approx(float(high.float().mean()), abs=0.05)
    # The label decides, not the picture alone.
    other = net(g, (y + 1) % 4).sigmoid()
    assert float((other - p)[high == 0].median()) > 0.5


def test_features_that_tell_nothing_give_chance_and_the_base_rate() -> None:
    _, y, high = mismatch(800, 0)
    noise = torch.randn(800, 12, generator=torch.Generator().manual_seed(5))
    net = train_predictor(noise[:400], y[:400], high[:400], 4, PredictorConfig(epochs=5), 0)
    p = net(noise[400:], y[400:]).sigmoid()
    assert abs(roc_auc_score(high[400:], p) - 0.5) < 0.15
    assert 0.03 < float(p.mean()) < 0.25


def test_a_seed_decides_the_fit() -> None:
    data = mismatch(200, 0)
    fits = [train_predictor(*data, 4, PredictorConfig(epochs=2), seed) for seed in (1, 1, 2)]
    outs = [net(data[0], data[1]) for net in fits]
    assert torch.equal(outs[0], outs[1]) and not torch.equal(outs[0], outs[2])


def test_an_odd_last_sample_and_a_set_without_positives_do_not_stop_the_fit() -> None:
    g, y, _ = mismatch(129, 0)
    net = train_predictor(g, y, torch.zeros(129, dtype=torch.long), 4, PredictorConfig(epochs=3), 0)
    p = net(g, y).sigmoid()
    assert torch.isfinite(p).all() and float(p.mean()) < 0.2
    assert not net.training and not any(q.requires_grad for q in net.parameters())


def test_a_saved_fold_is_the_one_that_was_fitted(run: Run) -> None:
    known = fitted(run)
    train, fold = open_training(run), fold_of(len(known), 3, run.config.predictor.seed)
    h = CrossFittedPredictor(run)
    for k in range(3):
        rows = np.flatnonzero(fold == k)
        with torch.no_grad():
            g = h.net.features(train.tensors(rows))
            found = load_predictor(run, k)(g, torch.from_numpy(train.labels[rows])).sigmoid()
        np.testing.assert_allclose(found, known[rows], rtol=1e-4, atol=1e-6)
