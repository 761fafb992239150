"""Selection by small loss, and co-teaching, against numbers worked out apart from the code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffinf_core.baselines.small_loss import drop_fraction, kept_count, small_loss_rows
from diffinf_core.baselines.training import Batch, Fit
from tests.baselines.blobs import blob_task
from tests.baselines.formulas import near, two_logits


def test_small_loss_keeps_the_smallest() -> None:
    losses = torch.tensor([0.1, 2.0, 0.3, 0.05, 1.2])
    assert small_loss_rows(losses, 0.4).tolist() == [3, 0, 2]


def test_the_drop_fraction_ramps_to_the_forget_rate() -> None:
    d = [drop_fraction(t, 0.3) for t in range(12)]
    assert d[:4] == near(0, 0.0333333, 0.0666667, 0.1)
    assert d[8] < d[9] and d[9:] == near(0.3, 0.3, 0.3)
    np.testing.assert_allclose(d[:10], np.linspace(0, 0.3, 10))
    assert drop_fraction(0, 0.3, T_k=1) == 0 and drop_fraction(1, 0.3, T_k=1) == 0.3
    np.testing.assert_allclose(drop_fraction(9, 0.3, c=2), 0.09)


def test_the_number_kept_is_not_truncated_by_floating_point() -> None:
    assert kept_count(0.9, 10) == 1 and int((1 - 0.9) * 10) == 0
    assert kept_count(0.7, 10) == 3 and kept_count(0.5, 3) == 1
    assert kept_count(0.99, 5) == 1, "at least one"
    assert all(kept_count(0.0, b) == b for b in range(1, 65))


def test_per_class_selection_does_not_empty_a_rare_class() -> None:
    losses, labels = torch.tensor([0.1, 0.2, 0.3, 0.4, 9.0]), torch.tensor([0, 0, 0, 0, 1])
    assert 4 not in small_loss_rows(losses, 0.5).tolist()
    assert sorted(small_loss_rows(losses, 0.5, labels).tolist()) == [0, 1, 4]


def test_coteaching_trains_each_network_on_the_choice_of_the_other() -> None:
    a, b = torch.tensor([0.1, 0.9, 0.7, 0.2]), torch.tensor([0.8, 0.1, 0.4, 0.6])
    by_a, by_b = small_loss_rows(a, 0.5), small_loss_rows(b, 0.5)
    assert set(by_a.tolist()) == {0, 3} and set(by_b.tolist()) == {1, 2}

    from diffinf_core.baselines.coteaching import CoTeaching

    task, _, _ = blob_task(4)
    method = CoTeaching(forget_rate=0.5, ramp=1)
    fit = Fit(method, task)
    fit.epoch = 19
    one = torch.arange(4)
    batch = Batch(
        one, torch.zeros(4, 2), torch.zeros(4, dtype=torch.long), 0, torch.zeros(4, 2), task
    )
    losses = {0: a, 1: b}
    # logits whose cross-entropy for class 0 is the loss wanted
    fit.forward = lambda x, k=0: two_logits(losses[k])  # type: ignore[method-assign]
    value = float(method.loss(fit, batch, (0, 1)))
    assert value == pytest.approx(0.8 + 0.7, abs=1e-5)
    assert value != pytest.approx(0.15 + 0.25, abs=0.1), "selects for itself"
