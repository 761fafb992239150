"""Out-of-fold self-confidence: the probability of the assigned label under a network that was not trained
on the sample.

The folds are trained here; the score is computed by cleanlab.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffinf_core.classifier.parallel import There, Trainings, train_all, without_pictures
from diffinf_core.classifier.stage import CLASSIFIER, imagenet_weights
from diffinf_core.classifier.subset import Subset
from diffinf_core.classifier.training import (
    device,
    load_classifier,
    predict_probabilities,
    train_classifier,
)
from diffinf_core.config import ClassifierConfig
from diffinf_core.data.part import Part, open_training
from diffinf_core.influence.checkpoints import checkpoint_epochs
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import read_array, write_array
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import Stage, Work


@dataclass(frozen=True)
class _Fold:
    """A classifier that is trained on the ``rows`` (n,) of the training split, those outside a fold."""

    train: Part
    rows: NDArray[np.int64]
    config: ClassifierConfig
    epochs: int
    note: str

    def into(self, folder: Path, there: There) -> Iterator[Progress]:
        """Train it."""
        yield from train_classifier(
            Subset(there.on(self.train), self.rows),
            len(self.train.classes),
            self.config,
            folder,
            pretrained=there.pretrained,
            keep_snapshots=False,
            note=self.note,
            stop_after=self.epochs,
        )


def check_folds(run: Run) -> None:
    """:class:`DiffInfError` where a fold holds all pictures of a class."""
    train, folds = open_training(run), run.config.influence.folds
    fold = train.folds(folds, run.config.influence.seed)
    for k in range(folds):
        missing = set(range(len(train.classes))) - set(train.labels[fold != k].tolist())
        if missing:
            raise DiffInfError(
                f"Without fold {k + 1} the training split has no {train.classes[min(missing)]!r}; "
                "use fewer influence.folds or another estimator."
            )


def run_confidence(run: Run) -> Work:
    """Train a classifier without each fold, with the run's settings, up to the last checkpoint in use."""
    from cleanlab.rank import get_label_quality_scores

    stage, train, c = CONFIDENCE.folder(run), open_training(run), run.config
    classes, folds = len(train.classes), c.influence.folds
    fold = train.folds(folds, c.influence.seed)
    epochs = max(checkpoint_epochs(run))
    check_folds(run)

    def training(note: str) -> _Fold:
        k = names.index(note)
        config = c.classifier.model_copy(
            update={"checkpoints": 1, "seed": c.classifier.seed + 1 + k}
        )
        outside = np.flatnonzero(fold != k)
        return _Fold(without_pictures(train), outside, config, epochs, note)

    names = [f"self_confidence, fold {k + 1} of {folds}" for k in range(folds)]
    ends = {
        names[k]: stage / f"fold-{k}" / "final.pt"
        for k in range(folds)
        if not (stage / f"fold-{k}.npy").exists()
    }
    yield from train_all("influence", Trainings(ends, training, imagenet_weights(run)), train)
    probabilities = np.zeros((len(train), classes))
    for k, note in enumerate(names):
        inside, part = np.flatnonzero(fold == k), stage / f"fold-{k}.npy"
        if not part.exists():
            net = load_classifier(
                stage / f"fold-{k}" / "final.pt", c.classifier.architecture, classes
            ).to(device())
            write_array(part, predict_probabilities(net, Subset(train, inside)))
        probabilities[inside] = read_array(part)
        yield Progress("influence", k + 1, folds, note)
    confident = get_label_quality_scores(train.labels, probabilities, method="self_confidence")
    write_array(stage / "score.npy", 1.0 - np.asarray(confident, float))
    return {"folds": folds, "epochs": epochs}


CONFIDENCE = Stage(
    "self_confidence",
    run_confidence,
    "train on each fold and score the pictures outside it",
    inputs=(CLASSIFIER,),
    settings=lambda run: [
        {
            "folds": run.config.influence.folds,
            "seed": run.config.influence.seed,
            "rule": run.config.influence.checkpoint_rule,
        }
    ],
)


def out_of_fold(run: Run) -> NDArray[np.float64] | None:
    """Class probabilities (N, C) of the training pictures, each by the network that was trained without it;
    None where they are not computed."""
    stage = CONFIDENCE.folder(run)
    if not stage.done:
        return None
    train, folds = open_training(run), run.config.influence.folds
    fold = train.folds(folds, run.config.influence.seed)
    out = np.zeros((len(train), len(train.classes)))
    for k in range(folds):
        out[fold == k] = read_array(stage / f"fold-{k}.npy")
    return out
