"""The classifier stage of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffinf_core.classifier.metrics import evaluate
from diffinf_core.classifier.network import IMAGENET_FILE, Classifier
from diffinf_core.classifier.training import (
    device,
    load_classifier,
    predict_probabilities,
    train_classifier,
)
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import open_training, open_validation
from diffinf_core.data.truth import open_truth
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import file_digest, read_json, read_tensors
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import Stage, Work
from diffinf_core.weights.files import added_weights


def started_from(run: Run) -> list[str]:
    """What a training's key adds where it starts from weights that were put in place: their digest."""
    file = imagenet_weights(run)
    return [file_digest(file)] if file else []


def imagenet_weights(run: Run) -> Path | None:
    """The ImageNet file in the weights folder, if the configuration wants it and it is there."""
    config = run.config.classifier
    file = added_weights() / IMAGENET_FILE
    wanted = config.pretrained and config.architecture == "resnet18"
    return file if wanted and file.exists() else None


def run_classifier(run: Run) -> Work:
    """Train on the noisy training split; :func:`measure_classifier` completes the stage."""
    stage = CLASSIFIER.folder(run)
    train = open_training(run)
    weights = imagenet_weights(run)
    start = "ImageNet weights" if weights else "from scratch"
    yield from train_classifier(
        train,
        len(train.classes),
        run.config.classifier,
        stage.path,
        validation=open_validation(run),
        pretrained=weights,
        note=f"training {run.config.classifier.architecture} {start}",
    )
    return {"start": start}


def measure_classifier(run: Run) -> Mapping[str, Any]:
    """The metrics of the trained network on the test split, which the training must not see."""
    stage, test = CLASSIFIER.folder(run), open_truth(run, "classifier metrics").test()
    net = load_classifier(
        stage / "final.pt", run.config.classifier.architecture, len(test.classes)
    ).to(device())
    absent = run.config.split.small_classes == "train"
    return {"test": evaluate(test.labels, predict_probabilities(net, test), absent)}


CLASSIFIER = Stage(
    "classifier",
    run_classifier,
    "train on the labels as they are",
    inputs=(DATA,),
    measure=measure_classifier,
    settings=lambda run: [run.config.classifier.provenance(), *started_from(run)],
    files=lambda run: [added_weights() / IMAGENET_FILE],
)


def load_snapshot(run: Run, epoch: int) -> tuple[Classifier, float]:
    """The network after an epoch, and the learning rate eta it was trained with."""
    return load_snapshot_from(CLASSIFIER.folder(run).path, run, epoch)


def load_snapshot_from(folder: Path, run: Run, epoch: int) -> tuple[Classifier, float]:
    """The same of another training in ``folder`` with the settings and classes of the run."""
    file = folder / f"epoch-{epoch:03d}.pt"
    classes = len(read_json(DATA.folder(run) / "classes.json"))
    try:
        net = load_classifier(file, run.config.classifier.architecture, classes)
        eta = float(read_tensors(file)["learning_rate"])
    except (DiffInfError, KeyError) as error:
        # The stage is complete, so running again would not write the file anew.
        raise DiffInfError(
            f"The checkpoint {file} is missing, damaged or of another network; remove the folder "
            f"{folder} and run again to train the classifier anew."
        ) from error
    return net, eta
