"""ProSelfLC against numbers worked out apart from the code."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch.nn import functional as F

from diffinf_core.baselines.proselflc import (
    ProSelfLC,
    corrected_target,
    global_trust,
    local_trust,
)
from tests.baselines.formulas import Y, gradient, logits, near

P2 = torch.tensor([[0.95, 0.01, 0.04]], dtype=torch.float64)
Y2 = torch.tensor([2])


def test_proselflc_example_of_the_paper() -> None:
    q = torch.tensor([[0.0, 0, 1]], dtype=torch.float64)
    target = corrected_target(P2, q, torch.tensor([0.8], dtype=torch.float64))
    assert target[0].tolist() == near(0.76, 0.008, 0.232)


def test_proselflc_trust_target_loss_and_gradient() -> None:
    assert float(local_trust(P2)) == pytest.approx(0.796529, abs=5e-6)
    assert (1 - float(local_trust(P2))) * log(3) == pytest.approx(0.223535, abs=5e-6)
    assert global_trust(0.9, 10) == pytest.approx(0.982014, abs=1e-6)
    method = ProSelfLC()
    target = method.targets(P2, Y2, 0.9)
    eps = global_trust(0.9, 10) * float(local_trust(P2))
    assert eps == pytest.approx(0.782203, abs=5e-6)
    assert target[0].tolist() == near(0.743093, 0.007822, 0.249085, tolerance=5e-6)
    z = logits(P2)
    loss = method.loss_at(z, Y2, 0.9)
    # the 1e-6 inside the logarithm is worth 2e-5 here
    assert loss.item() == pytest.approx(0.875912, abs=2e-5)
    found = gradient(loss, z)
    assert found == near(0.078916, 0.036451, -0.115367, tolerance=1e-5)
    q, H = F.one_hot(Y2, 3), float(-(P2 * P2.log()).sum())
    closed = (1 - eps) * (P2 - q) - eps * P2 * (P2.log() + H)
    assert found == near(*closed[0].tolist(), tolerance=1e-5)


def test_proselflc_by_relative_entropy() -> None:
    z = logits(P2)
    loss = ProSelfLC(divergence="relative_entropy").loss_at(z, Y2, 0.9)
    assert loss.item() == pytest.approx(0.271101, abs=2e-5)
    assert gradient(loss, z) == near(0.145244, 0.001529, -0.146773, tolerance=1e-5)


def test_proselflc_detached_is_scaled_cross_entropy() -> None:
    z = logits(P2)
    found = gradient(ProSelfLC(target="detached").loss_at(z, Y2, 0.9), z)
    assert found == near(0.206907, 0.002178, -0.209085, tolerance=1e-5)


def test_proselflc_global_trust_and_a_uniform_prediction() -> None:
    assert all(global_trust(0.3, B, 0.3) == 0.5 for B in (4, 10, 16))
    assert global_trust(0.1, 10) == pytest.approx(0.017986, abs=1e-6)
    z = torch.zeros(1, 3, dtype=torch.float64)
    uniform = F.softmax(z, 1)
    target = ProSelfLC().targets(uniform, Y, 1.0)
    assert target[0].tolist() == near(0, 1, 0, tolerance=5e-6)
    assert float(ProSelfLC().loss_at(z, Y, 1.0)) == pytest.approx(log(3), abs=1e-5)
