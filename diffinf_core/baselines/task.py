"""What every method is given: data, network, recipe and seed, and what is known beyond the labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from diffinf_core.baselines.recipe import Recipe
from diffinf_core.classifier.training import TrainingSet
from diffinf_core.records import DiffInfError

#: changes a batch (B, ...) at random, by PyTorch's global generator, which the training loop seeds
View = Callable[[Tensor], Tensor]
#: builds an untrained network that maps a batch to logits (B, classes)
Network = Callable[[int], nn.Module]


@dataclass(frozen=True)
class Task:
    """One training problem.

    ``data`` is read a batch at a time, so it may be larger than memory. ``network`` takes the number
    of classes (AUM needs one more than the data have). ``noise_rate`` is the fraction of wrong labels
    where it is known. ``ranking`` (N,) is a suspicion score from elsewhere, such as self-influence,
    higher is more suspicious; ``refined`` is the training set of a method that trains on another one, such
    as a repaired one. The true labels are not here: no method may see them.
    """

    data: TrainingSet
    classes: int
    network: Network
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    validation: TrainingSet | None = None
    weak: View | None = None
    strong: View | None = None
    noise_rate: float | None = None
    ranking: NDArray[np.floating] | None = None
    refined: TrainingSet | None = None

    @property
    def labels(self) -> NDArray[np.int64]:
        """The assigned labels (N,)."""
        return np.asarray(self.data.labels, np.int64)

    def on(self, data: TrainingSet, seed: int = 0, classes: int | None = None) -> Task:
        """The same task on other data, with ``seed`` more; a changed class count drops validation."""
        return replace(
            self,
            data=data,
            classes=classes or self.classes,
            seed=self.seed + seed,
            validation=self.validation if classes is None else None,
            ranking=None,
        )

    def known_noise_rate(self, name: str) -> float:
        """The noise rate; :class:`DiffInfError` where it is unknown or cannot be one."""
        if self.noise_rate is None:
            raise DiffInfError(
                f"{name} needs the fraction of wrong labels and this data set has none; give a noise "
                "rate, or estimate one with diffinf_core.baselines.confident.estimated_noise_rate."
            )
        if not 0 <= self.noise_rate < 1:
            raise DiffInfError(f"A noise rate of {self.noise_rate} is not in [0, 1).")
        return self.noise_rate

    def check(self, name: str) -> None:
        """:class:`DiffInfError` for data that nothing can be learnt from."""
        labels = self.labels
        if len(labels) != len(self.data):
            raise DiffInfError(
                f"{name} was given {len(self.data)} samples but {len(labels)} labels."
            )
        if len(labels) < 2:
            raise DiffInfError(
                f"{name} cannot train on {len(labels)} samples; give at least two per class."
            )
        if labels.min() < 0 or labels.max() >= self.classes:
            raise DiffInfError(
                f"{name} was given a label {labels.max() if labels.min() >= 0 else labels.min()}, "
                f"but the classes are numbered 0 to {self.classes - 1}."
            )
        if len(np.unique(labels)) < 2:
            raise DiffInfError(
                f"{name} cannot train on one class: every label is {int(labels[0])}; "
                "give samples of at least two classes."
            )
