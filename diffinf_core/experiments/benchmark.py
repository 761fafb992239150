"""A benchmark: every method under every seed on one problem, each pair a job of its own that resumes.

Rows share the split, the wrong labels, the augmentation, the seeds and, with the matched preset, the
recipe. The last epoch and the best one on validation are measured apart and never mixed.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import average_precision_score, roc_auc_score

from diffinf_core.baselines import Method, Recipe, Task, recipe_of
from diffinf_core.baselines.method import NotFiniteLogitsError
from diffinf_core.baselines.registry import Preset
from diffinf_core.classifier.metrics import evaluate
from diffinf_core.classifier.training import TrainingSet
from diffinf_core.experiments.controls import EDITING
from diffinf_core.experiments.differences import Difference, measure, tabulate
from diffinf_core.experiments.fairness import GroupFigures, by_group, cells, group_figures
from diffinf_core.experiments.retrain import METRICS
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import digest, read_json, write_array, write_json
from diffinf_core.runs.seal import sealed
from diffinf_core.runs.stages import Work
from diffinf_core.runs.workers import run_trainings

Epoch = Literal["last", "best"]
EPOCHS: tuple[Epoch, ...] = get_args(Epoch)
#: why a method could not be trained, and what a folder of a training holds
REFUSAL, _ABOUT = "refusal.json", "config.json"
#: the row that the costs, and by default the differences, refer to
REFERENCE = "noisy"
#: the row that every other is compared with
OURS = "repair"


class Problem(Protocol):
    """What is benchmarked on. Several processes need one that can be sent to them (a module's class)."""

    @property
    def classes(self) -> Sequence[str]:
        """The names of the classes."""

    @property
    def recipe(self) -> Recipe:
        """What every row is trained with under the matched preset."""

    def key(self, method: Method) -> str:
        """Changes with anything but the recipe that a method's training, or the test set, depends on."""

    def task(self, seed: int, method: Method) -> Task:
        """The training problem of a method under a seed, with its validation set."""

    def test(self) -> TrainingSet:
        """The clean test set."""

    def groups(self) -> Mapping[tuple[str, str], NDArray[np.bool_]]:
        """Members among the test set (N,) of each (column, value); empty where there are no groups."""

    def wrong(self) -> NDArray[np.bool_] | None:
        """Which training labels are wrong (N,); None where nobody knows."""


@dataclass(frozen=True)
class Row:
    """One row of the table: a method with its hyperparameters, under a preset."""

    method: Method
    preset: Preset = "matched"
    #: the hyperparameters that were chosen for this row, as text, where it was given some
    options: str = ""

    @property
    def name(self) -> str:
        """The method's name, with what was chosen, and the preset where it is not the matched one."""
        return self.method.name + self._suffix

    @property
    def title(self) -> str:
        """The same for a table."""
        return self.method.title + self._suffix

    @property
    def _suffix(self) -> str:
        chosen = f", {self.options}" if self.options else ""
        return chosen + ("" if self.preset == "matched" else f" ({self.preset})")


def job_folder(root: Path, problem: Problem, row: Row, seed: int) -> Path:
    """Where a row trains under a seed: another method, option, recipe or problem has another folder."""
    method, recipe = row.method, recipe_of(row.method, row.preset, problem.recipe)
    code = [] if method.version == 1 else [method.version]
    key = digest(problem.key(method), method.name, asdict(method), asdict(recipe), seed, *code)
    return root / method.name / key


@dataclass(frozen=True)
class Job:
    """A row under a seed."""

    row: Row
    seed: int


def job_task(problem: Problem, job: Job) -> Task:
    """What a job is trained on, by the recipe of its preset."""
    method = job.row.method
    recipe = recipe_of(method, job.row.preset, problem.recipe)
    return replace(problem.task(job.seed, method), recipe=recipe)


def _training(where: Path, row: Row, seed: int, task: Task) -> Work:
    write_json(
        where / _ABOUT,
        {
            "method": row.method.name,
            "options": asdict(row.method),
            "preset": row.preset,
            "recipe": asdict(task.recipe),
            "seed": seed,
        },
    )
    yield from row.method.train(task, where, f"{row.name}, seed {seed}")
    return {}


def _train(root: Path, problem: Problem, row: Row, seed: int) -> Iterator[Progress]:
    task, where = job_task(problem, Job(row, seed)), job_folder(root, problem, row, seed)
    test = problem.test()
    (where / REFUSAL).unlink(missing_ok=True)
    try:
        # The set that a control trains on is made by now; from here on no method may see the truth.
        yield from sealed(_training(where, row, seed, task))
    except DiffInfError as error:  # the other rows go on without it
        write_json(where / REFUSAL, {"message": str(error)})
        return
    try:
        _measure(where, row, task, test)
    except NotFiniteLogitsError as error:
        write_json(where / REFUSAL, {"message": str(error)})


def _measure(where: Path, row: Row, task: Task, test: TrainingSet) -> None:
    found: dict[str, Any] = {"seconds": row.method.seconds(where)}
    for epoch in EPOCHS:
        if epoch == "best" and task.validation is None:
            continue
        z = row.method.predictions(task, where, test, best=epoch == "best")
        p = softmax(z, 1)
        write_array(where / f"test_{epoch}.npy", p.astype(np.float32))
        found[epoch] = evaluate(np.asarray(test.labels), p)
    write_json(where / "result.json", found)


def pending(
    root: Path, problem: Problem, rows: Sequence[Row], seeds: Sequence[int]
) -> dict[str, Job]:
    """What is not measured yet, by name, a row after the other.

    A row whose method lacks something, such as a noise rate, is left out, see :func:`unfinished`. Raises
    :class:`DiffInfError` for two rows of one name, and where every row is left out.
    """
    names = [row.name for row in rows]
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise DiffInfError(f"The method {twice!r} is listed twice; name each method once.")
    jobs: dict[str, Job] = {}
    refused: list[str] = []
    for row in rows:
        missing = [
            seed
            for seed in seeds
            if not (job_folder(root, problem, row, seed) / "result.json").exists()
        ]
        try:
            if missing:
                row.method.check(problem.task(missing[0], row.method))
        except DiffInfError as error:
            refused.append(str(error))
            leave_out(root, problem, row, missing, str(error))
            continue
        jobs |= {f"{row.name}, seed {seed}": Job(row, seed) for seed in missing}
    if rows and len(refused) == len(rows):
        raise DiffInfError(refused[0])
    return jobs


def check_classes(problem: Problem) -> None:
    """:class:`DiffInfError` for a test set that lacks a class."""
    present = np.unique(np.asarray(problem.test().labels))
    if absent := [name for k, name in enumerate(problem.classes) if k not in present]:
        raise DiffInfError(
            f"The test split has no picture of the class {absent[0]!r}, so that no method can be measured; "
            "give it some, or leave that class out."
        )


def leave_out(root: Path, problem: Problem, row: Row, seeds: Sequence[int], reason: str) -> None:
    """Keep why a row is not trained, for :func:`unfinished`."""
    for seed in seeds:
        write_json(job_folder(root, problem, row, seed) / REFUSAL, {"message": reason})


def run_benchmark(
    root: Path, problem: Problem, rows: Sequence[Row], seeds: Sequence[int], workers: int = 1
) -> Iterator[Progress]:
    """Train and measure what is missing, see :func:`pending` and :func:`run_jobs`."""
    check_classes(problem)
    jobs = pending(root, problem, rows, seeds)
    yield from run_jobs(root, problem, jobs, len(rows) * len(seeds), workers)


def run_jobs(
    root: Path, problem: Problem, jobs: Mapping[str, Job], total: int, workers: int
) -> Iterator[Progress]:
    """Train and measure jobs, ``workers`` at a time; the rest of ``total`` is done already.

    Killed at any moment, it goes on with the epoch that each job had reached. A method that finds out while
    it trains that it cannot is left out, see :func:`unfinished`.
    """
    calls = {name: (root, problem, job.row, job.seed) for name, job in jobs.items()}
    yield from run_trainings("benchmark", _train, calls, total, workers)


@dataclass(frozen=True)
class Result:
    """One row of the table for one choice of epoch; metrics are fractions, means over seeds.

    ``deviation`` is None with one seed. ``cost`` is processor time relative to plain training, None
    where that is not in the table. ``differences`` compares each metric with the reference row.
    ``knows`` is what the row uses beyond pictures and labels: noise rate, ranking, edits, true labels.
    ``behind`` is the accuracy of DiffInf's repair less that of this row, where both are in the table.
    ``detection`` is how its suspicion ranks wrong labels (average_precision, auroc), where both are known.
    ``groups`` sums up, and ``by_group`` lists, its accuracy over groups; the latter are the rows of
    :func:`~.fairness.by_group`, corrected over all rows of the table.
    """

    name: str
    title: str
    epoch: Epoch
    seeds: int
    mean: dict[str, float]
    deviation: dict[str, float] | None
    cost: float | None
    differences: dict[str, Difference]
    knows: tuple[str, ...] = ()
    groups: GroupFigures | None = None
    detection: dict[str, float] | None = None
    behind: Difference | None = None
    by_group: tuple[Mapping[Hashable, Any], ...] = ()
    #: what the run's own stages that the row needs cost, relative to plain training; None where nobody knows
    preparation: float | None = None

    @property
    def method(self) -> str:
        """The method's name, whatever was chosen for the row."""
        return re.split(r"[, ]", self.name, maxsplit=1)[0]


def _knows(method: Method) -> tuple[str, ...]:
    needs = method.needs
    edits = needs.refined and method.name in EDITING
    named = {
        "noise rate": needs.noise_rate,
        "ranking": needs.ranking or (needs.refined and not edits and method.name != "clean"),
        "edits": edits,
        "true labels": needs.truth,
    }
    return tuple(name for name, used in named.items() if used)


def benchmark_results(
    root: Path,
    problem: Problem,
    rows: Sequence[Row],
    seeds: Sequence[int],
    epoch: Epoch = "last",
    reference: str = REFERENCE,
) -> list[Result]:
    """The table of every row that is finished under all seeds; empty where none is.

    Differences from the first row of the method ``reference`` have paired bootstrap intervals over test
    pictures and seeds.
    """
    probabilities: dict[str, NDArray[np.float32]] = {}
    seconds: dict[str, float] = {}
    for row in rows:
        folders = [job_folder(root, problem, row, seed) for seed in seeds]
        files = [f / f"test_{epoch}.npy" for f in folders]
        if all((f / "result.json").exists() for f in folders) and all(f.exists() for f in files):
            probabilities[row.name] = np.stack([_read(f) for f in files])
            seconds[row.name] = sum(read_json(f / "result.json")["seconds"] for f in folders)
    if not probabilities:
        return []
    labels, groups = np.asarray(problem.test().labels, np.int64), problem.groups()
    parts = {**groups, **cells(groups, labels, problem.classes)}
    measured, wrong = measure(labels, probabilities, list(problem.classes), parts), problem.wrong()
    named = {row.name: row for row in rows}

    def first(method: str) -> str | None:
        return next((name for name in measured.arms if named[name].method.name == method), None)

    compared, ours, usual = first(reference), first(OURS), first(REFERENCE)
    listed = by_group(tabulate(measured, compared))
    at = {metric: measured.index("metric", metric) for metric in METRICS}
    plain = None if usual is None else seconds[usual]
    out = []
    for place, name in enumerate(measured.arms):
        differences = {}
        if compared is not None and name != compared:
            found = {m: measured.difference(name, compared, q) for m, q in at.items()}
            differences = {m: d for m, d in found.items() if d is not None}
        sd = measured.deviations
        out.append(
            Result(
                name=name,
                title=named[name].title,
                epoch=epoch,
                seeds=len(seeds),
                mean={m: float(measured.values[place, q]) for m, q in at.items()},
                deviation=None if sd is None else {m: float(sd[place, q]) for m, q in at.items()},
                cost=seconds[name] / plain if plain else None,
                differences=differences,
                knows=_knows(named[name].method),
                groups=group_figures(labels, probabilities[name], groups),
                behind=measured.difference(ours, name, at["accuracy"])
                if ours is not None and name != ours
                else None,
                detection=_detection(
                    named[name].method,
                    [job_folder(root, problem, named[name], seed) for seed in seeds],
                    wrong,
                ),
                by_group=tuple(listed.get(name, ())),
            )
        )
    return out


def _read(file: Path) -> NDArray[np.float32]:
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DiffInfError(
            f"{file} is damaged; remove the folder {file.parent} and run the benchmark again."
        ) from error


def unfinished(
    root: Path, problem: Problem, rows: Sequence[Row], seeds: Sequence[int]
) -> list[str]:
    """A sentence for each row that is not in the table: why it cannot be trained, or how far it is."""
    out = []
    for row in rows:
        folders = [job_folder(root, problem, row, seed) for seed in seeds]
        left = [f for f in folders if not (f / "result.json").exists()]
        refused = [f / REFUSAL for f in left if (f / REFUSAL).exists()]
        if refused:
            out.append(f"{row.title} is left out: {read_json(refused[0])['message']}")
        elif left:
            done = len(folders) - len(left)
            out.append(f"{row.title} is trained under {done} of {len(folders)} seeds.")
    return out


def _detection(
    method: Method, folders: Sequence[Path], wrong: NDArray[np.bool_] | None
) -> dict[str, float] | None:
    """Mean over seeds of how the suspicion ranks wrong labels; None without them or without suspicion."""
    if wrong is None or not wrong.any() or wrong.all():
        return None
    found = []
    for folder in folders:
        outcome = method.scores(folder)
        if outcome is None or outcome.suspicion is None or len(outcome.suspicion) != len(wrong):
            return None
        score = outcome.suspicion
        found.append((average_precision_score(wrong, score), roc_auc_score(wrong, score)))
    precision, area = np.mean(found, 0)
    return {"average_precision": float(precision), "auroc": float(area)}
