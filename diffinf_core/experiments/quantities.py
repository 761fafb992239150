"""Every figure of a model on a test split as sums over pictures, so that resampling is one matrix product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from diffinf_core.classifier.metrics import ECE_BINS, confidence_bin
from diffinf_core.experiments.retrain import METRICS

Floats = NDArray[np.float64]
#: who belongs (N,) to each (section, value)
Groups = Mapping[tuple[str, str], NDArray[np.bool_]]
LOWER_IS_BETTER = ("ece", "nll")
#: how the sections of groups, and of classes within them, begin
BY, WITHIN = "by ", "within "


@dataclass(frozen=True)
class Quantity:
    """One figure that every arm has.

    ``section`` is metric, recall, precision, "by " and a column (the accuracy in a group), or "within " and a
    column (the accuracy in one class of a group). ``n`` is the number of test pictures that it is
    measured on.
    """

    section: str
    name: str
    n: int

    @property
    def is_group(self) -> bool:
        """Whether it is the accuracy in a group."""
        return self.section.startswith(BY)

    @property
    def higher_is_better(self) -> bool:
        """Whether a rise is a gain."""
        return self.name not in LOWER_IS_BETTER or self.section != "metric"


def picture_columns(labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> Floats:
    """What each picture adds to the sums behind the figures of one model (N, K).

    In order: hits of each class, predictions of each class, classes between label and prediction,
    correct less confident in each bin, log loss, AUROC of each class.
    """
    p = np.asarray(probabilities, np.float64)
    p = p / p.sum(1, keepdims=True)
    n, count = p.shape
    predicted, confidence = p.argmax(1), p.max(1)
    hit = predicted == labels
    hot = labels[:, None] == np.arange(count)
    gap = np.zeros((n, ECE_BINS))
    gap[np.arange(n), confidence_bin(confidence)] = hit - confidence
    parts = [
        hot & hit[:, None],
        predicted[:, None] == np.arange(count),
        np.abs(labels - predicted)[:, None],
        gap,
        -np.log(np.clip(p[np.arange(n), labels], 1e-12, 1))[:, None],
        np.stack([_auroc_parts(p[:, c], hot[:, c]) for c in range(count)], 1),
    ]
    return np.concatenate([np.asarray(part, np.float64) for part in parts], 1)


def _auroc_parts(score: Floats, positive: NDArray[np.bool_]) -> Floats:
    """Components (N,) that add up to the AUROC: the share of pairs that a picture is in, rightly ordered."""
    ranks = rankdata(score)
    above, below = int(positive.sum()), int((~positive).sum())
    share = np.empty(len(score))
    share[positive] = (ranks[positive] - rankdata(score[positive])) / below
    share[~positive] = 1 - (ranks[~positive] - rankdata(score[~positive])) / above
    # both sides average to the area, which would be counted twice
    area = share[positive].mean()
    return (share - area / 2) / np.where(positive, above, below)


def figures_of(sums: Floats, grouped: Floats, labels: NDArray[np.int64], count: int) -> Floats:
    """Figures (B, M, Q) from sums (B, M, K) and the accuracy in each group (B, M, G)."""
    n = len(labels)
    members = np.bincount(labels, minlength=count)
    ends = np.cumsum([count, count, 1, ECE_BINS, 1, count])
    hits, predicted, apart, gaps, loss, areas = np.split(sums, ends[:-1], axis=2)
    places = np.arange(count)
    distance = np.abs(places[:, None] - places)
    accuracy, recall = hits.sum(2) / n, hits / members
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(predicted > 0, hits / predicted, np.nan)
    metrics = {
        "accuracy": accuracy,
        "balanced_accuracy": recall.mean(2),
        "auroc": areas.mean(2),
        "kappa_linear": 1 - n * apart[:, :, 0] / (predicted @ (distance @ members)),
        "kappa": 1 - (1 - accuracy) / (1 - predicted @ members / n**2),
        "ece": np.abs(gaps).sum(2) / n,
        "nll": loss[:, :, 0] / n,
    }
    return np.concatenate(
        [np.stack([metrics[m] for m in METRICS], 2), recall, precision, grouped], 2
    )


def quantities_of(
    labels: NDArray[np.int64],
    models: Sequence[NDArray[np.floating]],
    classes: Sequence[str],
    groups: Groups,
) -> tuple[Quantity, ...]:
    """What :func:`figures_of` returns, in its order; ``models`` are probabilities (N, C)."""
    members = np.bincount(labels, minlength=len(classes))
    predicted = np.min([np.bincount(p.argmax(1), minlength=len(classes)) for p in models], 0)
    return (
        *(Quantity("metric", name, len(labels)) for name in METRICS),
        *(Quantity("recall", name, int(n)) for name, n in zip(classes, members, strict=True)),
        *(Quantity("precision", name, int(n)) for name, n in zip(classes, predicted, strict=True)),
        *(Quantity(*key, int(member.sum())) for key, member in groups.items()),
    )


def group_accuracy(weights: NDArray[np.float32], hits: Floats, groups: Groups) -> Floats:
    """The accuracy (B, M, G) of each model (``hits`` is (N, M)) in each group under ``weights`` (B, N)."""
    out = np.empty((len(weights), hits.shape[1], len(groups)))
    for g, member in enumerate(groups.values()):
        own = weights[:, member]  # counts, which single precision holds exactly
        right = (own @ hits[member].astype(np.float32)).astype(np.float64)
        with np.errstate(invalid="ignore"):
            out[:, :, g] = right / own.sum(1, keepdims=True)
    return out
