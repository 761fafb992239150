"""Out-of-fold confidence from frozen features: the probability of the assigned label by a linear classifier
of what AlexNet sees in the picture, fitted without the sample.

A network that is trained on the run's pictures follows their wrong labels, since it has to learn to see from
them. AlexNet has learnt to see from ImageNet, and a linear classifier of few features is too stiff to follow
single labels, so that confident learning (Northcutt et al., JAIR 2021) works where a third of the labels is
wrong. AlexNet ships as the trunk of LPIPS.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.classifier.training import device
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import Part, open_training
from diffinf_core.influence.confidence import check_folds
from diffinf_core.influence.embedding import SLICE, extract
from diffinf_core.records import Progress
from diffinf_core.runs.files import read_array, read_tensors, write_array, write_tensors
from diffinf_core.runs.run import Run, StageFolder
from diffinf_core.runs.stages import Stage, Work
from diffinf_core.weights.files import load_weights, shipped
from diffinf_core.weights.lpips import LpipsAlex

#: side in pixels that AlexNet was trained at; pictures are scaled to it
_SIDE = 224
#: which of the five convolutions, from 0, its channels, and the side of the grid that it is averaged to:
#: where in the picture something is has to stay known
_LAYER, _CHANNELS, _GRID = 3, 256, 7
#: principal components that are kept, and pictures that they are fitted to
_COMPONENTS, _FITTED_AXES = 256, 2048
#: pictures that a linear classifier is fitted to at most, in each fold, and of a class at least, if there are
_FITTED, _FEWEST = 50_000, 500
#: C of the logistic regression from stiff to soft, until the log loss on the folds left out rises
_STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1, 1.0)
_MOST_STEPS = 1000
_BATCH = 64
_NOTE = "feature_confidence"


class FrozenFeatures(nn.Module):
    """The principal components (B, D) of AlexNet's features of pictures (B, 3, S, S) in [-1, 1].

    They keep their relative scale; their mean standard deviation is 1.
    """

    mean: Tensor
    axes: Tensor

    def __init__(self, components: int) -> None:
        super().__init__()
        self.trunk = LpipsAlex()
        wide = _CHANNELS * _GRID**2
        self.register_buffer("mean", torch.zeros(wide))
        self.register_buffer("axes", torch.zeros(wide, components))

    def activations(self, x: Tensor) -> Tensor:
        """What AlexNet sees (B, wide), before the projection."""
        if x.shape[-2:] != (_SIDE, _SIDE):
            x = F.interpolate(x, (_SIDE, _SIDE), mode="bilinear", antialias=True)
        return F.adaptive_avg_pool2d(self.trunk.layers(x)[_LAYER], _GRID).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return (self.activations(x) - self.mean) @ self.axes


def run_feature_confidence(run: Run) -> Work:
    """Project every picture's features, then fit the linear classifiers, each without one fold."""
    from cleanlab.rank import get_label_quality_scores

    check_folds(run)
    stage, train = FEATURE_CONFIDENCE.folder(run), open_training(run)
    yield Progress("influence", 0, len(train), f"{_NOTE}, principal components")
    network = _fitted_axes(stage, train, run.config.influence.seed)
    for event in extract(stage, train, network, _BATCH):
        yield replace(event, stage="influence", note=f"{_NOTE}, {event.note}")
    chosen, probabilities = yield from _choose_strength(run, stage, train)
    write_array(stage / "probabilities.npy", probabilities)
    confident = get_label_quality_scores(train.labels, probabilities, method="self_confidence")
    write_array(stage / "score.npy", 1.0 - np.asarray(confident, float))
    for file in (*stage.path.glob("slice-*.npy"), *stage.path.glob("strength-*.npy")):
        file.unlink()
    return {
        "folds": run.config.influence.folds,
        "strength": chosen,
        "log_loss": _log_loss(probabilities, train.labels),
    }


@torch.no_grad()
def _fitted_axes(stage: StageFolder, train: Part, seed: int) -> FrozenFeatures:
    """The network with the axes that the stage has, or new ones by some of the pictures."""
    n, file = len(train), stage / "axes.pt"
    some = np.sort(np.random.default_rng(seed).permutation(n)[:_FITTED_AXES])
    network = FrozenFeatures(min(_COMPONENTS, len(some)))
    load_weights(shipped("lpips"), network.trunk)
    if file.exists():
        state = read_tensors(file)
        network.mean, network.axes = state["mean"], state["axes"]
        return network.eval()
    network.to(device()).eval()
    parts = [
        network.activations(train.tensors(some[i : i + _BATCH]).to(device())).cpu()
        for i in range(0, len(some), _BATCH)
    ]
    network.cpu()
    seen = torch.cat(parts)
    network.mean = seen.mean(0)
    centred = seen - network.mean
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        axes = torch.pca_lowrank(centred, network.axes.shape[1], center=False, niter=3)[2]
    network.axes = axes / (centred @ axes).std(0).mean().clamp_min(1e-12)
    write_tensors(file, {"mean": network.mean, "axes": network.axes})
    return network


def _choose_strength(
    run: Run, stage: StageFolder, train: Part
) -> Generator[Progress, None, tuple[float, NDArray[np.float64]]]:
    """C and its out-of-fold probabilities (N, C): softer until the log loss rises."""
    c = run.config.influence
    fold = train.folds(c.folds, c.seed)
    best: tuple[float, float, NDArray[np.float64]] | None = None
    for i, strength in enumerate(_STRENGTHS):
        probabilities = np.zeros((len(train), len(train.classes)))
        for k in range(c.folds):
            file = stage / f"strength-{i}-fold-{k}.npy"
            if not file.exists():
                yield Progress("influence", k, c.folds, f"{_NOTE}, C = {strength:g}")
                write_array(file, _predicted(stage, train, fold, k, strength, c.seed))
            probabilities[fold == k] = read_array(file)
        loss = _log_loss(probabilities, train.labels)
        if best is not None and loss >= best[0]:
            break
        best = loss, strength, probabilities
    assert best is not None
    return best[1], best[2]


def _predicted(
    stage: StageFolder, train: Part, fold: NDArray[np.int64], k: int, strength: float, seed: int
) -> NDArray[np.float64]:
    """Class probabilities (n, C) of the pictures of fold k, by a classifier that was fitted without them."""
    outside = _some_of_each_class(train.labels, np.flatnonzero(fold != k), seed)
    model = LogisticRegression(C=strength, max_iter=_MOST_STEPS)
    n = len(train)
    features = np.concatenate([x[np.isin(rows, outside)] for rows, x in _slices(stage, n)])
    with warnings.catch_warnings():  # nearly converged is good enough, and the same every time
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, train.labels[outside])
    parts = [x[fold[rows] == k] for rows, x in _slices(stage, n)]
    out = np.zeros((int((fold == k).sum()), len(train.classes)))
    out[:, model.classes_] = np.concatenate([model.predict_proba(x) for x in parts if len(x)])
    return out


def _some_of_each_class(
    labels: NDArray[np.int64], rows: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """Rows in order, at most about :data:`_FITTED` of them: the same fraction of each class, and of a rare
    one all or :data:`_FEWEST`."""
    if len(rows) <= _FITTED:
        return rows
    rows = np.random.default_rng(seed).permutation(rows)
    kept = []
    for k in np.unique(labels[rows]):
        own = rows[labels[rows] == k]
        kept.append(own[: max(_FEWEST, round(len(own) * _FITTED / len(rows)))])
    return np.sort(np.concatenate(kept))


def _slices(stage: StageFolder, n: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """(positions (k,), features (k, D)) of each slice."""
    for start in range(0, n, SLICE):
        rows = np.arange(start, min(start + SLICE, n))
        yield rows, read_array(stage / f"slice-{start:08d}.npy").astype(np.float64)


def _log_loss(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The mean cross-entropy of labels (N,) in nats."""
    right = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(right, 1e-12)).mean())


FEATURE_CONFIDENCE = Stage(
    "feature_confidence",
    run_feature_confidence,
    "score the labels by a linear classifier of frozen features",
    inputs=(DATA,),
    settings=lambda run: [run.config.influence.model_dump(include={"folds", "seed"})],
)


def feature_probabilities(run: Run) -> NDArray[np.float64] | None:
    """Class probabilities (N, C) of the training pictures, each by the linear classifier that was fitted
    without it; None where they are not computed."""
    stage = FEATURE_CONFIDENCE.folder(run)
    return read_array(stage / "probabilities.npy") if stage.done else None
