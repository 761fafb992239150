"""The rows of a run's benchmark trained by workers of other machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from diffinf_core.baselines import Method, Task
from diffinf_core.classifier.parallel import There, Trainings, train_elsewhere, without_pictures
from diffinf_core.classifier.stage import imagenet_weights
from diffinf_core.data.part import Part, open_training, open_validation
from diffinf_core.experiments.benchmark import Job, job_folder, job_task
from diffinf_core.experiments.run_problem import RunNetwork, RunProblem
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.review.training_set import TrainingSet


@dataclass(frozen=True)
class _Sent:
    """A row under a seed, on its way to a worker."""

    method: Method
    task: Task
    note: str

    def into(self, folder: Path, there: There) -> Iterator[Progress]:
        """Train it; a method that finds out that it cannot leaves that to the run's process to say."""
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
            yield from self.method.train(here, folder, self.note)
        except DiffInfError:
            return


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
) -> Iterator[Progress]:
    """Train jobs of :func:`.benchmark.pending`; nothing where this process computes.

    What they come to is measured by :func:`.benchmark.run_benchmark`, which finds them trained.
    """
    ends = {
        name: job_folder(root, problem, job.row, job.seed) / "final.pt"
        for name, job in jobs.items()
    }
    run = problem.run
    yield from train_elsewhere(
        "benchmark",
        Trainings(ends, lambda name: _sent(name, problem, jobs[name]), imagenet_weights(run)),
        open_training(run),
        open_validation(run),
    )
