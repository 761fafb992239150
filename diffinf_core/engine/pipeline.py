"""The stages of every room in pipeline order, and what drives them."""

from __future__ import annotations

from collections.abc import Iterator

from diffinf_core.classifier.stage import CLASSIFIER
from diffinf_core.correction.judge import JUDGE
from diffinf_core.correction.people import PEOPLE
from diffinf_core.correction.probe import PROBE
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.duplicates import DUPLICATES
from diffinf_core.data.ingest import DATA
from diffinf_core.experiments.ablation import CELL
from diffinf_core.experiments.retrain import ARM, RETRAIN
from diffinf_core.influence.embedding import FEATURES, MAP
from diffinf_core.influence.predictor import PREDICTOR
from diffinf_core.influence.scoring import GRADIENTS
from diffinf_core.influence.stage import INFLUENCE, REQUESTS
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import DONE_ALREADY, Stage, compute
from diffinf_core.runs.status import write_index

#: what a run computes, one after another
STAGES = {s.name: s for s in (DATA, CLASSIFIER, INFLUENCE, PREDICTOR, JUDGE, REPAIR)}
#: computed when asked for, with the stages that they need
ON_REQUEST = {s.name: s for s in (DUPLICATES, MAP, RETRAIN, CELL)}
#: every declaration, in the order of the rooms
DECLARED: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        DATA, DUPLICATES, CLASSIFIER, GRADIENTS, *REQUESTS.values(), INFLUENCE, PREDICTOR, FEATURES, MAP,
        JUDGE, PEOPLE, PROBE, REPAIR, ARM, RETRAIN, CELL,
    )
}  # fmt: skip


def compute_until(run: Run, until: str) -> Iterator[Progress]:
    """Every stage up to ``until``; :class:`DiffInfError` for a name that is none of :data:`STAGES`."""
    if until not in STAGES:
        raise DiffInfError(f"Unknown stage {until!r}; choose one of {', '.join(STAGES)}.")
    for name, stage in STAGES.items():
        yield from compute(run, stage)
        if name == until:
            return


def working(run: Run, events: Iterator[Progress]) -> Iterator[Progress]:
    """Work in a run whose lock is held; its settings are stored once the work has begun.

    So a command that is refused, or that cannot begin with its settings, leaves the stored ones.
    """
    stored = False
    try:
        for event in events:
            if not stored and event.note != DONE_ALREADY:
                run.store()
                stored = True
            yield event
        run.store()
    finally:
        write_index(run, tuple(STAGES.values()))
