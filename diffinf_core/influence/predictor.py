"""h_omega: the probability that a sample is high-influence under its assigned label (equation 12).

Cross-fitted: the training set is cut into K folds, and the predictor used on a sample was trained
without it. Targets are membership in the high-influence set, one in ten at tau = 10 %, so the loss
is weighted.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.classifier.metrics import binary_calibration_error
from diffinf_core.classifier.network import Classifier
from diffinf_core.classifier.stage import load_snapshot
from diffinf_core.classifier.training import device
from diffinf_core.config import PredictorConfig
from diffinf_core.data.part import open_training
from diffinf_core.influence.checkpoints import feature_epoch
from diffinf_core.influence.stage import INFLUENCE, ranking, ranking_key
from diffinf_core.records import Progress
from diffinf_core.runs.divergence import check_loss, lower
from diffinf_core.runs.files import read_tensors, write_array, write_tensors
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import Stage, Work

_LABEL_WIDTH = 16
_BATCH = 128


class PredictorNet(nn.Module):
    """Logit (B,) of being high-influence from features g (B, D) and labels (B,)."""

    prior: Tensor

    def __init__(self, features: int, classes: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(features)
        self.label = nn.Embedding(classes, _LABEL_WIDTH)
        self.layers = nn.Sequential(
            nn.Linear(features + _LABEL_WIDTH, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )
        # Training weighs positives up; this takes the weight out again, so h is a probability.
        self.register_buffer("prior", torch.zeros(()))

    def forward(self, features: Tensor, label: Tensor) -> Tensor:
        joined = torch.cat([self.norm(features), self.label(label)], 1)
        logit = self.layers(joined)[:, 0]
        return logit if self.training else logit - self.prior


def train_predictor(
    features: Tensor, labels: Tensor, high: Tensor, classes: int, config: PredictorConfig, seed: int
) -> PredictorNet:
    """Fit on features (N, D), labels (N,) and membership (N,) in {0, 1}."""
    torch.manual_seed(seed)
    net = PredictorNet(features.shape[1], classes, config.hidden)
    optimiser = torch.optim.Adam(net.parameters(), config.learning_rate, weight_decay=1e-3)
    positive = ((high == 0).sum() / high.sum().clamp(min=1)).clamp(1, 20)
    spread = features.std(0) * config.feature_noise
    for epoch in range(config.epochs):
        losses = torch.zeros(())
        for rows in torch.randperm(len(features)).split(_BATCH):
            if len(rows) < 2:
                continue
            g = features[rows] + spread * torch.randn_like(features[rows])
            loss = F.binary_cross_entropy_with_logits(
                net(g, labels[rows]), high[rows].float(), pos_weight=positive
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses += loss.detach() * len(rows)
        check_loss(
            float(losses) / len(features),
            "The influence predictor's training",
            f"epoch {epoch + 1}",
            lower("predictor.learning_rate", config.learning_rate),
        )
    net.prior.fill_(float(positive.log()))
    return net.eval().requires_grad_(False)


def run_predictor(run: Run) -> Work:
    """Cross-fit h over the training split."""
    stage = PREDICTOR.folder(run)
    train, config = open_training(run), run.config.predictor
    net = load_snapshot(run, feature_epoch(run))[0].to(device())
    features = []
    n = len(train)
    with torch.no_grad():
        for start in range(0, n, 256):
            x = train.tensors(np.arange(start, min(start + 256, n)))
            features.append(net.features(x.to(device())).cpu())
            yield Progress("predictor", len(features), n // 256 + 1 + config.folds, "features")
    g = torch.cat(features)
    y = torch.from_numpy(train.labels)
    high = torch.from_numpy(ranking(run)["high"].to_numpy().astype(np.int64))
    fold = train.folds(config.folds, config.seed)
    out_of_fold = np.zeros(n)
    for k in range(config.folds):
        file = stage / f"fold-{k}.pt"
        inside, outside = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        if file.exists():
            h = load_predictor(run, k)
        else:
            h = train_predictor(
                g[outside], y[outside], high[outside], len(train.classes), config, config.seed + k
            )
            write_tensors(file, {"net": h.state_dict()})
        with torch.no_grad():
            out_of_fold[inside] = h(g[inside], y[inside]).sigmoid().numpy()
        yield Progress("predictor", n // 256 + 2 + k, n // 256 + 1 + config.folds, f"fold {k + 1}")
    write_array(stage / "out_of_fold.npy", out_of_fold)
    both = 0 < int(high.sum()) < n
    return {
        "auroc": float(roc_auc_score(high, out_of_fold)) if both else None,
        "average_precision": float(average_precision_score(high, out_of_fold)) if both else None,
        # h is read as a probability: how far off it is, squared and by bins
        "brier": float(np.mean((out_of_fold - high.numpy()) ** 2)),
        "calibration_error": binary_calibration_error(high.numpy(), out_of_fold),
        "feature_epoch": feature_epoch(run),
    }


#: the K predictors; tau and the estimator decide their targets
PREDICTOR = Stage(
    "predictor",
    run_predictor,
    "learn what high influence looks like",
    inputs=(INFLUENCE,),
    settings=lambda run: [*ranking_key(run)[1:], run.config.predictor.provenance()],
)


def load_predictor(run: Run, fold: int) -> PredictorNet:
    """The predictor that never saw the samples of ``fold``."""
    state = read_tensors(PREDICTOR.folder(run) / f"fold-{fold}.pt")["net"]
    classes, features = state["label.weight"].shape[0], state["norm.weight"].shape[0]
    net = PredictorNet(features, classes, run.config.predictor.hidden)
    net.load_state_dict(state)
    return net.eval().requires_grad_(False)


class CrossFittedPredictor:
    """h for pictures: features of the classifier, and for each sample the fold that excludes it."""

    def __init__(self, run: Run) -> None:
        config = run.config.predictor
        self.net: Classifier = load_snapshot(run, feature_epoch(run))[0]
        self.folds = open_training(run).folds(config.folds, config.seed)
        self.heads = [load_predictor(run, k) for k in range(config.folds)]

    def to(self, where: torch.device) -> CrossFittedPredictor:
        """Move to a device."""
        self.net.to(where)
        for head in self.heads:
            head.to(where)
        return self

    def logit(self, x: Tensor, label: Tensor, positions: NDArray[np.int64]) -> Tensor:
        """Logits (B,) for pictures (B, 3, S, S) that stand at ``positions``; differentiable in x."""
        g = self.net.features(x)
        folds = self.folds[positions]
        out = g.new_zeros(len(x))
        for k in np.unique(folds):
            rows = torch.from_numpy(np.flatnonzero(folds == k)).to(x.device)
            out = out.index_put((rows,), self.heads[int(k)](g[rows], label[rows]))
        return out
