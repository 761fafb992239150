"""The rows of a run's benchmark trained by workers of other machines."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from diffinf_core.baselines import Method, Task
from diffinf_core.classifier.parallel import There, Trainings, train_elsewhere, without_pictures
from diffinf_core.classifier.stage import imagenet_weights
from diffinf_core.data.part import Part, open_training, open_validation
from diffinf_core.experiments.benchmark import REFUSAL, Job, job_folder, job_task
from diffinf_core.experiments.run_problem import RunNetwork, RunProblem
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.review.training_set import TrainingSet
from diffinf_core.runs.executor import ItemsFailed, LocalExecutor, executor
from diffinf_core.runs.files import write_json
from diffinf_core.runs.seal import sealed
from diffinf_core.runs.stages import Work


@dataclass(frozen=True)
class _Sent:
    """A row under a seed, on its way to a worker."""

    method: Method
    task: Task
    note: str

    def into(self, folder: Path, there: There) -> Iterator[Progress]:
        """Train it; a method that finds out that it cannot says so in a file, as in the run's process."""
        task, refined = self.task, self.task.refined
        assert isinstance(task.data, Part) and isinstance(task.network, RunNetwork)
        if isinstance(refined, TrainingSet):
            refined = replace(refined, train=there.on(refined.train))
        here = replace(
            task,
            data=there.on(task.data),
            validation=there.validation,
            refined=refined,
            network=replace(task.network, weights=there.pretrained),
        )
        try:
            yield from sealed(self._train(here, folder))
        except DiffInfError as error:
            write_json(folder / REFUSAL, {"message": str(error)})

    def _train(self, task: Task, folder: Path) -> Work:
        yield from self.method.train(task, folder, self.note)
        return {}


def _sent(name: str, problem: RunProblem, job: Job) -> _Sent:
    task = job_task(problem, job)
    assert isinstance(task.data, Part)
    refined = task.refined
    if isinstance(refined, TrainingSet):
        refined = refined.sent(without_pictures(refined.train))
    data = without_pictures(task.data)
    return _Sent(job.row.method, replace(task, data=data, validation=None, refined=refined), name)


def train_rows_elsewhere(
    root: Path, problem: RunProblem, jobs: Mapping[str, Job]
) -> Generator[Progress, None, tuple[dict[str, Job], ItemsFailed | None]]:
    """Train jobs of :func:`.benchmark.pending`; nothing where this process computes.

    Returns the jobs that are left for :func:`.benchmark.run_jobs`, which finds them trained, and what
    failed for good. Rows that refuse are neither.
    """
    ends = {
        name: job_folder(root, problem, job.row, job.seed) / "final.pt"
        for name, job in jobs.items()
    }
    run = problem.run
    failed = yield from train_elsewhere(
        "trainings",
        Trainings(ends, lambda name: _sent(name, problem, jobs[name]), imagenet_weights(run)),
        open_training(run),
        open_validation(run),
    )
    dropped = set() if failed is None else set(failed.failures)
    if not isinstance(executor(), LocalExecutor):
        refused = (
            n for n, end in ends.items() if (end.parent / REFUSAL).exists() and not end.exists()
        )
        dropped |= set(refused)
    return {name: job for name, job in jobs.items() if name not in dropped}, failed
