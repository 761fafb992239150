"""The linear probe: the nearest code with a margin, and a fit that finds what is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from diffinf_core.config import RepairConfig
from diffinf_core.correction.probe import MAX_CODES, LinearProbe, fit_probe, sampled
from diffinf_core.correction.repairer import Repairer
from diffinf_core.influence.stage import ranking
from diffinf_core.runs.run import Run


def probe(weight: Tensor, bias: Tensor | None = None) -> LinearProbe:
    d = weight.shape[1]
    return LinearProbe(
        torch.zeros(d), torch.ones(d), weight, torch.zeros(len(weight)) if bias is None else bias
    )


def lead(p: LinearProbe, z: Tensor, label: Tensor) -> Tensor:
    logits = p.logits(z)
    own = logits.gather(1, label[:, None])[:, 0]
    return own - logits.scatter(1, label[:, None], -torch.inf).amax(1)


def test_two_classes_have_the_closed_form() -> None:
    weight = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]])
    z, label = torch.tensor([[0.3, -0.2, 0.5]]), torch.tensor([1])
    way = weight[1] - weight[0]
    wanted = z + (4 - (z @ way)) / way.square().sum() * way
    torch.testing.assert_close(probe(weight).towards(z, label, 4.0), wanted)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    classes=st.integers(2, 6),
    margin=st.floats(0, 10),
)
def test_the_label_leads_by_the_margin_and_leaders_stay(
    seed: int, classes: int, margin: float
) -> None:
    torch.manual_seed(seed)
    p = probe(torch.randn(classes, 24), torch.randn(classes))
    z, label = torch.randn(5, 24), torch.randint(classes, (5,))
    moved = p.towards(z, label, margin)
    assert (lead(p, moved, label) >= margin - 2e-3 * max(1.0, margin)).all()
    torch.testing.assert_close(p.towards(moved, label, margin * 0.9), moved)


def test_a_rare_direction_is_weighed_by_its_deviation() -> None:
    p = LinearProbe(
        torch.tensor([5.0, -1.0]),
        torch.tensor([10.0, 0.1]),
        torch.tensor([[1.0, 1.0], [-1.0, -1.0]]),
        torch.zeros(2),
    )
    z = torch.tensor([[5.0, -1.0]])
    moved = p.towards(z, torch.tensor([0]), 4.0) - z
    torch.testing.assert_close(moved / p.deviation, torch.ones(1, 2))


def test_the_fit_finds_classes_through_wrong_labels_and_unequal_numbers() -> None:
    torch.manual_seed(1)
    label = torch.cat([torch.zeros(600), torch.ones(150), torch.full((150,), 2.0)]).long()
    centre = torch.randn(3, 32) * 1.2
    z = centre[label] + torch.randn(900, 32)
    noisy = label.clone()
    wrong = torch.rand(900) < 0.2
    noisy[wrong] = (label[wrong] + torch.randint(1, 3, label.shape)[wrong]) % 3
    fitted = fit_probe(z, noisy, 3)
    fresh = centre[label] + torch.randn(900, 32)
    right = fitted.logits(fresh).argmax(1) == label
    for k in range(3):
        assert right[label == k].float().mean() >= 0.9
    again = fit_probe(z, noisy, 3)
    for name, value in fitted.state().items():
        torch.testing.assert_close(value, again.state()[name], rtol=0, atol=0)


def test_a_class_that_the_probe_never_saw_is_not_moved_to() -> None:
    torch.manual_seed(2)
    label = torch.randint(2, (400,))
    centre = torch.randn(3, 16)
    z = centre[label] + 0.3 * torch.randn(400, 16)
    fitted = fit_probe(z, label, 3)  # nothing of the third class
    moved = fitted.towards(z[:8], torch.full((8,), 2), 4.0)
    assert (moved == z[:8]).all() or (lead(fitted, moved, torch.full((8,), 2)) > 0).all()
    assert (moved - z[:8]).norm(dim=1).max() < 20


def test_low_influence_samples_of_every_class_are_taken() -> None:
    labels = np.array([0] * 3 * MAX_CODES + [1] * 30 + [2] * 5)
    rank = np.arange(len(labels)) + 1
    high = np.zeros(len(labels), bool)
    high[3 * MAX_CODES + 5 : 3 * MAX_CODES + 30] = True  # 25 of the 30 of class 1
    high[-5:] = True  # all of class 2
    taken = sampled(labels, rank, high)
    counts = np.bincount(labels[taken], minlength=3)
    assert counts.tolist() == [MAX_CODES // 3, 20, 5]
    assert len(set(taken.tolist())) == len(taken)
    # of class 1 the least suspicious are lent, whatever part they are in
    assert set(taken[labels[taken] == 1]) == set(range(3 * MAX_CODES + 10, 3 * MAX_CODES + 30))
    everything = sampled(labels[-35:], rank[-35:], np.ones(35, bool))  # tau 100
    assert len(everything) == 25


def test_when_the_probe_stands_in_for_the_label(finished_run: Path) -> None:
    repairer = Repairer(Run.open(finished_run))
    assert not repairer.uses_probe(RepairConfig())  # the demo's generator is conditioned on labels
    assert repairer.uses_probe(RepairConfig(probe="always"))
    assert not repairer.uses_probe(RepairConfig(probe="always", use_label=False))
    repairer.condition = None  # type: ignore[misc]
    assert repairer.uses_probe(RepairConfig())
    assert not repairer.uses_probe(RepairConfig(probe="never"))


def test_a_run_fits_its_probe_once_without_its_high_influence_samples(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repairer = Repairer(Run.open(run_copy))
    config = RepairConfig(probe="always", steps=2, w_si=0, w_id=0, w_reg=0)
    events = [e for e in repairer.prepare(config) if e[0] == "fitting the probe"]
    high = ranking(repairer.run)["high"].to_numpy()
    n = len(repairer._fitted._positions)
    assert events[0][1:] == (0, n) and events[-1][1:] == (n, n)
    assert not high[repairer._fitted._positions].any()  # each class has enough of its own
    z = repairer.generator.encode(repairer.train.tensors(np.arange(8)))
    y = torch.from_numpy(repairer.train.labels[:8])
    fitted = repairer._fitted.load()
    assert (lead(fitted, fitted.towards(z, y, 4.0), y) > 3.9).all()

    def never(*_: object) -> None:
        raise AssertionError("fitted twice")

    monkeypatch.setattr("diffinf_core.correction.probe.fit_probe", never)
    again = Repairer(Run.open(run_copy))
    *_, edits = again.repair(np.array([0, 1]), config)
    assert len(edits) == 2
