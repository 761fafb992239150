"""Each method's formulas against numbers worked out apart from the code."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.baselines.aum import flagged, margin
from diffinf_core.baselines.confident import label_issues
from diffinf_core.baselines.dividemix import (
    DivideMix,
    clean_probability,
    prior_penalty,
    refined_label,
)
from diffinf_core.baselines.elr import ELR, regulariser, suspicion_of, update_target
from diffinf_core.baselines.elr_plus import ELRPlus, mixed_loss, sigmoid_ramp
from diffinf_core.baselines.mixing import fmix_mask, mix, mixing_weight
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
from diffinf_core.baselines.proselflc import (
    ProSelfLC,
    corrected_target,
    global_trust,
    local_trust,
)
from diffinf_core.baselines.removal import most_suspicious
from diffinf_core.baselines.small_loss import drop_fraction, kept_count, small_loss_rows
from diffinf_core.baselines.sop import noise_terms, sop_prediction, square_term
from diffinf_core.baselines.training import Batch, Fit
from diffinf_core.classifier.metrics import evaluate
from diffinf_core.influence.scoring import _last_layer_norms
from diffinf_core.records import DiffInfError
from tests.baselines.blobs import blob_task

P = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
Y = torch.tensor([1])


def logits(p: Tensor) -> Tensor:
    """Logits of probabilities, with a gradient."""
    return p.log().clone().requires_grad_()


def gradient(loss: Tensor, z: Tensor) -> list[float]:
    """The gradient of a loss of one sample."""
    (g,) = torch.autograd.grad(loss, z)
    return g[0].tolist()


def near(*values: float, tolerance: float = 1e-6) -> object:
    """Equal to six decimals."""
    return pytest.approx(list(values), abs=tolerance)


# ---------------------------------------------------------------- small loss


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


def two_logits(losses: Tensor) -> Tensor:
    """Logits (B, 2) whose cross-entropy for class 0 is ``losses``."""
    p = torch.exp(-losses)
    return torch.stack([p.log(), (1 - p).log()], 1)


# ---------------------------------------------------------------- ELR, ELR+


def elr_loss(z: Tensor, target: Tensor, weight: float = 3.0) -> Tensor:
    """CE + lambda log(1 - <t, p>) of one sample."""
    return F.cross_entropy(z, Y) + weight * regulariser(F.softmax(z, 1), target).mean()


def test_elr_target_loss_and_gradient() -> None:
    target = update_target(torch.zeros(1, 3, dtype=torch.float64), P, 0.7)
    assert target[0].tolist() == near(0.21, 0.06, 0.03)
    assert float((target * P).sum()) == pytest.approx(0.162)
    z = logits(P)
    loss = elr_loss(z, target)
    assert loss.item() == pytest.approx(1.079226, abs=1e-6)
    found = gradient(loss, z)
    assert found == near(0.579714, -0.726969, 0.147255)
    inner = float((target * P).sum())
    closed = P - F.one_hot(Y, 3) - 3 * P * (target - inner) / (1 - inner)
    assert found == near(*closed[0].tolist())
    assert F.cross_entropy(z, Y).item() == pytest.approx(1.609438, abs=1e-6)


def test_elr_target_has_no_gradient() -> None:
    z = logits(P)
    p = F.softmax(z, 1)
    target = update_target(torch.zeros(1, 3, dtype=torch.float64), p, 0.7)
    assert not target.requires_grad
    coupled = F.cross_entropy(z, Y) + 3 * regulariser(p, 0.3 * p).mean()
    assert coupled.item() == pytest.approx(1.079226, abs=1e-6)
    assert gradient(coupled, z) == near(0.459427, -0.653938, 0.194511), "the defect, if it were"
    wrong_sign = F.cross_entropy(z, Y) - 3 * regulariser(p, target).mean()
    assert wrong_sign.item() == pytest.approx(2.139649, abs=1e-6)


def test_elr_second_visit() -> None:
    first = update_target(torch.zeros(1, 3, dtype=torch.float64), P, 0.7)
    second = update_target(first, P, 0.7)
    assert second[0].tolist() == near(0.357, 0.102, 0.051)
    assert elr_loss(logits(P), second).item() == pytest.approx(0.643031, abs=1e-6)
    assert float(first.sum()) == pytest.approx(0.3), "rows sum to 1 - beta after one epoch"


def test_elr_updates_the_row_of_the_data_set_before_it_is_used() -> None:
    task, _, _ = blob_task(8)
    fit = Fit(ELR(), task)
    rows = torch.tensor([5, 2])
    z = P.float().log().repeat(2, 1).requires_grad_()
    fit.forward = lambda x, k=0: z  # type: ignore[method-assign]
    x = torch.zeros(2, 2)
    loss = ELR().loss(fit, Batch(rows, x, torch.tensor([1, 1]), 0, x, task), (0,))
    assert loss.item() == pytest.approx(1.079226, abs=1e-5)
    table = fit.state["target"]
    assert table[5].tolist() == near(0.21, 0.06, 0.03) and float(table[0].sum()) == 0


def test_elr_suspects_what_its_targets_contradict() -> None:
    found = suspicion_of(torch.tensor([[0.6, 0.2, 0.2], [0.1, 0.1, 0.2]]), torch.tensor([0, 1]))
    assert found.suspicion is not None and found.suspicion.tolist() == near(0.4, 0.75)
    assert found.kept is not None and found.kept.tolist() == [True, False]
    assert found.corrected is not None and found.corrected.tolist() == [0, 2]


def test_elr_plus_mixes_inputs_labels_and_targets_alike() -> None:
    t = torch.tensor([[0.6, 0.2, 0.2], [0.1, 0.8, 0.1]], dtype=torch.float64)
    q = mix(t, 0.7, torch.tensor([1, 0]))
    assert q[0].tolist() == near(0.45, 0.38, 0.17)
    p = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    soft = torch.tensor([[0.7, 0.3, 0.0]], dtype=torch.float64)
    assert float(F.cross_entropy(p.log(), soft)) == pytest.approx(0.846395, abs=1e-6)
    assert float(regulariser(p, q[:1])) == pytest.approx(-0.466809, abs=1e-6)
    assert float(mixed_loss(p.log(), soft, q[:1], 3.0)) == pytest.approx(-0.554031, abs=1e-6)


def test_the_mixing_weight_is_at_least_one_half() -> None:
    drawn = [mixing_weight(1.0) for _ in range(200)]
    assert min(drawn) >= 0.5 and max(drawn) <= 1 and len(set(drawn)) == 200
    assert mixing_weight(0) == 1.0


def test_a_ramp_without_a_length_is_at_its_end() -> None:
    assert sigmoid_ramp(0, 0) == 1 and sigmoid_ramp(5000, 1000) == 1


def test_elr_plus_crosses_its_averages() -> None:
    """After a step of f1 only e1 moves; the target of f1 follows e2 and not e1."""
    task, _, _ = blob_task(16)
    method = ELRPlus()

    def after(change: str | None) -> tuple[Fit, Tensor]:
        torch.manual_seed(0)
        fit = Fit(method, task)
        if change:
            with torch.no_grad():
                for w in fit.modules[change].parameters():
                    w.add_(torch.randn_like(w))
        rows = torch.arange(8)
        x = task.data.tensors(rows.numpy())
        torch.manual_seed(1)
        batch = Batch(rows, x, fit.labels[rows], 0, x, task)
        fit._step(batch, (0,))
        return fit, fit.state["target0"]

    fresh = Fit(method, task)
    fit, target = after(None)

    def moved(k: int) -> bool:
        pairs = zip(fit.modules[f"ema{k}"].parameters(), fresh.modules[f"ema{k}"].parameters())  # noqa: B905
        return any(not torch.equal(a, b) for a, b in pairs)

    assert moved(0) and not moved(1)
    assert float(fit.state["target1"].abs().sum()) == 0
    assert torch.equal(after("ema0")[1], target)
    assert not torch.equal(after("ema1")[1], target)


def test_elr_plus_averages_parameters_and_leaves_buffers_to_the_average() -> None:
    def with_norm(classes: int) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, classes))

    task = replace(blob_task(16)[0], network=with_norm)
    fit = Fit(ELRPlus(ema_steps=1), task)
    rows = torch.arange(16)
    x = task.data.tensors(rows.numpy())
    fit._step(Batch(rows, x, fit.labels[rows], 0, x, task), (0,))
    average, other, now = fit.modules["ema0"][1], fit.modules["ema1"][1], fit.nets[0][1]  # type: ignore[index]
    assert int(average.num_batches_tracked) == 0 and int(other.num_batches_tracked) == 1
    assert int(now.num_batches_tracked) == 1


# ---------------------------------------------------------------- ProSelfLC

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


# ---------------------------------------------------------------- ProMix


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


# ---------------------------------------------------------------- DivideMix


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


# ---------------------------------------------------------------- removal, cleanlab, AUM, SOP


def test_removal_takes_the_rounded_fraction_ties_by_position() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(20)
    assert most_suspicious(scores, 0.1).sum() == 2
    turn = rng.permutation(20)
    np.testing.assert_array_equal(
        most_suspicious(scores[turn], 0.1), most_suspicious(scores, 0.1)[turn]
    )
    assert np.flatnonzero(most_suspicious(np.ones(10), 0.25)).tolist() == [0, 1, 2]
    labels = np.array([0] * 10 + [1] * 10)
    by_class = most_suspicious(np.arange(20.0), 0.2, labels)
    assert np.flatnonzero(by_class).tolist() == [8, 9, 18, 19]
    assert not most_suspicious(scores, 0).any()
    with pytest.raises(DiffInfError, match=r"not in \[0, 1\)"):
        most_suspicious(scores, 1.0)


def test_what_is_left_wrong_after_a_perfect_removal_of_a_tenth() -> None:
    for rate, left in ((0.3, 0.222), (0.2, 0.111)):
        wrong = np.arange(1000) < rate * 1000
        kept = ~most_suspicious(wrong.astype(float), 0.1)
        assert wrong[kept].mean() == pytest.approx(left, abs=5e-4)


CL_LABELS = np.array([0, 0, 0, 1, 1, 1])
CL_P1 = np.array([0.1, 0.2, 0.9, 0.8, 0.9, 0.2])
CL_P = np.stack([1 - CL_P1, CL_P1], 1)


def test_cleanlab_thresholds_joint_and_issues() -> None:
    from cleanlab.count import compute_confident_joint, get_confident_thresholds
    from cleanlab.filter import find_label_issues

    assert get_confident_thresholds(CL_LABELS, CL_P).tolist() == near(0.6, 0.633333)
    joint = compute_confident_joint(CL_LABELS, CL_P, calibrate=False)
    assert joint.tolist() == [[2, 1], [1, 2]]
    suspicion, issues = label_issues(CL_LABELS, CL_P)
    assert np.flatnonzero(issues).tolist() == [2, 5]
    for kind in ("prune_by_class", "prune_by_noise_rate", "both", "confident_learning",
                 "predicted_neq_given"):  # fmt: skip
        found = find_label_issues(CL_LABELS, CL_P, filter_by=kind)
        assert np.flatnonzero(found).tolist() == [2, 5], kind
    np.testing.assert_allclose(suspicion, 1 - CL_P[np.arange(6), CL_LABELS])


def test_cleanlab_with_four_classes_uses_its_own_filter() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    p = np.full((200, 4), 0.04)
    truth = labels.copy()
    truth[:20] = (truth[:20] + 1) % 4
    p[np.arange(200), truth] = 0.88
    p += rng.random((200, 4)) * 0.01
    p /= p.sum(1, keepdims=True)
    assert np.flatnonzero(label_issues(labels, p)[1]).tolist() == list(range(20))


def test_aum_margin_and_its_mean() -> None:
    z = torch.tensor([[3.0, 1, 0], [3, 1, 0]])
    assert margin(z, torch.tensor([0, 1])).tolist() == [2, -2]
    assert margin(torch.tensor([[1.0, 2]]), torch.tensor([0])).tolist() == [-1], "a batch of one"


def test_aum_flags_only_what_every_run_flags() -> None:
    # limits: run 1 threshold samples (0, 1) -> about 0; run 2 (2, 3) -> about 0
    aum = np.array([[-0.1, 0.0, -1, 1, -1, 2], [-1, 1, -0.1, 0.0, 1, 2]])
    threshold = np.array([[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]], bool)
    assert flagged(aum, threshold).tolist() == [True, False, True, False, False, False]


def test_sop_prediction_and_square_term() -> None:
    y = F.one_hot(Y, 3).double()
    u = torch.tensor([[0.5]], dtype=torch.float64)
    v = torch.tensor([[0.4, 0.1, 0.3]], dtype=torch.float64, requires_grad=True)
    U, V = noise_terms(u, v, y)
    s = sop_prediction(P, U, V)
    assert s[0].tolist() == near(0.54, 0.45, 0.01)
    assert float(-s[0, 1].log()) == pytest.approx(0.798508, abs=1e-6)
    assert not s.requires_grad, "V is not taught by the cross-entropy"
    square = square_term(P, U, V, y)
    assert square.item() == pytest.approx(1.2762, abs=1e-6) and square.requires_grad


def test_last_layer_influence_of_the_toy() -> None:
    """||p - y||^2 = 1.14 and h = (1, 2): 6.84 with the bias, which the product's score has."""

    class Toy(nn.Module):
        def features(self, x: Tensor) -> Tensor:
            return x

        def output(self, features: Tensor) -> Tensor:
            return P[:1].log() + 0 * features.sum()

    score = float(_last_layer_norms(Toy(), torch.tensor([[1.0, 2.0]]), Y[:1]))
    assert score == pytest.approx(6.84)


# ---------------------------------------------------------------- metrics and noise


def test_kappa_of_the_paper_needs_the_class_list() -> None:
    y, p = np.array([0, 0, 2, 3, 3, 0, 2]), np.array([0, 2, 2, 3, 2, 3, 2])
    assert evaluate(y, np.eye(4)[p], absent=True)["kappa_linear"] == pytest.approx(0.34375)
    with pytest.raises(DiffInfError, match="no sample of class number 1"):
        evaluate(y, np.eye(4)[p])


def test_kappa_on_a_balanced_set_is_fixed_by_the_accuracy() -> None:
    """(acc - 1/C) / (1 - 1/C): .557 at 70.44 % of three classes, .923 at 94.24 % of four."""
    for classes, accuracy, kappa in ((3, 0.7044, 0.557), (4, 0.9424, 0.923)):
        n = 10_000 * (classes - 1)
        right = round(accuracy * n)
        each = np.repeat(np.arange(1, classes), (n - right) // (classes - 1))
        shift = np.concatenate([np.zeros(n - len(each), int), each])
        y = np.repeat(np.arange(classes), n)
        predicted = (y + np.tile(shift, classes)) % classes
        found = evaluate(y, np.eye(classes)[predicted])
        assert found["kappa"] == pytest.approx(kappa, abs=5e-4)


def test_auroc_is_the_macro_mean_over_classes() -> None:
    y = np.array([0, 0, 0, 1, 1, 2])
    p = np.array([[.8, .1, .1], [.5, .4, .1], [.2, .3, .5], [.3, .6, .1], [.45, .35, .2],
                  [.1, .2, .7]])  # fmt: skip
    assert evaluate(y, p)["auroc"] == pytest.approx(0.884259, abs=1e-6)
