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
from diffinf_core.classifier.stage import CLASSIFIER, imagenet_weights, started_from
from diffinf_core.classifier.training import TrainingSet
from diffinf_core.correction.judge import JUDGE
from diffinf_core.correction.repairer import find_generator, own_generators
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import Part, open_training, open_validation
from diffinf_core.data.truth import open_truth
from diffinf_core.diffusion.loading import weights_file
from diffinf_core.experiments.controls import (
    EDITING,
    build_set,
    edited_by,
    prepare_set,
    set_key,
)
from diffinf_core.experiments.fairness import subgroups
from diffinf_core.influence.predictor import PREDICTOR
from diffinf_core.influence.stage import INFLUENCE, ranking, ranking_key
from diffinf_core.records import Progress
from diffinf_core.runs.files import digest
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import Stage
from diffinf_core.weights.files import card_of


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
    ``noise_rate`` is what methods assume; None stands for the rate that the run injected, or for that of the
    wrong labels where they are known, and is unknown else. Without ``augment`` no row has views, not even a
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
        """The noise rate that methods assume; 0 where nothing was injected into labels known to be right."""
        if self.noise_rate is not None:
            return self.noise_rate
        if injected := self.run.config.noise.rate:
            return injected
        wrong = self.wrong()
        return None if wrong is None else float(wrong.mean())

    def lacks(self, method: Method) -> str | None:
        """A sentence on what a method needs and the run cannot give; None where nothing is missing."""
        if method.needs.noise_rate and self.known_rate is None:
            return (
                f"{method.title} needs the fraction of wrong labels, which is unknown for this data set: "
                "give an estimate by --noise-rate."
            )
        if method.needs.truth and self.wrong() is None:
            return f"{method.title} needs the true labels, which this data set does not have."
        return None

    @property
    def foreign_generator(self) -> bool:
        """Whether the run's edits are made by a generator that was trained on other pictures than its own."""
        used = find_generator(self.run)
        if used is None:
            return False
        file = weights_file(used)
        if file.resolve() in {own.resolve() for own in own_generators(self.run)}:
            return False
        # one that was trained on this run, and lies elsewhere, says so on its card; published ones have none
        data = card_of(file).get("data") if file.with_suffix(".json").exists() else None
        ids = data.get("ids") if isinstance(data, dict) else None
        return ids != digest(open_training(self.run).ids.tolist())

    def preparation(self, method: Method) -> float | None:
        """Seconds that the run spent on what a method needs of it; None where that is nothing or unknown."""
        stages: tuple[Stage, ...] = ()
        if method.needs.ranking or (method.needs.refined and method.name != "clean"):
            stages = (CLASSIFIER, INFLUENCE)
        if method.name in EDITING:
            stages = (*stages, PREDICTOR, JUDGE, REPAIR)
        edited = edited_by(self.run, method.name)
        folders = [s.folder(edited if s is REPAIR else self.run) for s in stages]
        if not folders or not all(folder.done for folder in folders):
            return None
        return sum(float(folder.figures["seconds"]) for folder in folders)

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
