"""The stages of every run, in order; what a user can ask for by name follows from this list."""

from __future__ import annotations

from collections.abc import Iterator

from diffinf_core.classifier.stage import CLASSIFIER
from diffinf_core.config import ON_REQUEST
from diffinf_core.correction.identity_map import IDENTITY_FEATURES, IDENTITY_MAPS
from diffinf_core.correction.judge import JUDGE
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.duplicates import DUPLICATES
from diffinf_core.data.ingest import DATA
from diffinf_core.data.quality import QUALITY
from diffinf_core.data.update import refuse_changed
from diffinf_core.engine.own_generator import TRAINING, before_repair, trained
from diffinf_core.experiments.ablation import cell
from diffinf_core.experiments.retrain import RETRAIN, arm
from diffinf_core.influence.embedding import FEATURES, METHODS, embedding
from diffinf_core.influence.neighbours import OUTLIERS
from diffinf_core.influence.planted import PLANTED
from diffinf_core.influence.predictor import PREDICTOR
from diffinf_core.influence.scoring import GRADIENTS
from diffinf_core.influence.stage import INFLUENCE, request
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs import stages
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import Stage

#: from pictures to edits, each after those it reads
PIPELINE: tuple[Stage, ...] = (DATA, CLASSIFIER, INFLUENCE, PREDICTOR, JUDGE, REPAIR)
#: their titles by name, as --until and the Run page take them
STAGES: dict[str, str] = {stage.name: stage.title for stage in PIPELINE}


def every_stage() -> tuple[Stage, ...]:
    """Every declaration, of families one member each: for documentation and tests."""
    maps = [embedding(method) for method in METHODS]
    scores = [GRADIENTS, *map(request, ON_REQUEST), PLANTED]
    experiments = (arm("noisy", 0), RETRAIN, cell(1, False))
    identity = (IDENTITY_FEATURES, *IDENTITY_MAPS.values())
    more = (FEATURES, *maps, *identity, OUTLIERS, QUALITY, DUPLICATES)
    return (*PIPELINE, *scores, *more, *experiments)


def status(run: Run) -> dict[str, bool]:
    """Which stages are complete for the present configuration, by name and in order."""
    return stages.status(run, PIPELINE)


def steps(run: Run) -> dict[str, bool]:
    """:func:`status`, with the training of a generator where the run does that by itself."""
    complete, there = status(run), trained(run)
    if there is None:
        return complete
    out: dict[str, bool] = {}
    for name, done in complete.items():
        if name == REPAIR.name:
            out[TRAINING] = there
        out[name] = done
    return out


def outdated(run: Run) -> str | None:
    """One sentence where another version of DiffInf computed a run, so that it must be computed again."""
    return stages.outdated(run, PIPELINE)


def compute(run: Run, until: str = "repair") -> Iterator[Progress]:
    """Run every stage up to ``until`` that is not complete; close the generator to cancel.

    Where the settings ask for it and the run has no generator, one is trained before the repair. Raises
    :class:`DiffInfError` for an unknown stage, where that training could not begin, while another process
    computes in the folder, and where the data set has changed since the run read it.
    """
    if until not in STAGES:
        raise DiffInfError(f"Unknown stage {until!r}; choose one of {', '.join(STAGES)}.")
    before = before_repair(run) if until == REPAIR.name else {}
    with run.lock():
        refuse_changed(run, "Nothing was computed")
        yield from stages.compute(run, PIPELINE, until, before)
