"""ProMix and FMix against numbers worked out apart from the code."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from diffinf_core.baselines.mixing import fmix_mask
from diffinf_core.baselines.promix import (
    ProMix,
    TwoHeads,
    class_wise_selection,
    debiased,
    label_guessing,
    margin_adjusted,
    ramp,
    sharpened,
    unreliable_weight,
    updated_prior,
)
from diffinf_core.baselines.training import Batch, Fit
from diffinf_core.records import DiffInfError
from tests.baselines.blobs import blob_task
from tests.baselines.formulas import near


def test_promix_selects_in_each_class() -> None:
    losses = torch.tensor([0.9, 0.1, 0.5, 0.3, 0.2, 0.8, 2.0, 3.0])
    labels = torch.tensor([0] * 6 + [1] * 2)
    found = class_wise_selection(losses, labels, 0.5, 2)
    assert found.nonzero()[:, 0].tolist() == [1, 4, 6, 7]
    assert sorted(losses.argsort()[:4].tolist()) == [1, 2, 3, 4], "a global pick has no minority"
    own = class_wise_selection(losses, labels, 0.5, 2, per_class=True)
    assert own.nonzero()[:, 0].tolist() == [1, 3, 4, 6]
    absent = class_wise_selection(losses, torch.zeros(8, dtype=torch.long), 0.5, 2)
    assert int(absent.sum()) == 2


def test_promix_margin_adjustment_adds_and_debiasing_subtracts_the_log_prior() -> None:
    prior, z = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64), torch.zeros(1, 3)
    adjusted = margin_adjusted(z.double(), prior, 0.8)
    assert F.softmax(adjusted, 1)[0].tolist() == near(0.633757, 0.232631, 0.133612)
    assert float(F.cross_entropy(adjusted, torch.tensor([2]))) == pytest.approx(2.012818, abs=1e-6)
    assert float(F.cross_entropy(adjusted, torch.tensor([0]))) == pytest.approx(0.456090, abs=1e-6)
    d = debiased(z.double(), prior, 0.8)
    assert d[0].tolist() == near(0.118098, 0.321733, 0.560170)
    assert sharpened(d)[0].tolist() == near(0.032341, 0.240029, 0.727630)


def test_promix_prior_update() -> None:
    prior = torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64)
    found = updated_prior(prior, torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64), 0.9999)
    assert found.tolist() == near(0.69995, 0.20001, 0.10004)
    assert torch.equal(updated_prior(prior, torch.zeros(0, 3, dtype=torch.float64), 0.9), prior)


def test_promix_label_guessing_fills_nine_tenths_most_confident_first() -> None:
    selected = torch.tensor([True] * 5 + [False] * 3)
    p = torch.zeros(8, 3)
    for i, c in zip((5, 6, 7), (0.995, 0.999, 0.992), strict=True):
        p[i] = torch.tensor([c, 1 - c, 0])
    found = label_guessing(p, p, selected, 0.99)
    assert found.nonzero()[:, 0].tolist() == [5, 6]
    disagree = p.clone()
    disagree[6] = disagree[6].flip(0)
    assert label_guessing(p, disagree, selected, 0.99).nonzero()[:, 0].tolist() == [5, 7]
    assert not label_guessing(p, p, torch.ones(8, dtype=torch.bool), 0.99).any()
    assert not label_guessing(p, p, selected, 0.9999).any()


def test_promix_schedules() -> None:
    recipe = ProMix.source_recipe
    assert recipe is not None
    assert [recipe.rate(e) for e in (0, 300, 600)] == near(0.05, 0.025025, 0.00005)
    assert [unreliable_weight(e, 100) for e in (50, 99, 100)] == near(0.05, 0.099, 0)
    assert [ramp(e, 50) for e in (0, 25, 50, 80)] == near(0, 0.5, 1, 1)


@pytest.mark.parametrize("all_selected", [True, False])
def test_promix_has_a_finite_loss_with_everything_and_with_nothing_selected(
    all_selected: bool,
) -> None:
    task, _, _ = blob_task(12)
    method = ProMix(warm_up=0, tau=0.5 if all_selected else 1.0, expand_epochs=0)
    fit = Fit(method, task)
    rows = torch.arange(12)
    x = task.data.tensors(rows.numpy())
    for epoch in (0, 3, 40):
        fit.epoch = epoch
        for k in range(2):
            fit.state[f"selected{k}"] = torch.full((12,), all_selected)
        value = fit._step(Batch(rows, x, fit.labels[rows], 0, x, task), (0, 1))
        assert torch.isfinite(value)
        assert all(torch.isfinite(w).all() for net in fit.nets for w in net.parameters())


def test_promix_pseudo_head_reads_the_input_of_the_last_layer() -> None:
    net = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 3))
    both = TwoHeads(net, 3)
    x = torch.randn(4, 2)
    found = both(x)
    torch.testing.assert_close(found[:, 0], net(x))
    torch.testing.assert_close(found[:, 1], both.pseudo(net[:2](x)))
    with pytest.raises(DiffInfError, match="last layer is linear"):
        TwoHeads(nn.ReLU(), 3)


@pytest.mark.parametrize("m", [0.0, 0.25, 0.8, 1.0])
def test_fmix_masks_cover_their_share_in_large_patches(m: float) -> None:
    torch.manual_seed(0)
    mask = fmix_mask((32, 24), m)
    assert mask.shape == (32, 24) and set(mask.unique().tolist()) <= {0.0, 1.0}
    assert float(mask.sum()) == round(m * 32 * 24)
    changes = float((mask[1:] != mask[:-1]).float().mean())
    assert changes < 0.25 * min(1, 4 * m * (1 - m) + 0.01) + 0.02, "not white noise"
