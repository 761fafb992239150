"""Planted errors as a stage: the classifier is trained once more, with some labels made wrong on purpose.

The training is the run's own in everything but these labels, and every score is computed as for the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from diffinf_core.classifier.network import Classifier
from diffinf_core.classifier.stage import (
    CLASSIFIER,
    imagenet_weights,
    load_snapshot,
    load_snapshot_from,
)
from diffinf_core.classifier.training import (
    device,
    predict_probabilities,
    snapshot_epochs,
    train_classifier,
)
from diffinf_core.config import SIGNALS
from diffinf_core.data.overlay import map_array
from diffinf_core.data.part import Part, open_training
from diffinf_core.influence.checkpoints import checkpoint_epochs, last_useful_epoch, training_curve
from diffinf_core.influence.confidence import out_of_fold
from diffinf_core.influence.estimators import logged_scores
from diffinf_core.influence.feature_confidence import feature_probabilities
from diffinf_core.influence.planting import Planting, count_wrong, plant
from diffinf_core.influence.precision import PlantedErrors
from diffinf_core.influence.scoring import GRADIENTS, score_gradients
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import read_array, write_table
from diffinf_core.runs.run import Run, StageFolder
from diffinf_core.runs.stages import Stage, Work
from diffinf_core.runs.tables import read_table

_PLANTING, _SCORES = "planting.csv", "scores.csv"


def counting_epoch(run: Run) -> int:
    """The last snapshot before memorisation, whichever checkpoints a score sums over."""
    epochs = snapshot_epochs(run.config.classifier)
    until = last_useful_epoch(training_curve(run), "early")
    return max([e for e in epochs if e <= until], default=epochs[0])


def signals_of(
    terms: NDArray[np.floating], logged: NDArray[np.floating], epochs: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Every score that costs nothing beyond the gradients: ``terms`` (N, T, 2), ``logged`` (E, N, 3)."""
    totals = terms.sum(1)
    columns = {"self_influence": totals[:, 0], "last_layer": totals[:, 1]}
    return columns | logged_scores(logged, max(epochs))


def run_planted(run: Run) -> Work:
    """Plant errors, train on them, score everything, and see which score ranks them best."""
    stage, train, config = PLANTED.folder(run), open_training(run), run.config
    epochs, epoch = checkpoint_epochs(run), counting_epoch(run)
    before = _probabilities(load_snapshot(run, epoch)[0], train)
    counted = list(count_wrong(train.labels, before))
    _choose(run, stage, train, before)
    planting = _read(stage, train)
    wrong = replace(train, labels=planting.labels)
    training = stage / "training"
    events = train_classifier(
        wrong,
        len(train.classes),
        config.classifier,
        training,
        pretrained=imagenet_weights(run),
        stop_after=max(*epochs, epoch),
    )
    yield from _named(events, f"training with {len(planting.positions)} planted errors")
    snapshots = [load_snapshot_from(training, run, e) for e in epochs]
    part = StageFolder(stage / "gradients", "")
    yield from _named(score_gradients(part, wrong, snapshots, config.influence), "scores of it")
    logged = read_array(training / "signals.npy")
    columns = signals_of(read_array(part / "terms.npy"), logged, epochs)
    after = _probabilities(load_snapshot_from(training, run, epoch)[0], wrong)
    contradicted = after.argmax(1) != planting.labels
    table = pd.DataFrame({"id": train.ids, "contradicted": contradicted.astype(int), **columns})
    write_table(stage / _SCORES, table)
    figures: dict[str, Any] = {
        "epoch": epoch,
        "planted": len(planting.positions),
        "counted": counted,
        "counted_planted": list(count_wrong(planting.labels, after)),
    }
    return {**figures, "best": _errors(stage, figures, train, planting).best(SIGNALS)}


def _probabilities(net: Classifier, part: Part) -> NDArray[np.float64]:
    return predict_probabilities(net.to(device()), part)


def _choose(run: Run, stage: StageFolder, train: Part, probabilities: NDArray[np.float64]) -> None:
    """Choose what is planted once, so that a stopped training goes on with the same labels."""
    if (stage / _PLANTING).exists():
        return
    c = run.config.influence
    logged = map_array(CLASSIFIER.folder(run) / "signals.npy")
    suspicion = logged_scores(logged, max(checkpoint_epochs(run)))["mean_loss"]
    made = plant(train.labels, probabilities, suspicion, c.planted, c.seed)
    planted = np.isin(np.arange(len(train)), made.positions).astype(int)
    labels = [train.classes[k] for k in made.labels]
    write_table(
        stage / _PLANTING, pd.DataFrame({"id": train.ids, "label": labels, "planted": planted})
    )


def _read(stage: StageFolder, train: Part) -> Planting:
    table = read_table(stage / _PLANTING, text=["id", "label"])
    index = {name: i for i, name in enumerate(train.classes)}
    labels = np.array([index[name] for name in table["label"]], np.int64)
    return Planting(np.flatnonzero(table["planted"].to_numpy()), labels)


def _named(events: Iterator[Progress], note: str) -> Iterator[Progress]:
    """The same events under this stage's name."""
    for event in events:
        yield Progress("planted", event.done, event.total, note, event.values)


#: scores of a training with planted errors
PLANTED = Stage(
    "planted",
    run_planted,
    "train with planted errors and score them",
    inputs=(CLASSIFIER,),
    steps=(GRADIENTS,),
    settings=lambda run: [
        run.config.influence.model_dump(include={"checkpoint_rule", "precision", "planted", "seed"})
    ],
)


def _errors(
    stage: StageFolder, figures: Mapping[str, Any], train: Part, planting: Planting
) -> PlantedErrors:
    scores = read_table(stage / _SCORES, text=["id"]).drop(columns="id")
    contradicts = scores.pop("contradicted").to_numpy(bool)[planting.positions]
    return PlantedErrors.of(
        scores,
        planting.positions,
        contradicts,
        tuple(figures["counted"]),
        tuple(figures["counted_planted"]),
        len(train.classes),
    )


def _finished(run: Run) -> StageFolder:
    stage = PLANTED.folder(run)
    if not stage.done:
        raise DiffInfError(
            f"No errors are planted in {run.root} yet; 'diffinf rank {run.root} --planted' does it."
        )
    return stage


def planted_errors(run: Run) -> PlantedErrors:
    """What planted errors showed of every score but ``inverse_curvature``.

    Of ``self_confidence`` and ``feature_confidence`` where they are computed: their folds predict samples
    that they have not seen, so the labels of these can change afterwards.

    Raises :class:`DiffInfError` where no errors are planted yet.
    """
    stage, train = _finished(run), open_training(run)
    planting = _read(stage, train)
    found = _errors(stage, stage.figures, train, planting)
    folds = {"self_confidence": out_of_fold, "feature_confidence": feature_probabilities}
    for name, read in folds.items():
        probabilities = read(run)
        if probabilities is not None:
            found.scores[name] = 1 - probabilities[np.arange(len(train)), planting.labels]
    return found


def best_score(run: Run) -> str:
    """The score that ranks planted errors best, of those that every ranked run has."""
    return str(_finished(run).figures["best"])
