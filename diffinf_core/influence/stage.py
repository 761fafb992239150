"""The influence stage: every score of every training sample, and who is called high-influence."""

from __future__ import annotations

import pandas as pd

from diffinf_core.classifier.stage import CLASSIFIER
from diffinf_core.config import AUTO, ON_REQUEST, InfluenceConfig, estimator_names
from diffinf_core.data.overlay import map_array
from diffinf_core.data.part import open_training
from diffinf_core.influence.checkpoints import checkpoint_epochs
from diffinf_core.influence.confidence import CONFIDENCE
from diffinf_core.influence.curvature_score import CURVATURE
from diffinf_core.influence.estimators import rank_table, score_of
from diffinf_core.influence.feature_confidence import FEATURE_CONFIDENCE
from diffinf_core.influence.planted import PLANTED, best_score, signals_of
from diffinf_core.influence.scoring import GRADIENTS
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import digest, read_array, write_table
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import Stage, Work
from diffinf_core.runs.tables import read_table


def requested(config: InfluenceConfig) -> list[str]:
    """The scores behind the configured estimator that are computed only when asked for."""
    if config.estimator == AUTO:
        return [PLANTED.name]
    return [name for name in estimator_names(config.estimator) if name in ON_REQUEST]


def ranking_key(run: Run) -> list[object]:
    """What the ranking and its high-influence set depend on."""
    c = run.config.influence
    asked = [request(name).key(run) for name in requested(c)]
    return [INFLUENCE.key(run), asked, c.estimator, c.tau]


def estimator_of(run: Run) -> str:
    """The score that the run ranks by, or a rank mean ``"a+b"``: "auto" by the one that it stands for.

    Raises :class:`DiffInfError` where that needs planted errors and there are none yet.
    """
    name = run.config.influence.estimator
    return best_score(run) if name == AUTO else name


def run_influence(run: Run) -> Work:
    """Score the whole training split by every estimator that costs nothing more, and by those asked for."""
    stage, train, config = INFLUENCE.folder(run), open_training(run), run.config.influence
    for part in (GRADIENTS, *map(request, requested(config))):
        yield from part.compute(run, quiet=True)
    epochs = checkpoint_epochs(run)
    logged = map_array(CLASSIFIER.folder(run) / "signals.npy")
    columns = signals_of(read_array(GRADIENTS.folder(run) / "terms.npy"), logged, epochs)
    write_table(stage / "scores.csv", pd.DataFrame({"id": train.ids, **columns}))
    return {"checkpoint_epochs": epochs, "n": len(train)}


def request(name: str) -> Stage:
    """The stage of a score that is computed only when asked for, or of the planted errors."""
    known = (CONFIDENCE, FEATURE_CONFIDENCE, CURVATURE, PLANTED)
    return {stage.name: stage for stage in known}[name]


#: all scores; tau and the estimator only read from it
INFLUENCE = Stage(
    "influence",
    run_influence,
    "rank the training pictures",
    inputs=(CLASSIFIER,),
    steps=(GRADIENTS,),
    optional=(CONFIDENCE, FEATURE_CONFIDENCE, CURVATURE, PLANTED),
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

    ``config`` says by which estimator and tau, in the place of the run's; ``scores`` are those of
    :func:`read_scores` where the caller has read them already.
    """
    # by the run's own settings: scores of another estimator may be a part that is not there yet
    table = read_scores(run) if scores is None else scores
    if config is not None:
        ranked_by = {"estimator": config.estimator, "tau": config.tau}
        influence = run.config.influence.model_copy(update=ranked_by)
        run = Run(run.root, run.config.model_copy(update={"influence": influence}))
    estimator = estimator_of(run)
    missing = [n for n in estimator_names(estimator) if n not in table]
    if missing:
        raise DiffInfError(
            f"{missing[0]} is not computed yet; 'diffinf rank {run.root} --by {missing[0]}' does it."
        )
    return rank_table(table["id"], score_of(table, estimator), run.config.influence.tau)
