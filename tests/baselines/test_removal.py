"""Removal, cleanlab, AUM, SOP, and the metrics, against numbers worked out apart from the code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.baselines.aum import flagged, margin
from diffinf_core.baselines.confident import label_issues
from diffinf_core.baselines.removal import most_suspicious
from diffinf_core.baselines.sop import noise_terms, sop_prediction, square_term
from diffinf_core.classifier.metrics import evaluate
from diffinf_core.influence.scoring import _last_layer_norms
from diffinf_core.records import DiffInfError
from tests.baselines.formulas import P, Y, near


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
