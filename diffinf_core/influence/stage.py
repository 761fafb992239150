"""The influence stage: every score of every training sample, and who is called high-influence."""

from __future__ import annotations

import pandas as pd

from diffinf_core.classifier.stage import CLASSIFIER
from diffinf_core.config import ON_REQUEST, InfluenceConfig, estimator_names
from diffinf_core.data.overlay import map_array
from diffinf_core.data.part import open_training
from diffinf_core.influence.checkpoints import checkpoint_epochs
from diffinf_core.influence.confidence import CONFIDENCE
from diffinf_core.influence.curvature_score import CURVATURE
from diffinf_core.influence.estimators import logged_scores, rank_table, score_of
from diffinf_core.influence.scoring import GRADIENTS
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import digest, read_array, write_table
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import Stage, Work
from diffinf_core.runs.tables import read_table


def requested(config: InfluenceConfig) -> list[str]:
    """The scores behind the configured estimator that are computed only when asked for."""
    return [name for name in estimator_names(config.estimator) if name in ON_REQUEST]


def ranking_key(run: Run) -> list[object]:
    """What the ranking and its high-influence set depend on."""
    c = run.config.influence
    asked = [request(name).key(run) for name in requested(c)]
    return [INFLUENCE.key(run), asked, c.estimator, c.tau]


def run_influence(run: Run) -> Work:
    """Score the whole training split by every estimator that costs nothing more, and by those asked for."""
    stage, train, config = INFLUENCE.folder(run), open_training(run), run.config.influence
    for part in (GRADIENTS, *map(request, requested(config))):
        yield from part.compute(run, quiet=True)
    terms = read_array(GRADIENTS.folder(run) / "terms.npy").sum(1)
    epochs = checkpoint_epochs(run)
    logged = map_array(CLASSIFIER.folder(run) / "signals.npy")
    columns = {"self_influence": terms[:, 0], "last_layer": terms[:, 1]}
    columns |= logged_scores(logged, max(epochs))
    write_table(stage / "scores.csv", pd.DataFrame({"id": train.ids, **columns}))
    return {"checkpoint_epochs": epochs, "n": len(train)}


def request(name: str) -> Stage:
    """The stage of a score that is computed only when asked for."""
    return {"self_confidence": CONFIDENCE, "inverse_curvature": CURVATURE}[name]


#: all scores; tau and the estimator only read from it
INFLUENCE = Stage(
    "influence",
    run_influence,
    "rank the training pictures",
    inputs=(CLASSIFIER,),
    steps=(GRADIENTS,),
    optional=(CONFIDENCE, CURVATURE),
    settings=lambda run: [
        {
            "rule": run.config.influence.checkpoint_rule,
            "precision": run.config.influence.precision,
        }
    ],
    parts=lambda run: [request(name) for name in requested(run.config.influence)],
)


def scores_key(run: Run) -> str:
    """What :func:`read_scores` returns depends on: the scores, and which of those on request are there."""
    extra = [request(name).folder(run) for name in ON_REQUEST]
    return digest(INFLUENCE.key(run), [stage.key for stage in extra if stage.done])


def read_scores(run: Run) -> pd.DataFrame:
    """Scores by sample in training order: id and a column per score there is, high is suspicious."""
    stage = INFLUENCE.folder(run)
    if not stage.done:
        raise DiffInfError(f"{run.root} is not ranked yet; run it first.")
    table = read_table(stage / "scores.csv", text=["id"])
    for name in ON_REQUEST:
        extra = request(name).folder(run)
        if extra.done:
            table[name] = read_array(extra / "score.npy")
    return table


def ranking(
    run: Run, config: InfluenceConfig | None = None, scores: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Columns id, score, rank (1 is the most suspicious), percentile, high (in the top tau %).

    ``scores`` are those of :func:`read_scores` where the caller has read them already.
    """
    config = config or run.config.influence
    table = read_scores(run) if scores is None else scores
    missing = [n for n in estimator_names(config.estimator) if n not in table]
    if missing:
        raise DiffInfError(
            f"{missing[0]} is not computed yet; 'diffinf rank {run.root} --by {missing[0]}' does it."
        )
    return rank_table(table["id"], score_of(table, config.estimator), config.tau)
