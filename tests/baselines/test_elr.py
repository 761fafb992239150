"""ELR and ELR+ against numbers worked out apart from the code."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.baselines.elr import ELR, regulariser, suspicion_of, update_target
from diffinf_core.baselines.elr_plus import ELRPlus, mixed_loss, sigmoid_ramp
from diffinf_core.baselines.mixing import mix, mixing_weight
from diffinf_core.baselines.training import Batch, Fit
from tests.baselines.blobs import blob_task
from tests.baselines.formulas import P, Y, gradient, logits, near


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
