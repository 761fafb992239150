"""The influence stage: every score of every training sample, and who is called high-influence."""

from __future__ import annotations

import numpy as np
import pandas as pd

from diffinf_core.classifier.stage import CLASSIFIER
from diffinf_core.config import ON_REQUEST, InfluenceConfig, estimator_names
from diffinf_core.data.part import open_training
from diffinf_core.influence.checkpoints import checkpoint_epochs
from diffinf_core.influence.confidence import SELF_CONFIDENCE
from diffinf_core.influence.curvature_score import INVERSE_CURVATURE
from diffinf_core.influence.estimators import logged_scores, rank_table, score_of
from diffinf_core.influence.scoring import GRADIENTS
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import write_table
from diffinf_core.runs.run import Run, StageFolder
from diffinf_core.runs.stages import Stage, Work

#: the stages of the scores that are computed only when asked for, by their name
REQUESTS = {stage.name: stage for stage in (SELF_CONFIDENCE, INVERSE_CURVATURE)}


def requested(config: InfluenceConfig) -> list[str]:
    """The scores behind the configured estimator that are computed only when asked for."""
    return [name for name in estimator_names(config.estimator) if name in ON_REQUEST]


def requested_stages(run: Run) -> list[Stage]:
    """The stages of the scores that the configuration asks for."""
    return [REQUESTS[name] for name in requested(run.config.influence)]


def collect_scores(run: Run, stage: StageFolder) -> Work:
    """The table of the scores that every run has."""
    yield from ()
    train, epochs = open_training(run), checkpoint_epochs(run)
    terms = np.load(GRADIENTS.folder(run) / "terms.npy").sum(1)
    logged = np.load(CLASSIFIER.folder(run) / "signals.npy", mmap_mode="r")
    columns = {"self_influence": terms[:, 0], "last_layer": terms[:, 1]}
    columns |= logged_scores(logged, max(epochs))
    write_table(stage / "scores.csv", pd.DataFrame({"id": train.ids, **columns}))
    return {"checkpoint_epochs": epochs, "n": len(train)}


#: tau and the estimator only read from it
INFLUENCE = Stage(
    "influence",
    "rank the training pictures",
    version=1,
    work=collect_scores,
    inputs=(GRADIENTS,),
    settings=lambda run: run.config.influence.checkpoint_rule,
    parts=requested_stages,
)


def ranking_inputs(run: Run, *_: object) -> list[Stage]:
    """The stages that the ranking and its high-influence set are made from."""
    return [INFLUENCE, *requested_stages(run)]


def ranking_settings(run: Run) -> list[object]:
    """The settings that the ranking and its high-influence set depend on beside their stages."""
    return [run.config.influence.estimator, run.config.influence.tau]


def ranking_key(run: Run) -> list[object]:
    """What the ranking and its high-influence set depend on."""
    return [*(stage.key(run) for stage in ranking_inputs(run)), *ranking_settings(run)]


def read_scores(run: Run) -> pd.DataFrame:
    """Scores by sample in training order: id and a column per score there is, high is suspicious."""
    if not INFLUENCE.done(run):
        raise DiffInfError(f"{run.root} is not ranked yet; run it first.")
    table = pd.read_csv(INFLUENCE.folder(run) / "scores.csv", dtype={"id": str})
    for name, stage in REQUESTS.items():
        if stage.done(run):
            table[name] = np.load(stage.folder(run) / "score.npy")
    return table


def ranking(run: Run, config: InfluenceConfig | None = None) -> pd.DataFrame:
    """Columns id, score, rank (1 is the most suspicious), percentile, high (in the top tau %)."""
    config = config or run.config.influence
    table = read_scores(run)
    missing = [n for n in estimator_names(config.estimator) if n not in table]
    if missing:
        raise DiffInfError(
            f"{missing[0]} is not computed yet; 'diffinf rank {run.root} --by {missing[0]}' does it."
        )
    return rank_table(table["id"], score_of(table, config.estimator), config.tau)
