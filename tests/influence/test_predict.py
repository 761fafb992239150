"""The public predictor: fit, predict, cross-fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from diffinf_core.config import PredictorConfig
from diffinf_core.influence.predict import InfluencePredictor
from diffinf_core.influence.predictor import train_predictor
from diffinf_core.records import DiffInfError
from tests.influence.test_predictor import mismatch

FAST = {"epochs": 8, "folds": 3}


def test_it_is_the_network_of_a_run() -> None:
    g, y, high = mismatch(200, 0)
    net = train_predictor(g, y, high, 4, PredictorConfig(**FAST, seed=3), 3)
    found = InfluencePredictor(FAST | {"seed": 3}).fit(g, y, high).predict(g, y)
    np.testing.assert_allclose(found, net(g, y).sigmoid().numpy(), rtol=1e-6)


@pytest.mark.parametrize("form", [np.asarray, lambda v: v, lambda v: v.tolist()])
def test_arrays_tensors_and_lists_are_the_same_thing(form: Any) -> None:
    g, y, high = mismatch(120, 0)
    h = InfluencePredictor(FAST).fit(form(g), form(y), form(high.bool()))
    expected = InfluencePredictor(FAST).fit(g, y, high).predict(g, y)
    np.testing.assert_array_equal(h.predict(form(g), form(y)), expected)


def test_cross_fitting_predicts_every_sample_without_it() -> None:
    g, y, high = mismatch(800, 0)
    h = InfluencePredictor({"epochs": 25, "folds": 3})
    before = h.cross_fit(g, y, high)
    assert roc_auc_score(high, before) > 0.9 and before.min() > 0 and before.max() < 1
    turned = high.clone()
    turned[7] = 1 - turned[7]
    after = h.cross_fit(g, y, turned)
    assert after[7] == before[7] and (after != before).any()


def test_a_group_stays_in_one_fold() -> None:
    g, y, high = mismatch(60, 0)
    groups = [i // 2 for i in range(60)]
    h = InfluencePredictor(FAST)
    before = h.cross_fit(g, y, high, groups)
    turned = high.clone()
    turned[10] = 1 - turned[10]
    after = h.cross_fit(g, y, turned, groups)
    assert after[10] == before[10] and after[11] == before[11]


def test_the_logit_can_be_differentiated_and_agrees_with_the_probability() -> None:
    g, y, high = mismatch(100, 0)
    h = InfluencePredictor(FAST).fit(g, y, high)
    g = g.clone().requires_grad_(True)
    logit = h.logit(g, y)
    (grad,) = torch.autograd.grad(logit.sum(), g)
    assert (grad.norm(dim=1) > 0).all()
    np.testing.assert_allclose(logit.sigmoid().detach().numpy(), h.predict(g, y), rtol=1e-6)


G, Y, HIGH = mismatch(20, 0)


def test_fitting_leaves_the_random_numbers_of_its_caller() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    InfluencePredictor(FAST).fit(G, Y, HIGH).cross_fit(G, Y, HIGH)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "call,message",
    [
        (lambda: InfluencePredictor({"epoch": 3}), "Unknown configuration key 'epoch'"),
        (lambda: InfluencePredictor().predict(G, Y), "not fitted"),
        (lambda: InfluencePredictor().logit(G, Y), "not fitted"),
        (lambda: InfluencePredictor().fit([[1.0], [1.0, 2.0]], [0, 1], [0, 1]), "of one length"),
        (lambda: InfluencePredictor().fit([["a"], ["b"]], [0, 1], [0, 1]), "Features need numbers"),
        (lambda: InfluencePredictor().fit(G[0], Y, HIGH), r"shape \(N, D\)"),
        (lambda: InfluencePredictor().fit(G, Y[:3], HIGH), r"shape \(N, D\)"),
        (lambda: InfluencePredictor().fit(G, Y.float(), HIGH), r"shape \(N, D\)"),
        (lambda: InfluencePredictor().fit(G, Y - 1, HIGH), "negative label"),
        (lambda: InfluencePredictor().fit(G * torch.nan, Y, HIGH), "Sample 0 has features"),
        (lambda: InfluencePredictor().fit(G, Y, HIGH + 1), "True or False for each of 20"),
        (lambda: InfluencePredictor().fit(G, Y, HIGH[:2]), "True or False for each of 20"),
        (lambda: InfluencePredictor().cross_fit(G[:6], Y[:6], HIGH[:6]), "too few for 5 folds"),
        (lambda: InfluencePredictor().cross_fit(G, Y, HIGH, ["a"]), "1 groups for 20"),
        (lambda: InfluencePredictor(FAST).fit(G, Y, HIGH).predict(G, Y + 1), "4 classes"),
        (lambda: InfluencePredictor(FAST).fit(G, Y, HIGH).predict(G[:, :2], Y), "width 2"),
    ],
)
def test_what_does_not_fit_is_one_sentence(call: Any, message: str) -> None:
    with pytest.raises(DiffInfError, match=message):
        call()
