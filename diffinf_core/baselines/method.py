"""The interface of a method: one small class gives a loss; the training loop does the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffinf_core.baselines.recipe import Recipe
from diffinf_core.baselines.task import Task
from diffinf_core.baselines.training import build_networks, fit, forward, predict
from diffinf_core.classifier.training import TrainingSet, device
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import read_json, read_tensors, write_table

if TYPE_CHECKING:
    from diffinf_core.baselines.training import Batch, Fit

SCORES_FILE = "train_scores.csv"


class NotFiniteLogitsError(DiffInfError):
    """A trained network predicts NaN or infinity."""


@dataclass(frozen=True)
class Needs:
    """What a method needs beyond labelled pictures; ``truth``: its training set is made with true labels."""

    noise_rate: bool = False
    ranking: bool = False
    refined: bool = False
    truth: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a method concludes about its training samples, each (N,).

    ``suspicion``: higher is more likely mislabelled. ``kept``: trained on with its label.
    ``corrected``: the label that the method believes in. None where it has no such thing.
    """

    suspicion: NDArray[np.float64] | None = None
    kept: NDArray[np.bool_] | None = None
    corrected: NDArray[np.int64] | None = None

    def write(self, folder: Path) -> None:
        """``train_scores.csv``: a line per sample, in the order of the data."""
        columns = {
            "suspicion": self.suspicion,
            "kept": None if self.kept is None else self.kept.astype(int),
            "corrected": self.corrected,
        }
        given = {name: column for name, column in columns.items() if column is not None}
        write_table(folder / SCORES_FILE, pd.DataFrame(given))


@dataclass(frozen=True)
class Method(ABC):
    """A way to train on labels of which some are wrong; its fields are its hyperparameters.

    A subclass sets ``name`` and ``title`` and gives :meth:`loss`; the other hooks are there for
    those that need them. A method holds no state: what it keeps between steps lives in ``fit.state``
    and ``fit.modules``, which are saved and resumed. Random numbers come from PyTorch's global
    generator, which the loop seeds for each step.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    needs: ClassVar[Needs] = Needs()
    #: passes of work relative to plain training, a forward as 1 and forward with backward as 3
    cost: ClassVar[float] = 1.0
    #: of the code behind its training: raised where that gives other results, which are then made anew
    version: ClassVar[int] = 1
    networks: ClassVar[int] = 1
    #: which networks are trained together in each pass over the data
    turns: ClassVar[tuple[tuple[int, ...], ...]] = ((0,),)
    #: the recipe and the hyperparameters of the method's authors; None where they are the matched ones
    source_recipe: ClassVar[Recipe | None] = None
    source_options: ClassVar[Mapping[str, Any]] = {}

    # ---------------------------------------------------------------- hooks

    def build(self, task: Task) -> nn.Module:
        """One untrained network."""
        return task.network(task.classes)

    def start(self, fit: Fit) -> None:
        """Make the tables and moving averages of a training."""

    def begin_epoch(self, fit: Fit) -> None:
        """Before the batches of an epoch; without gradients."""

    def order(self, fit: Fit, networks: Sequence[int]) -> Tensor:
        """The rows that a pass trains ``networks`` on, in order; at most as many as there are."""
        return torch.randperm(len(fit.task.data))

    @abstractmethod
    def loss(self, fit: Fit, batch: Batch, networks: Sequence[int]) -> Tensor:
        """The scalar whose gradient trains ``networks``."""

    def after_step(self, fit: Fit, batch: Batch, networks: Sequence[int]) -> None:
        """After the optimisers' step; without gradients."""

    def end_epoch(self, fit: Fit) -> None:
        """After the batches of an epoch; without gradients."""

    def outcome(self, fit: Fit) -> Outcome | None:
        """What the finished training concludes about its samples."""
        return None

    def logits(self, nets: list[nn.Module], x: Tensor) -> Tensor:
        """The prediction (B, C) for a batch: the mean of the networks' logits."""
        return torch.stack([forward(net, x) for net in nets]).mean(0)

    # ---------------------------------------------------------------- use

    def check(self, task: Task) -> None:
        """:class:`DiffInfError` where the task lacks what the method needs."""
        task.check(self.title)
        if self.needs.noise_rate:
            task.known_noise_rate(self.title)
        if self.needs.refined and task.refined is None:
            raise DiffInfError(
                f"{self.title} trains on a set of its own and was given none; repair the run first."
            )
        if self.needs.ranking:
            if task.ranking is None:
                raise DiffInfError(
                    f"{self.title} needs a ranking; rank the training samples first."
                )
            if len(task.ranking) != len(task.data) or not np.isfinite(task.ranking).all():
                raise DiffInfError(
                    f"{self.title} was given a ranking that is not one finite score for each of the "
                    f"{len(task.data)} samples; rank them again."
                )

    def train(self, task: Task, folder: Path, note: str = "") -> Iterator[Progress]:
        """Train into ``folder``; see :func:`~diffinf_core.baselines.training.fit`.

        Can be killed at any moment and called again; what is finished is not computed twice.
        """
        self.check(task)
        yield from fit(self, task, folder, note or self.title)

    def predictions(
        self, task: Task, folder: Path, data: TrainingSet, best: bool = False
    ) -> NDArray[np.float64]:
        """Logits (M, C) of a finished training: the last epoch's, or the best on validation.

        Raises :class:`DiffInfError` where there is no such training, or a logit is not finite.
        """
        file = folder / ("best.pt" if best else "final.pt")
        if not file.exists():
            what = "; train it with a validation set" if best else "; train it first"
            raise DiffInfError(f"{self.title} has no {file}{what}.")
        nets, saved = build_networks(self, task, device()), read_tensors(file)
        try:
            for net, weights in zip(nets, saved["nets"], strict=True):
                net.load_state_dict(weights)
        except (RuntimeError, KeyError, ValueError) as error:
            raise DiffInfError(
                f"{file} holds another network; train {self.title} again."
            ) from error
        z = predict(nets, data, self.logits).double().cpu().numpy()
        bad = np.flatnonzero(~np.isfinite(z).all(1))
        if len(bad):
            raise NotFiniteLogitsError(
                f"{self.title} predicts logits that are not finite for sample number {bad[0]}; "
                "check that picture, or train again with a lower learning rate."
            )
        return z

    def scores(self, folder: Path) -> Outcome | None:
        """What a finished training concluded about its samples; None where it judges none."""
        file = folder / SCORES_FILE
        if not file.exists():
            return None
        table = pd.read_csv(file)

        def column(name: str, kind: Any) -> Any:
            return table[name].to_numpy(kind) if name in table else None

        return Outcome(column("suspicion", float), column("kept", bool), column("corrected", int))

    def seconds(self, folder: Path) -> float:
        """Processor seconds of a finished training, those of its judging trainings included."""
        return sum(read_json(file)["seconds"] for file in sorted(folder.rglob("cost.json")))
