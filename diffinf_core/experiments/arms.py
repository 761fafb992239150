"""The data sets that are compared: each arm differs from "noisy" in what it does with the top tau %."""

from __future__ import annotations

import numpy as np

from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.evaluation import training_truth
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import open_training
from diffinf_core.influence.stage import ranking, ranking_inputs, ranking_settings
from diffinf_core.records import DiffInfError
from diffinf_core.review.opening import open_journal, read_decisions
from diffinf_core.review.refine import refined_set
from diffinf_core.review.training_set import TrainingSet, refined_training, selected
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import Stage


def arm_inputs(run: Run, name: str) -> list[Stage]:
    """The stages that an arm's data are made from; arms that nothing changed keep their key."""
    if name in ("removal", "relabelled"):
        return [DATA, *ranking_inputs(run)]
    return [DATA, REPAIR] if name == "repaired" else [DATA]


def arm_settings(run: Run, name: str) -> object:
    """What else an arm's data depend on: the share of the ranking, or the decisions of reviewers."""
    if name in ("removal", "relabelled"):
        return ranking_settings(run)
    if name == "reviewed":
        journal = open_journal(run)
        try:
            return journal.key()
        finally:
            journal.close()
    return None


def can_build(run: Run, name: str) -> bool:
    """Whether there is what an arm needs: the truth, repairs, or decisions."""
    if name in ("clean", "relabelled"):
        return training_truth(run) is not None
    if name == "repaired":
        return REPAIR.done(run)
    return name != "reviewed" or bool(read_decisions(run))


def build_arm(run: Run, name: str) -> TrainingSet | None:
    """The data of an arm, or None where it cannot exist (no truth, repair or decision yet)."""
    train = open_training(run)
    everything = np.arange(len(train))
    if name == "noisy":
        return selected(train, everything, train.labels)
    if name in ("clean", "relabelled"):
        truth = training_truth(run)
        if truth is None:
            return None
        high = (
            ranking(run)["high"].to_numpy() if name == "relabelled" else np.ones(len(train), bool)
        )
        return selected(train, everything, np.where(high, truth[0], train.labels))
    if name == "removal":
        kept = everything[~ranking(run)["high"].to_numpy()]
        return selected(train, kept, train.labels[kept])
    if name == "repaired":  # what the method does by itself, whatever reviewers decided
        if not REPAIR.done(run):
            return None
        return refined_training(run, train, refined_set(run, "repaired", decisions={}))
    if name == "reviewed":
        decisions = read_decisions(run)
        if not decisions:
            return None
        return refined_training(run, train, refined_set(run, "original", decisions))
    raise DiffInfError(f"Unknown arm {name!r}.")
