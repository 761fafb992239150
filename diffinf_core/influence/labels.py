"""Label quality from logits that any training has logged: no model and no extra pass needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from diffinf_core.classifier.training import SIGNAL_COLUMNS
from diffinf_core.config import estimator_names
from diffinf_core.influence.arrays import as_array
from diffinf_core.influence.estimators import logged_scores, rank_table, score_of
from diffinf_core.records import DiffInfError

#: probabilities below it count as it; their logarithm is a logit
_TINY = 1e-12


def rank_labels(
    values: Any,
    labels: Any,
    *,
    probabilities: bool = False,
    by: str = "mean_loss",
    tau: float = 10.0,
    ids: Sequence[object] | None = None,
) -> pd.DataFrame:
    """Rank training samples by how suspicious their labels are, from logged predictions.

    Four signals over epochs: ``mean_loss`` (cross-entropy of the label; Arpit et al. 2017), ``aum``
    (largest other logit minus the label's; Pleiss et al. 2020, with the sign turned so that high is
    suspicious), ``el2n`` (length of softmax minus one-hot; Paul et al. 2021) and ``forgetting`` (times
    a fitted sample was lost again, the number of epochs where it never was; Toneva et al. 2019).
    Epochs from before memorisation tell most; leave out the later ones.

    Args:
        values: logits (E, N, C) of N samples in E epochs, or (N, C) of one; arrays or tensors.
        labels: class indices (N,) in [0, C).
        probabilities: whether ``values`` are probabilities, in [0, 1] with sum 1 over classes.
        by: the signal that gives ``score`` and rank, or several joined by ``+``: their mean rank.
        tau: per cent of the samples that are marked ``high``, in (0, 100].
        ids: N names of the samples. Default: their positions.

    Returns:
        One row per sample, in order: ``id``, ``label``, the four signals, ``score``, ``rank`` (1 is the
        most suspicious), ``percentile`` (0 to 100) and ``high``.

    Raises:
        DiffInfError: for shapes that do not fit, labels without a class, values that are not finite and
            probabilities that do not sum to one; the message names the sample.
    """
    y = as_array(labels, "Labels")
    epochs = [as_array(v, "Predictions").astype(np.float64) for v in _epochs(values)]
    shapes = {v.shape for v in epochs}
    if len(shapes) != 1 or epochs[0].ndim != 2 or epochs[0].shape[1] < 2:
        raise DiffInfError(
            "Predictions need shape (epochs, samples, classes) or (samples, classes), with two classes "
            f"or more; each epoch is {' or '.join(map(str, sorted(shapes))) or 'empty'}."
        )
    n, classes = epochs[0].shape
    if y.shape != (n,) or not np.issubdtype(y.dtype, np.integer):
        raise DiffInfError(
            f"Labels need one class index for each of {n} samples, not shape {y.shape} of {y.dtype}."
        )
    if bad := np.flatnonzero((y < 0) | (y >= classes)).tolist():
        raise DiffInfError(
            f"The label {y[bad[0]]} of sample {bad[0]} is no class; there are {classes}."
        )
    if ids is not None and len(ids) != n:
        raise DiffInfError(f"There are {len(ids)} ids for {n} samples.")
    if not 0 < tau <= 100:
        raise DiffInfError(f"tau must be in (0, 100], not {tau}.")
    _check_signals(by)
    signals = np.stack([_signals(v, y, probabilities, e) for e, v in enumerate(epochs)])
    table = pd.DataFrame(
        {"id": range(n) if ids is None else list(ids), "label": y}
        | logged_scores(signals, len(signals))
    )
    ranked = rank_table(table["id"], score_of(table, by), tau)
    return pd.concat([table, ranked.drop(columns="id")], axis=1)


def _epochs(values: Any) -> list[Any]:
    """The predictions of each epoch."""
    if getattr(values, "ndim", 3) == 2:
        return [values]
    try:
        return list(values)
    except TypeError as error:
        raise DiffInfError(
            f"Predictions are an array or a list of one array per epoch, not {values!r}."
        ) from error


def _check_signals(by: str) -> None:
    known = ("mean_loss", "aum", "el2n", "forgetting")
    try:
        names = estimator_names(by)
    except ValueError as error:
        raise DiffInfError(f"{str(error)[0].upper()}{str(error)[1:]}.") from error
    if other := [name for name in names if name not in known]:
        raise DiffInfError(
            f"{other[0]} cannot be computed from predictions; choose among {', '.join(known)}."
        )


def _signals(
    values: NDArray[np.float64], y: NDArray[Any], probabilities: bool, epoch: int
) -> NDArray[np.float64]:
    """Loss, margin and el2n (N, 3) of one epoch, in the order of :data:`SIGNAL_COLUMNS`."""
    wrong = ~np.isfinite(values).all(1)
    if probabilities:
        wrong |= (values < 0).any(1) | (np.abs(values.sum(1) - 1) > 1e-3)
    if wrong.any():
        what = "probabilities" if probabilities else "finite logits"
        raise DiffInfError(
            f"The predictions of sample {int(np.flatnonzero(wrong)[0])} in epoch {epoch + 1} are not "
            f"{what}."
        )
    logits = np.log(np.maximum(values, _TINY)) if probabilities else values
    rows = np.arange(len(y))
    other = logits.copy()
    other[rows, y] = -np.inf
    error = softmax(logits, 1)
    error[rows, y] -= 1
    found = {
        "loss": -log_softmax(logits, 1)[rows, y],
        "margin": logits[rows, y] - other.max(1),
        "el2n": np.linalg.norm(error, axis=1),
    }
    return np.stack([found[name] for name in SIGNAL_COLUMNS], 1)
