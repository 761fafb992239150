"""Out-of-fold self-confidence: the probability of the assigned label under a network that was not trained
on the sample.

The folds are trained here; the score is computed by cleanlab.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffinf_core.classifier.stage import CLASSIFIER, imagenet_weights
from diffinf_core.classifier.subset import Subset
from diffinf_core.classifier.training import (
    device,
    load_classifier,
    predict_probabilities,
    train_classifier,
)
from diffinf_core.data.part import open_training
from diffinf_core.influence.checkpoints import checkpoint_epochs
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import read_array, write_array
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import Stage, Work


def run_confidence(run: Run) -> Work:
    """Train a classifier without each fold, with the run's settings, up to the last checkpoint in use."""
    from cleanlab.rank import get_label_quality_scores

    stage, train, c = CONFIDENCE.folder(run), open_training(run), run.config
    classes, folds = len(train.classes), c.influence.folds
    fold = train.folds(folds, c.influence.seed)
    epochs = max(checkpoint_epochs(run))
    probabilities = np.zeros((len(train), classes))
    for k in range(folds):
        inside, outside = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        missing = set(range(classes)) - set(train.labels[outside].tolist())
        if missing:
            raise DiffInfError(
                f"Without fold {k + 1} the training split has no {train.classes[min(missing)]!r}; "
                "use fewer influence.folds or another estimator."
            )
        config = c.classifier.model_copy(
            update={"checkpoints": 1, "seed": c.classifier.seed + 1 + k}
        )
        part, note = stage / f"fold-{k}.npy", f"self_confidence, fold {k + 1} of {folds}"
        if not part.exists():
            events = train_classifier(
                Subset(train, outside),
                classes,
                config,
                stage / f"fold-{k}",
                pretrained=imagenet_weights(run),
                keep_snapshots=False,
                stop_after=epochs,
            )
            for event in events:
                done = k * event.total + event.done
                yield Progress("influence", done, folds * event.total, note, event.values)
            net = load_classifier(
                stage / f"fold-{k}" / "final.pt", config.architecture, classes
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
