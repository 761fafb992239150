"""DivideMix against numbers worked out apart from the code."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from diffinf_core.baselines.dividemix import (
    DivideMix,
    clean_probability,
    prior_penalty,
    refined_label,
)
from diffinf_core.baselines.training import Fit
from tests.baselines.blobs import blob_task
from tests.baselines.formulas import P, Y, near


def test_dividemix_calls_the_smaller_losses_clean() -> None:
    rng = np.random.default_rng(0)
    losses = np.concatenate([rng.normal(0.2, 0.05, 70), rng.normal(2.0, 0.3, 30)])
    found = clean_probability(losses)
    assert (found[:70] > 0.9).all() and (found[70:] < 0.1).all()
    np.testing.assert_allclose(clean_probability(7 * losses + 3), found, atol=1e-9)
    assert clean_probability(np.full(5, 0.3)).tolist() == [1] * 5


def test_dividemix_refines_by_trust_and_sharpens() -> None:
    y = F.one_hot(Y, 3).double()
    w = torch.tensor([0.5], dtype=torch.float64)
    # 0.5 y + 0.5 p = [.35, .6, .05]; squares .1225, .36, .0025 sum to .485
    found = refined_label(y, P, w, 0.5)
    assert found[0].tolist() == near(0.1225 / 0.485, 0.36 / 0.485, 0.0025 / 0.485)
    assert refined_label(y, P, torch.ones(1), 0.5)[0].tolist() == near(0, 1, 0)


def test_dividemix_penalty_is_zero_at_the_prior() -> None:
    uniform = torch.full((3,), 1 / 3)
    assert float(prior_penalty(torch.eye(3), uniform)) == pytest.approx(0, abs=1e-6)
    skewed = torch.tensor([[0.5, 0.25, 0.25]])
    by_hand = (log(2 / 3) + 2 * log(4 / 3)) / 3
    assert float(prior_penalty(skewed, uniform)) == pytest.approx(by_hand, abs=1e-6)


def test_dividemix_trains_each_network_on_what_the_other_calls_clean() -> None:
    task, _, _ = blob_task(12)
    method = DivideMix()
    fit = Fit(method, task)
    fit.state["clean0"] = (torch.arange(12) < 5).float()
    fit.state["clean1"] = (torch.arange(12) >= 5).float()
    assert sorted(method.order(fit, (1,)).tolist()) == list(range(5))
    assert sorted(method.order(fit, (0,)).tolist()) == list(range(5, 12))
    fit.state["clean0"] = torch.zeros(12)
    assert len(method.order(fit, (1,))) == 12, "nothing clean: train on everything"
