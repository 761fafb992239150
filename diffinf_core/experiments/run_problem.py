"""The benchmark's problem made from a run: its split, its noisy labels, its groups, its repaired sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from diffinf_core.baselines import Method, Recipe, Task
from diffinf_core.baselines.views import strong_view, weak_view
from diffinf_core.classifier.network import build_classifier
from diffinf_core.classifier.stage import imagenet_weights, started_from
from diffinf_core.classifier.training import TrainingSet
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import Part, open_training, open_validation
from diffinf_core.data.truth import open_truth
from diffinf_core.experiments.controls import build_set, prepare_set, set_key
from diffinf_core.experiments.fairness import subgroups
from diffinf_core.influence.stage import ranking, ranking_key
from diffinf_core.records import Progress
from diffinf_core.runs.run import Run


@dataclass(frozen=True)
class RunNetwork:
    """Builds a run's network, from ``weights`` where it starts from some; see :class:`Task`."""

    architecture: str
    weights: Path | None

    def __call__(self, classes: int) -> nn.Module:
        """Untrained, for so many classes."""
        return build_classifier(self.architecture, classes, self.weights)


@dataclass(frozen=True)
class RunProblem:
    """A run as a benchmark's problem.

    Every row has the run's split, noisy labels, network, batch size and, by ``retrain``, its epochs and
    learning rate. ``schedule`` "cosine" is that of retrained arms, "constant" that of the paper.
    ``noise_rate`` is what methods are told; None tells the rate of the noise that the run injected, and
    nothing where labels were taken as they came. Without ``augment`` no row has views, not even a
    strong one.
    """

    run: Run
    augment: bool = True
    schedule: Literal["cosine", "constant"] = "cosine"
    noise_rate: float | None = None

    @property
    def classes(self) -> Sequence[str]:
        """The names of the classes, in order."""
        return open_training(self.run).classes

    @property
    def recipe(self) -> Recipe:
        """What rows are trained with under the matched preset."""
        c = self.run.config
        return Recipe(
            epochs=c.retrain.epochs,
            batch_size=c.classifier.batch_size,
            learning_rate=c.retrain.learning_rate,
            schedule=self.schedule,
        )

    @property
    def known_rate(self) -> float | None:
        """The noise rate that methods are told."""
        injected = self.run.config.noise.rate
        return self.noise_rate if self.noise_rate is not None else injected or None

    def key(self, method: Method) -> str:
        """Changes with all that the training of a method depends on, and with the test split."""
        needs, c = method.needs, self.run.config.classifier
        parts: list[object] = [
            DATA.key(self.run), c.architecture, started_from(self.run), self.augment,
        ]  # fmt: skip
        if needs.noise_rate:
            parts.append(self.known_rate)
        if needs.ranking:
            parts.append(ranking_key(self.run))
        if needs.refined:
            parts.append(set_key(self.run, method.name))
        return str(parts)

    def prepare(self, method: Method) -> Iterator[Progress]:
        """Make the edits that a method trains on, beyond those of the run."""
        if method.needs.refined:
            yield from prepare_set(self.run, method.name)

    def task(self, seed: int, method: Method) -> Task:
        """The training problem of a method under a seed."""
        run, train = self.run, open_training(self.run)
        return Task(
            data=train,
            classes=len(train.classes),
            network=RunNetwork(run.config.classifier.architecture, imagenet_weights(run)),
            recipe=self.recipe,
            seed=seed,
            validation=open_validation(run),
            weak=weak_view if self.augment else None,
            strong=strong_view if self.augment else None,
            noise_rate=self.known_rate,
            ranking=ranking(run)["score"].to_numpy(float) if method.needs.ranking else None,
            refined=self._refined(method),
        )

    def _refined(self, method: Method) -> TrainingSet | None:
        return build_set(self.run, method) if method.needs.refined else None

    def test(self) -> Part:
        """The clean test split."""
        return open_truth(self.run, "benchmark").test()

    def groups(self) -> Mapping[tuple[str, str], NDArray[np.bool_]]:
        """Who belongs to which value of each column that cuts the test split into groups."""
        return subgroups(open_truth(self.run, "benchmark").test_columns())

    def wrong(self) -> NDArray[np.bool_] | None:
        """Which training labels are wrong (N,); None where nobody knows."""
        truth = open_truth(self.run, "benchmark").training()
        return None if truth is None else truth[1]
