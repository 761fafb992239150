"""Metrics on a clean split, as defined in the paper's Table 1, and the calibration it leaves out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from diffinf_core.records import DiffInfError

ECE_BINS = 15


def confidence_bin(confidence: NDArray[np.float64], bins: int = ECE_BINS) -> NDArray[np.int64]:
    """The equal-width bin of each confidence in [0, 1]; a right edge belongs to its bin."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def expected_calibration_error(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], bins: int = ECE_BINS
) -> float:
    """Mean gap between confidence and accuracy over equal-width confidence bins."""
    confidence = probabilities.max(1)
    correct = probabilities.argmax(1) == labels
    index = confidence_bin(confidence, bins)
    gap = 0.0
    for b in range(bins):
        inside = index == b
        if inside.any():
            gap += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return float(gap)


def binary_calibration_error(
    happened: NDArray[np.int64], probability: NDArray[np.float64], bins: int = 10
) -> float:
    """Mean gap between forecast and frequency over bins that hold equally many forecasts each."""
    order = np.argsort(probability, kind="stable")
    gaps = [
        len(part) * abs(happened[part].mean() - probability[part].mean())
        for part in np.array_split(order, bins)
        if len(part)
    ]
    return float(sum(gaps) / len(order))


def evaluate(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], absent: bool = False
) -> dict[str, float]:
    """All metrics of one split.

    ``labels`` (N,) in [0, C), ``probabilities`` (N, C) with rows that sum to 1. AUROC is the macro
    mean over classes, one against the rest. Raises :class:`DiffInfError` where a class is absent,
    because its AUROC does not exist; with ``absent`` the means are over the classes that are there (AUROC
    is 0.5 where that is one alone).
    """
    labels = np.asarray(labels, np.int64)
    p = np.asarray(probabilities, np.float64)
    p = p / p.sum(1, keepdims=True)
    classes = p.shape[1]
    missing = set(range(classes)) - set(labels.tolist())
    if missing and not absent:
        raise DiffInfError(f"The evaluation split has no sample of class number {min(missing)}.")
    predicted = p.argmax(1)
    order = list(range(classes))
    there = [c for c in order if c not in missing]
    recall = [float((predicted[labels == c] == c).mean()) for c in there]
    ranked = there if len(there) > 1 else []
    chosen = np.clip(p[np.arange(len(p)), labels], 1e-12, 1)
    return {
        "accuracy": float((predicted == labels).mean()),
        "balanced_accuracy": float(np.mean(recall)),
        "auroc": float(np.mean([roc_auc_score(labels == c, p[:, c]) for c in ranked] or [0.5])),
        # Without the label list, a class missing from both vectors would shift the distances.
        "kappa_linear": float(cohen_kappa_score(labels, predicted, weights="linear", labels=order)),
        "kappa": float(cohen_kappa_score(labels, predicted, labels=order)),
        "ece": expected_calibration_error(labels, p),
        "nll": float(-np.log(chosen).mean()),
    }
