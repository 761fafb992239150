"""The data sets that are compared: each arm differs from "noisy" in what it does with the top tau %."""

from __future__ import annotations

import numpy as np

from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.part import open_training
from diffinf_core.data.truth import open_truth
from diffinf_core.influence.stage import ranking, ranking_key
from diffinf_core.records import DiffInfError
from diffinf_core.review.opening import open_journal, read_decisions
from diffinf_core.review.refine import refined_set
from diffinf_core.review.training_set import TrainingSet, refined_training, selected
from diffinf_core.runs.files import digest
from diffinf_core.runs.run import Run


def arm_key(run: Run, name: str) -> str:
    """What an arm's data depends on; arms that nothing changed keep their key."""
    part: object = ""
    if name in ("removal", "relabelled"):
        part = ranking_key(run)
    elif name == "repaired":
        part = REPAIR.key(run) if REPAIR.done(run) else None
    elif name == "reviewed":
        journal = open_journal(run)
        part = [journal.key()]
        journal.close()
    return digest(name, part)


def can_build(run: Run, name: str) -> bool:
    """Whether there is what an arm needs: the truth, repairs, or decisions."""
    if name in ("clean", "relabelled"):
        return open_truth(run, "arms").training() is not None
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
        truth = open_truth(run, "arms").training()
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
