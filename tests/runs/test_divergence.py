"""A training that diverged is one sentence with the epoch and the setting to lower."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diffinf_core.classifier.metrics import evaluate
from diffinf_core.classifier.training import train_classifier
from diffinf_core.config import ClassifierConfig, PredictorConfig
from diffinf_core.influence.predictor import train_predictor
from diffinf_core.records import DiffInfError
from diffinf_core.runs.divergence import ABSURD, check_loss, lower


class Blobs:
    """Random pictures with labels, of which some have no finite pixels."""

    def __init__(self, n: int = 16, broken: bool = False) -> None:
        self.x = torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
        if broken:
            self.x[3] = torch.nan
        self.labels = np.arange(n, dtype=np.int64) % 2

    def __len__(self) -> int:
        return len(self.labels)

    def tensors(self, positions: object) -> torch.Tensor:
        return self.x[torch.as_tensor(np.asarray(positions))]


@pytest.mark.parametrize(
    "loss", [float("nan"), float("inf"), -float("inf"), 2 * ABSURD, -2 * ABSURD]
)
def test_a_loss_that_is_none_is_a_sentence(loss: float) -> None:
    with pytest.raises(DiffInfError) as caught:
        check_loss(loss, "The training", "epoch 3", lower("classifier.learning_rate", 0.3))
    text = str(caught.value)
    assert "epoch 3" in text and "--set classifier.learning_rate=0.1" in text and text.endswith(".")


@pytest.mark.parametrize("loss", [0.0, -3.0, 50.0, ABSURD])
def test_a_usual_loss_passes(loss: float) -> None:
    check_loss(loss, "The training", "epoch 3", "lower it")


@pytest.mark.parametrize("setting", ["classifier.learning_rate", "retrain.learning_rate"])
def test_the_classifier_names_its_epoch_and_setting(tmp_path: Path, setting: str) -> None:
    config = ClassifierConfig(epochs=2, checkpoints=1, batch_size=8)
    with pytest.raises(DiffInfError, match=rf"diverged in epoch 1: .*lower {setting}"):
        list(train_classifier(Blobs(broken=True), 2, config, tmp_path, rate_setting=setting))
    assert not (tmp_path / "final.pt").exists()


def test_weights_that_broke_in_the_last_step_are_seen_on_the_validation_split(
    tmp_path: Path,
) -> None:
    config = ClassifierConfig(epochs=1, checkpoints=1, batch_size=8)
    with pytest.raises(DiffInfError, match="diverged in epoch 1"):
        list(train_classifier(Blobs(), 2, config, tmp_path, validation=Blobs(broken=True)))


def test_the_predictor_names_its_epoch_and_setting() -> None:
    g = torch.full((8, 4), torch.nan)
    labels, high = torch.zeros(8, dtype=torch.int64), torch.tensor([0, 1] * 4)
    with pytest.raises(DiffInfError, match=r"epoch 1: .*predictor\.learning_rate"):
        train_predictor(g, labels, high, 2, PredictorConfig(), 0)


def test_classes_that_are_absent_are_left_out_of_the_means_where_that_is_asked_for() -> None:
    labels = np.array([0, 0, 1, 1])
    p = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]])
    with pytest.raises(DiffInfError, match="class number 2"):
        evaluate(labels, p)
    figures = evaluate(labels, p, absent=True)
    assert figures["balanced_accuracy"] == pytest.approx((0.5 + 1) / 2)
    assert figures["auroc"] == pytest.approx(1.0)
    assert evaluate(labels[:2], p[:2], absent=True)["auroc"] == 0.5
