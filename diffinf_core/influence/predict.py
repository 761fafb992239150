"""h_omega for the users of the library: fit on features, labels and a mask, predict a probability."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from diffinf_core.config import PredictorConfig, explain
from diffinf_core.data.split import fold_of
from diffinf_core.influence.arrays import as_array
from diffinf_core.influence.predictor import PredictorNet, train_predictor
from diffinf_core.records import DiffInfError


class InfluencePredictor:
    """The probability that a sample is high-influence under a label, from features (equation 12).

    A small network on features and label, trained with weighted cross-entropy and corrected for the
    weight, so that the mean prediction is near the fraction of high-influence samples.

    ``settings`` are :class:`PredictorConfig` or some of its fields: width, passes, rate, folds, seed.
    """

    def __init__(self, settings: PredictorConfig | Mapping[str, Any] | None = None) -> None:
        try:
            given = settings if isinstance(settings, PredictorConfig) else None
            self.settings = given or PredictorConfig(**dict(settings or {}))
        except ValidationError as error:
            raise DiffInfError(f"settings: {explain(error)}") from error
        self._net: PredictorNet | None = None

    def fit(self, features: Any, labels: Any, high: Any) -> InfluencePredictor:
        """Fit and return the predictor itself.

        Args:
            features: floats (N, D), for example activations before the output layer.
            labels: class indices (N,) from 0.
            high: bools (N,), for example the ``high`` column of :func:`self_influence`.

        Raises:
            DiffInfError: for shapes that do not fit, negative labels, features that are not finite.
        """
        g, y = _features_and_labels(features, labels)
        mask = _mask(high, len(g))
        self._net = self._train(g, y, mask, int(y.max()) + 1, self.settings.seed)
        return self

    def predict(self, features: Any, labels: Any) -> NDArray[np.float32]:
        """Probabilities (N,) of being high-influence, for features (N, D) under class indices (N,).

        Meant for samples that were not fitted; for those that were, see :meth:`cross_fit`.
        """
        g, y = _features_and_labels(features, labels)
        self._check(g, y)
        with torch.no_grad():
            return self.logit(g, y).sigmoid().numpy()

    def logit(self, features: Tensor, labels: Tensor) -> Tensor:
        """Logits (N,), differentiable in the features, on their device.

        As the predictor of :func:`repair`::

            di.repair(images, labels, predictor=lambda x, y: predictor.logit(network(x), y))
        """
        if self._net is None:
            raise DiffInfError("The predictor is not fitted; call fit first.")
        return self._net.to(features.device)(features, labels)

    def cross_fit(
        self, features: Any, labels: Any, high: Any, groups: Sequence[object] | None = None
    ) -> NDArray[np.float32]:
        """Out-of-fold probabilities (N,): no sample is predicted by a network that was fitted on it.

        ``groups`` (N,) keeps samples that belong together, such as pictures of one person, in one of the
        ``settings.folds`` folds. What :meth:`fit` fitted is left as it is.
        """
        g, y = _features_and_labels(features, labels)
        mask = _mask(high, len(g))
        if groups is not None and len(groups) != len(g):
            raise DiffInfError(f"There are {len(groups)} groups for {len(g)} samples.")
        names = None if groups is None else [str(group) for group in groups]
        out = np.zeros(len(g), np.float32)
        for k, inside in _folds(len(g), self.settings, names):
            rest, classes = ~inside, int(y.max()) + 1
            net = self._train(g[rest], y[rest], mask[rest], classes, self.settings.seed + k)
            with torch.no_grad():
                out[inside] = net(g[inside], y[inside]).sigmoid().numpy()
        return out

    def _train(self, g: Tensor, y: Tensor, mask: Tensor, classes: int, seed: int) -> PredictorNet:
        """One network; the caller's random numbers go on as if it had not been trained."""
        with torch.random.fork_rng(devices=[]):
            return train_predictor(g, y, mask, classes, self.settings, seed)

    def _check(self, g: Tensor, y: Tensor) -> None:
        if self._net is None:
            raise DiffInfError("The predictor is not fitted; call fit first.")
        width, classes = self._net.norm.num_features, self._net.label.num_embeddings
        if g.shape[1] != width or int(y.max()) >= classes:
            raise DiffInfError(
                f"Features of width {g.shape[1]} and labels up to {int(y.max())} do not fit a predictor "
                f"of width {width} and {classes} classes."
            )


def _folds(
    n: int, config: PredictorConfig, groups: list[str] | None
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Each fold with the samples (N,) in it."""
    if n < 2 * config.folds:
        raise DiffInfError(f"{n} samples are too few for {config.folds} folds.")
    fold = fold_of(n, config.folds, config.seed, groups)
    yield from ((k, fold == k) for k in np.unique(fold).tolist())


def _features_and_labels(features: Any, labels: Any) -> tuple[Tensor, Tensor]:
    g, y = as_array(features, "Features").astype(np.float32), as_array(labels, "Labels")
    if (
        g.ndim != 2
        or len(g) < 1
        or y.shape != g.shape[:1]
        or not np.issubdtype(y.dtype, np.integer)
    ):
        raise DiffInfError(
            f"Features need shape (N, D) and labels a class index for each, not {g.shape} and {y.shape} of "
            f"{y.dtype}."
        )
    bad = np.flatnonzero(~np.isfinite(g).all(1) | (y < 0))
    if len(bad):
        raise DiffInfError(
            f"Sample {int(bad[0])} has features that are not finite or a negative label."
        )
    return torch.from_numpy(g), torch.from_numpy(y.astype(np.int64))


def _mask(high: Any, n: int) -> Tensor:
    mask = as_array(high, "The values of high")
    if mask.shape != (n,) or not np.isin(mask, (0, 1)).all():
        raise DiffInfError(f"high needs True or False for each of {n} samples.")
    return torch.from_numpy(mask.astype(np.int64))
