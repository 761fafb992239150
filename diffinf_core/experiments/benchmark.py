"""A benchmark: every method under every seed on one problem, each pair a job of its own that resumes.

Rows share the split, the wrong labels, the augmentation, the seeds and, with the matched preset, the
recipe. The last epoch and the best one on validation are measured apart and never mixed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from diffinf_core.baselines import Method, Task, recipe_of
from diffinf_core.baselines.registry import Preset
from diffinf_core.classifier.metrics import evaluate
from diffinf_core.classifier.training import TrainingSet
from diffinf_core.experiments.differences import Difference, measure
from diffinf_core.experiments.retrain import METRICS
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import digest, read_json, write_array, write_json
from diffinf_core.runs.workers import run_trainings

Epoch = Literal["last", "best"]
#: the row that the costs, and by default the differences, refer to
REFERENCE = "noisy"


class Problem(Protocol):
    """What is benchmarked on. Several processes need one that can be sent to them (a module's class)."""

    @property
    def key(self) -> str:
        """Changes with anything that the tasks or the test set depend on."""

    @property
    def classes(self) -> Sequence[str]:
        """The names of the classes."""

    def task(self, seed: int) -> Task:
        """The training problem under a seed, with its validation set."""

    def test(self) -> TrainingSet:
        """The clean test set."""


@dataclass(frozen=True)
class Row:
    """One row of the table: a method with its hyperparameters, under a preset."""

    method: Method
    preset: Preset = "matched"

    @property
    def name(self) -> str:
        """The method's name, with the preset where it is not the matched one."""
        return self.method.name + self._suffix

    @property
    def title(self) -> str:
        """The same for a table."""
        return self.method.title + self._suffix

    @property
    def _suffix(self) -> str:
        return "" if self.preset == "matched" else f" ({self.preset})"


def job_folder(root: Path, problem: Problem, row: Row, task: Task) -> Path:
    """Where a row trains under a seed: another method, option, recipe or problem has another folder."""
    recipe = recipe_of(row.method, row.preset, task.recipe)
    key = digest(problem.key, row.method.name, asdict(row.method), asdict(recipe), task.seed)
    return root / row.method.name / key


def _train(root: Path, problem: Problem, row: Row, seed: int) -> Iterator[Progress]:
    task = problem.task(seed)
    where = job_folder(root, problem, row, task)
    task = replace(task, recipe=recipe_of(row.method, row.preset, task.recipe))
    yield from row.method.train(task, where, f"{row.name}, seed {seed}")
    test = problem.test()
    found: dict[str, Any] = {"seconds": row.method.seconds(where)}
    for epoch in ("last", "best"):
        if epoch == "best" and task.validation is None:
            continue
        z = row.method.predictions(task, where, test, best=epoch == "best")
        p = softmax(z, 1)
        write_array(where / f"test_{epoch}.npy", p.astype(np.float32))
        found[epoch] = evaluate(np.asarray(test.labels), p)
    write_json(where / "result.json", found)


def run_benchmark(
    root: Path, problem: Problem, rows: Sequence[Row], seeds: Sequence[int], workers: int = 1
) -> Iterator[Progress]:
    """Train and measure what is missing, ``workers`` jobs at a time.

    Killed at any moment, it goes on with the epoch that each job had reached. What a method lacks,
    such as a noise rate, is said before anything is trained. Raises :class:`DiffInfError` for two
    rows of one name.
    """
    names = [row.name for row in rows]
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise DiffInfError(f"The method {twice!r} is listed twice; name each method once.")
    jobs = {}
    for seed in seeds:
        task = problem.task(seed)
        for row in rows:
            row.method.check(task)
            if not (job_folder(root, problem, row, task) / "result.json").exists():
                jobs[f"{row.name}, seed {seed}"] = (root, problem, row, seed)
    yield from run_trainings("benchmark", _train, jobs, len(rows) * len(seeds), workers)


@dataclass(frozen=True)
class Result:
    """One row of the table for one choice of epoch; metrics are fractions, means over seeds.

    ``deviation`` is None with one seed. ``cost`` is processor time relative to plain training, None
    where that is not in the table. ``differences`` compares each metric with the reference row.
    """

    name: str
    title: str
    epoch: Epoch
    seeds: int
    mean: dict[str, float]
    deviation: dict[str, float] | None
    cost: float | None
    differences: dict[str, Difference]


def benchmark_results(
    root: Path,
    problem: Problem,
    rows: Sequence[Row],
    seeds: Sequence[int],
    epoch: Epoch = "last",
    reference: str = REFERENCE,
) -> list[Result]:
    """The table of every row that is finished under all seeds; empty where none is.

    Differences from ``reference`` have paired bootstrap intervals over test pictures and seeds.
    """
    probabilities: dict[str, NDArray[np.float32]] = {}
    seconds: dict[str, float] = {}
    tasks = [problem.task(seed) for seed in seeds]
    for row in rows:
        folders = [job_folder(root, problem, row, task) for task in tasks]
        files = [f / f"test_{epoch}.npy" for f in folders]
        if all((f / "result.json").exists() for f in folders) and all(f.exists() for f in files):
            probabilities[row.name] = np.stack([np.load(f) for f in files])
            seconds[row.name] = sum(read_json(f / "result.json")["seconds"] for f in folders)
    if not probabilities:
        return []
    measured = measure(
        np.asarray(problem.test().labels, np.int64), probabilities, list(problem.classes)
    )
    titles = {row.name: row.title for row in rows}
    at = {metric: measured.index("metric", metric) for metric in METRICS}
    plain = seconds.get(REFERENCE)
    out = []
    for place, name in enumerate(measured.arms):
        differences = {}
        if reference in measured.arms and name != reference:
            found = {m: measured.difference(name, reference, q) for m, q in at.items()}
            differences = {m: d for m, d in found.items() if d is not None}
        sd = measured.deviations
        out.append(
            Result(
                name=name,
                title=titles[name],
                epoch=epoch,
                seeds=len(seeds),
                mean={m: float(measured.values[place, q]) for m, q in at.items()},
                deviation=None if sd is None else {m: float(sd[place, q]) for m, q in at.items()},
                cost=seconds[name] / plain if plain else None,
                differences=differences,
            )
        )
    return out


# ---------------------------------------------------------------- files

#: what a printed table shows of a metric: heading, factor, decimals
PRINTED = {
    "accuracy": ("Accuracy (%)", 100, 2),
    "auroc": ("AUROC (%)", 100, 2),
    "kappa_linear": ("Kappa", 1, 3),
}


def _cell(result: Result, metric: str, plus_minus: str) -> str:
    _, factor, digits = PRINTED[metric]
    text = f"{factor * result.mean[metric]:.{digits}f}"
    if result.deviation is None:
        return text
    return f"{text} {plus_minus} {factor * result.deviation[metric]:.{digits}f}"


def _difference(result: Result, to: str) -> str:
    found = result.differences.get("accuracy")
    if found is None:
        return "-"
    text = f"{100 * found.value:+.2f}"
    if found.low is None or found.high is None:
        return text
    return f"{text} [{100 * found.low:+.2f}{to}{100 * found.high:+.2f}]"


def _lines(results: Sequence[Result], plus_minus: str, to: str) -> list[list[str]]:
    return [
        [
            r.title,
            *(_cell(r, metric, plus_minus) for metric in PRINTED),
            _difference(r, to),
            "-" if r.cost is None else f"{r.cost:.1f}",
        ]
        for r in results
    ]


_HEADINGS = ("Method", *(h for h, _, _ in PRINTED.values()), "Accuracy, difference", "Cost")


def to_markdown(results: Sequence[Result]) -> str:
    """The form of Table 1, with differences and costs."""
    lines = [_HEADINGS, ["---"] * len(_HEADINGS), *_lines(results, "±", ", ")]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def to_latex(results: Sequence[Result]) -> str:
    """The same for LaTeX, with booktabs."""
    lines = [_HEADINGS, *_lines(results, r"$\pm$", ", ")]
    rows = [
        " & ".join(cell.replace("%", r"\%").replace("_", r"\_") for cell in line) + r" \\"
        for line in lines
    ]
    columns = "l" + "r" * (len(_HEADINGS) - 1)
    begin = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", rows[0], r"\midrule"]
    return "\n".join([*begin, *rows[1:], r"\bottomrule", r"\end{tabular}"])


def to_table(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A flat record per row, for CSV and JSON: every metric, its deviation, difference and interval."""
    out = []
    for r in results:
        record: dict[str, Any] = {
            "method": r.name, "epoch": r.epoch, "seeds": r.seeds, "cost": r.cost,
        }  # fmt: skip
        for metric in METRICS:
            record[metric] = r.mean[metric]
            record[f"{metric}_sd"] = None if r.deviation is None else r.deviation[metric]
            found = r.differences.get(metric)
            record[f"{metric}_difference"] = None if found is None else found.value
            record[f"{metric}_low"] = None if found is None else found.low
            record[f"{metric}_high"] = None if found is None else found.high
        out.append(record)
    return out
