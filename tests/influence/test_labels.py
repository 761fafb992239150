"""Label signals from logged predictions: closed form, both scales, and one sentence for what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.metrics import average_precision_score

from diffinf_core.influence.labels import rank_labels
from diffinf_core.records import DiffInfError


def logged(epochs: int = 4, n: int = 60, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Logits that favour the true class more and more; every fifth label is wrong."""
    rng = np.random.default_rng(0)
    true = np.arange(n) % classes
    labels = np.where(np.arange(n) % 5 == 0, (true + 1) % classes, true)
    logits = rng.normal(size=(epochs, n, classes))
    logits[:, np.arange(n), true] += np.linspace(0.5, 3, epochs)[:, None]
    return logits, labels


def test_signals_by_hand() -> None:
    # two epochs, uniform and (3/4, 1/4): one sample under each label
    logits = np.log([[[0.5, 0.5]] * 2, [[0.75, 0.25]] * 2])
    table = rank_labels(logits, np.array([0, 1]), by="aum")
    np.testing.assert_allclose(table["mean_loss"], [np.log(8 / 3) / 2, np.log(8) / 2], rtol=1e-12)
    np.testing.assert_allclose(table["aum"], [-np.log(3) / 2, np.log(3) / 2], rtol=1e-12)
    expected = [(0.5 + 0.25) / np.sqrt(2), (0.5 + 0.75) / np.sqrt(2)]
    np.testing.assert_allclose(table["el2n"], expected, rtol=1e-12)
    assert table["forgetting"].tolist() == [0, 2]  # the second was never fitted
    assert table["rank"].tolist() == [2, 1] and table["score"].equals(table["aum"])


def test_probabilities_give_what_their_logits_give() -> None:
    logits, labels = logged()
    table = rank_labels(logits, labels)
    other = rank_labels(softmax(logits, 2), labels, probabilities=True)
    for name in ("mean_loss", "aum", "el2n", "forgetting", "score"):
        np.testing.assert_allclose(other[name], table[name], rtol=1e-9)
    assert other["rank"].equals(table["rank"])


def test_tensors_lists_and_a_single_epoch_are_the_same_thing() -> None:
    logits, labels = logged()
    table = rank_labels(logits, labels)
    for values in (
        torch.tensor(logits, requires_grad=True),
        list(logits),
        list(map(torch.tensor, logits)),
    ):
        assert rank_labels(values, torch.tensor(labels)).equals(table)
    assert rank_labels(logits[2], labels).equals(rank_labels(logits[2:3], labels))


@pytest.mark.parametrize("by", ["mean_loss", "aum", "el2n", "aum+el2n"])
def test_wrong_labels_come_first(by: str) -> None:
    logits, labels = logged()
    table = rank_labels(logits, labels, by=by, tau=20, ids=[f"s{i}" for i in range(60)])
    wrong = np.arange(60) % 5 == 0
    assert average_precision_score(wrong, table["score"]) > 0.9
    assert table["high"].sum() == 12 and table["id"][3] == "s3"
    assert wrong[table["rank"] == 1].all()


def test_a_probability_of_zero_is_suspicious_and_not_infinite() -> None:
    values = np.array([[1.0, 0.0], [0.9, 0.1]])
    table = rank_labels(values, [1, 1], probabilities=True)
    assert np.isfinite(table["score"]).all() and table["rank"].tolist() == [1, 2]


GOOD = np.zeros((2, 3, 2))


@pytest.mark.parametrize(
    "values,labels,more,message",
    [
        (np.zeros(3), [0, 1, 1], {}, "shape"),
        ([], [0], {}, "empty"),
        ([np.zeros((3, 2)), np.zeros((4, 2))], [0, 1, 1], {}, r"\(3, 2\) or \(4, 2\)"),
        (np.zeros((3, 1)), [0, 0, 0], {}, "two classes or more"),
        (5, [0, 1, 1], {}, "an array or a list of one array per epoch, not 5"),
        ([[[1.0, 2.0], [1.0]]], [0, 1], {}, "Predictions need rows of one length"),
        (GOOD, ["a", "b", "c"], {}, "Labels need numbers, not"),
        (GOOD, [0, 1], {}, "each of 3 samples"),
        (GOOD, [0.0, 1.0, 1.0], {}, "each of 3 samples"),
        (GOOD, [0, 1, 2], {}, "label 2 of sample 2 is no class"),
        (GOOD, [0, -1, 1], {}, "label -1 of sample 1"),
        (GOOD * np.nan, [0, 1, 1], {}, "sample 0 in epoch 1 are not finite logits"),
        (GOOD + 0.4, [0, 1, 1], {"probabilities": True}, "sample 0 in epoch 1 are not probabilities"),
        (GOOD, [0, 1, 1], {"by": "self_influence"}, "cannot be computed from predictions"),
        (GOOD, [0, 1, 1], {"by": "guess"}, "Unknown estimator 'guess'"),
        (GOOD, [0, 1, 1], {"tau": 101}, "tau"),
        (GOOD, [0, 1, 1], {"ids": [1]}, "1 ids for 3 samples"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(
    values: Any, labels: Any, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(DiffInfError, match=message):
        rank_labels(values, labels, **more)
