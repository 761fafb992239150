"""The stages in order: what is complete, and computing what is not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from diffinf_core.classifier.stage import classifier_stage, run_classifier
from diffinf_core.correction.judge import judge_stage, run_judge
from diffinf_core.correction.stage import repair_stage, run_repair
from diffinf_core.data.ingest import data_stage, ingest
from diffinf_core.influence.predictor import predictor_stage, run_predictor
from diffinf_core.influence.stage import influence_stage, run_influence
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.run import Run, StageFolder

_Stage = tuple[Callable[[Run], StageFolder], Callable[[Run], Iterator[Progress]]]
STAGES: dict[str, _Stage] = {
    "data": (data_stage, ingest),
    "classifier": (classifier_stage, run_classifier),
    "influence": (influence_stage, run_influence),
    "predictor": (predictor_stage, run_predictor),
    "judge": (judge_stage, run_judge),
    "repair": (repair_stage, run_repair),
}


def status(run: Run) -> dict[str, bool]:
    """Which stages are complete for the present configuration."""
    out: dict[str, bool] = {}
    for name, (folder, _) in STAGES.items():
        # A stage's key can depend on files that an earlier one writes.
        try:
            out[name] = all(out.values()) and folder(run).done
        except DiffInfError:
            out[name] = False
    return out


def compute_stages(run: Run, until: str) -> Iterator[Progress]:
    """Run every stage up to ``until`` that is not complete; the caller holds the run's lock."""
    for name, (folder, work) in STAGES.items():
        stage = folder(run)
        if stage.done:
            yield Progress(name, 1, 1, "done already")
        else:
            began = time.perf_counter()
            yield from work(run)
            seconds = round(time.perf_counter() - began, 2)
            stage.finish({**stage.figures, "seconds": seconds})
            yield Progress(name, 1, 1, f"done in {seconds:.0f} s")
        if name == until:
            return


def compute(run: Run, until: str = "repair") -> Iterator[Progress]:
    """Run every stage up to ``until`` that is not complete; close the generator to cancel.

    Raises :class:`DiffInfError` for an unknown stage, and while another process computes in the folder.
    """
    if until not in STAGES:
        raise DiffInfError(f"Unknown stage {until!r}; choose one of {', '.join(STAGES)}.")
    with run.lock():
        yield from compute_stages(run, until)
