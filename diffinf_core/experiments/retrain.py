"""Retrain every arm from scratch over seeds and evaluate it on the clean test split.

Each (arm, seed) is its own job with its own files, so jobs run side by side and a killed comparison
goes on with the epoch each had reached.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import torch

from diffinf_core.classifier.metrics import evaluate
from diffinf_core.classifier.stage import imagenet_places, imagenet_weights, started_from
from diffinf_core.classifier.training import (
    device,
    load_classifier,
    predict_probabilities,
    train_classifier,
)
from diffinf_core.config import ClassifierConfig
from diffinf_core.data.evaluation import open_test, open_validation
from diffinf_core.experiments.arms import arm_inputs, arm_settings, build_arm, can_build
from diffinf_core.influence.stage import ranking_inputs
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import write_array
from diffinf_core.runs.run import Run, StageFolder
from diffinf_core.runs.stages import Stage, Work, ensure
from diffinf_core.runs.workers import stop, worker_pool

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


def _arm_settings(run: Run, arm: str, seed: int) -> list[object]:
    config = retrain_config(run, seed).model_dump(mode="json")
    return [config, *started_from(run), arm_settings(run, arm)]


def train_arm(run: Run, stage: StageFolder, arm: str, seed: int) -> Work:
    """Train one arm under one seed and evaluate it on the test split."""
    data = build_arm(run, arm)
    # Read again after the data, which follow the journal as it is now.
    if data is None or stage.key != ARM.at(arm, seed).key(run):
        raise _decided(arm)
    config, classes = retrain_config(run, seed), len(data.train.classes)
    yield from train_classifier(
        data,
        classes,
        config,
        stage.path,
        validation=open_validation(run),
        pretrained=imagenet_weights(run),
        keep_snapshots=False,
        note=f"{arm}, seed {seed}",
    )
    net = load_classifier(stage / "final.pt", config.architecture, classes).to(device())
    test = open_test(run)
    probabilities = predict_probabilities(net, test)
    write_array(stage / "test_probabilities.npy", probabilities.astype(np.float32))
    return {"test": evaluate(test.labels, probabilities), "n": len(data)}


#: one arm under one seed
ARM = Stage(
    "arm",
    "train an arm from scratch",
    version=1,
    work=train_arm,
    inputs=lambda run, arm, seed: arm_inputs(run, arm),
    settings=_arm_settings,
    watched=imagenet_places,
)


def _decided(arm: str) -> DiffInfError:
    return DiffInfError(
        f"Decisions changed while the arm {arm!r} was waiting for its training; retrain again "
        "when the review rests. Finished trainings are kept."
    )


def _train(run: Run, arm: str, seed: int, key: str) -> Iterator[Progress]:
    stage = ARM.at(arm, seed)
    if stage.key(run) != key:
        raise _decided(arm)
    yield from ensure(run, stage)


def _job(task: tuple[Run, str, int, str]) -> tuple[str, int]:
    run, arm, seed, key = task
    torch.set_num_threads(1)
    for _ in _train(run, arm, seed, key):
        pass
    return arm, seed


def _arms(run: Run) -> list[Stage]:
    return [
        ARM.at(arm, seed)
        for arm in run.config.retrain.arms
        if can_build(run, arm)
        for seed in range(run.config.retrain.seeds)
    ]


def train_arms(run: Run, arms: Sequence[Stage], workers: int | None = None) -> Iterator[Progress]:
    """Retrain what is missing, ``workers`` jobs at a time (default: one per core, one on a GPU)."""
    jobs = [(run, *arm.parameters, arm.key(run)) for arm in arms if not arm.done(run)]
    done, total = len(arms) - len(jobs), len(arms)
    yield Progress("retrain", done, total)
    if workers is None:
        workers = 1 if device().type == "cuda" else (os.cpu_count() or 1)
    if min(workers, len(jobs)) < 2:
        for _, arm, seed, key in jobs:
            for event in _train(run, arm, seed, key):
                yield Progress("retrain", done, total, event.note, event.values)
            done += 1
            yield Progress("retrain", done, total, f"{arm}, seed {seed}")
        return
    pool = worker_pool(workers)
    try:
        waiting = {pool.submit(_job, job) for job in jobs}
        note = ""
        while waiting:
            ready, waiting = wait(waiting, timeout=1, return_when=FIRST_COMPLETED)
            for job in ready:
                note = "{}, seed {}".format(*job.result())
                done += 1
            yield Progress("retrain", done, total, note)  # also a chance to cancel, each second
    except BrokenProcessPool as error:
        raise DiffInfError(
            "A training process was killed, perhaps for memory; try --workers 1. "
            "Finished trainings are kept."
        ) from error
    finally:
        stop(pool)  # also on cancel: the epochs reached are on disk


def count_arms(run: Run, stage: StageFolder) -> Work:
    """Nothing more is computed once every arm is trained."""
    yield from ()
    return {"trainings": len(_arms(run))}


RETRAIN = Stage(
    "retrain",
    "train every arm from scratch over seeds",
    version=1,
    work=count_arms,
    inputs=ranking_inputs,
    settings=lambda run: [arm.key(run) for arm in _arms(run)],
    parts=_arms,
    compute_parts=train_arms,
)


def finished_arms(run: Run) -> dict[str, list[StageFolder]]:
    """The folder of each seed of each arm that has all of them."""
    out = {}
    for arm in run.config.retrain.arms:
        stages = [ARM.at(arm, seed) for seed in range(run.config.retrain.seeds)]
        if all(stage.done(run) for stage in stages):
            out[arm] = [stage.folder(run) for stage in stages]
    return out


def read_arms(run: Run) -> dict[str, dict]:
    """Mean and standard deviation of each metric over the seeds of each arm that has all of them."""
    out: dict[str, dict] = {}
    for arm, stages in finished_arms(run).items():
        done = [s.figures for s in stages]
        figures: dict[str, object] = {"seeds": len(done), "n_train": done[0]["n"]}
        for metric in METRICS:
            values = [d["test"][metric] for d in done]
            figures[metric] = float(np.mean(values))
            figures[f"{metric}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else None
        out[arm] = figures
    return out
