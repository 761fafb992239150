"""Retrain every arm from scratch over seeds and evaluate it on the clean test split.

Each (arm, seed) is its own job with its own files, so jobs run side by side and a killed comparison
goes on with the epoch each had reached.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from diffinf_core.classifier.metrics import evaluate
from diffinf_core.classifier.parallel import There, Trainings, train_elsewhere, without_pictures
from diffinf_core.classifier.stage import CLASSIFIER, imagenet_weights, started_from
from diffinf_core.classifier.training import (
    device,
    load_classifier,
    predict_probabilities,
    train_classifier,
)
from diffinf_core.config import ClassifierConfig
from diffinf_core.correction.judge import JUDGE
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import open_training, open_validation
from diffinf_core.data.truth import open_truth
from diffinf_core.experiments.arms import arm_key, build_arm, can_build
from diffinf_core.influence.predictor import PREDICTOR
from diffinf_core.influence.stage import INFLUENCE
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.review.training_set import TrainingSet
from diffinf_core.runs.files import write_array
from diffinf_core.runs.run import Run, StageFolder
from diffinf_core.runs.stages import Stage, Work
from diffinf_core.runs.workers import run_trainings

_CHANGED = (
    "Decisions changed while the arm {!r} was waiting for its training; retrain again when the review rests. "
    "Finished trainings are kept."
)
#: how arms are trained beside their settings
_TRAINING: dict[str, Any] = {
    "keep_snapshots": False,
    "rate_setting": "retrain.learning_rate",
}
METRICS = ("accuracy", "balanced_accuracy", "auroc", "kappa_linear", "kappa", "ece", "nll")


def retrain_config(run: Run, seed: int) -> ClassifierConfig:
    """The classifier of the run with the comparison's epochs, rate and cosine decay."""
    c = run.config
    return c.classifier.model_copy(
        update={
            "epochs": c.retrain.epochs,
            "learning_rate": c.retrain.learning_rate,
            "schedule": "cosine",
            "checkpoints": 1,
            "seed": 100 + seed,
        }
    )


@lru_cache(maxsize=256)
def arm(name: str, seed: int) -> Stage:
    """The stage of one arm under one seed."""
    return Stage(
        f"arm-{name}",
        partial(_train, name=name, seed=seed),
        "train an arm from scratch",
        inputs=(DATA,),
        settings=lambda run: [
            arm_key(run, name),
            retrain_config(run, seed).provenance(),
            *started_from(run),
        ],
        files=CLASSIFIER.files,
        optional=(INFLUENCE, PREDICTOR, JUDGE, REPAIR),
        sealed=False,
    )


def _train(run: Run, name: str, seed: int, key: str | None = None) -> Work:
    """Train one arm; :class:`DiffInfError` where its data are no longer those of ``key``."""
    stage = arm(name, seed).folder(run)
    data = build_arm(run, name)
    # Read again after the data, which follow the journal as it is now.
    if data is None or not (key or stage.key) == stage.key == arm(name, seed).key(run):
        raise DiffInfError(_CHANGED.format(name))
    config, classes = retrain_config(run, seed), len(data.train.classes)
    yield from train_classifier(
        data,
        classes,
        config,
        stage.path,
        validation=open_validation(run),
        pretrained=imagenet_weights(run),
        note=f"{name}, seed {seed}",
        **_TRAINING,
    )
    net = load_classifier(stage / "final.pt", config.architecture, classes).to(device())
    test = open_truth(run, "arms").test()
    probabilities = predict_probabilities(net, test)
    write_array(stage / "test_probabilities.npy", probabilities.astype(np.float32))
    return {
        "test": evaluate(test.labels, probabilities, run.config.split.small_classes == "train"),
        "n": len(data),
    }


@dataclass(frozen=True)
class _Sent:
    """An arm on its way to a worker."""

    data: TrainingSet
    config: ClassifierConfig

    def into(self, folder: Path, there: There) -> Iterator[Progress]:
        """Train it."""
        train = there.on(self.data.train)
        yield from train_classifier(
            replace(self.data, train=train),
            len(train.classes),
            self.config,
            folder,
            validation=there.validation,
            pretrained=there.pretrained,
            **_TRAINING,
        )


def _one(run: Run, name: str, seed: int, key: str) -> Iterator[Progress]:
    """Train one arm; :class:`DiffInfError` where its data are no longer those of ``key``."""
    stage = arm(name, seed)
    if stage.key(run) != key:
        raise DiffInfError(_CHANGED.format(name))
    yield from stage.compute(run, quiet=True, key=key)


def _wanted(run: Run) -> list[tuple[str, int]]:
    return [
        (name, seed)
        for name in run.config.retrain.arms
        if can_build(run, name)
        for seed in range(run.config.retrain.seeds)
    ]


def run_retrain(run: Run, workers: int | None = None) -> Work:
    """Retrain what is missing, ``workers`` jobs at a time (default: one per core, one on a GPU)."""
    wanted = _wanted(run)
    folders = {(name, seed): arm(name, seed).folder(run) for name, seed in wanted}
    jobs = {
        f"{name}, seed {seed}": (run, name, seed, folder.key)
        for (name, seed), folder in folders.items()
        if not folder.done
    }
    if workers is None:
        workers = 1 if device().type == "cuda" else (os.cpu_count() or 1)

    def prepare(job: str) -> _Sent:
        _, name, seed, key = jobs[job]
        data = build_arm(run, name)
        if data is None or arm(name, seed).key(run) != key:  # read after the data
            raise DiffInfError(_CHANGED.format(name))
        return _Sent(data.sent(without_pictures(data.train)), retrain_config(run, seed))

    ends = {
        f"{name}, seed {seed}": folder / "final.pt"
        for (name, seed), folder in folders.items()
        if not folder.done
    }
    elsewhere = Trainings(ends, prepare, imagenet_weights(run))
    train, validation = open_training(run), open_validation(run)
    failed = yield from train_elsewhere("trainings", elsewhere, train, validation)
    left = {} if failed is None else failed.failures
    jobs = {name: job for name, job in jobs.items() if name not in left}
    yield from run_trainings("retrain", _one, jobs, len(wanted) - len(left), workers)
    if failed is not None:  # the others are measured
        raise failed
    return {"trainings": len(wanted)}


def _arms(run: Run) -> list[Stage]:
    return [arm(name, seed) for name, seed in _wanted(run)]


#: every arm that can be built, under every seed; each has a folder of its own
RETRAIN = Stage(
    "retrain",
    run_retrain,
    "train every arm from scratch over seeds",
    inputs=(INFLUENCE,),
    settings=lambda run: [[stage.key(run) for stage in _arms(run)]],
    parts=_arms,
    optional=(arm("noisy", 0),),
    sealed=False,
)


def finished_arms(run: Run) -> dict[str, list[StageFolder]]:
    """The folder of each seed of each arm that has all of them."""
    out = {}
    for name in run.config.retrain.arms:
        stages = [arm(name, seed).folder(run) for seed in range(run.config.retrain.seeds)]
        if all(s.done for s in stages):
            out[name] = stages
    return out


def read_arms(run: Run) -> dict[str, dict]:
    """Mean and standard deviation of each metric over the seeds of each arm that has all of them."""
    out: dict[str, dict] = {}
    for name, stages in finished_arms(run).items():
        done = [s.figures for s in stages]
        figures: dict[str, object] = {"seeds": len(done), "n_train": done[0]["n"]}
        for metric in METRICS:
            values = [d["test"][metric] for d in done]
            figures[metric] = float(np.mean(values))
            figures[f"{metric}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        out[name] = figures
    return out
