"""A benchmark of a run: which methods under which tau and noise, driven, and stored with its tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

from diffinf_core.baselines import CONTROLS, METHODS, Method, Recipe, make_method
from diffinf_core.baselines.registry import Preset
from diffinf_core.config import change, parse_overrides
from diffinf_core.data.lineage import origin
from diffinf_core.data.profile import profile_of
from diffinf_core.experiments.benchmark import (
    EPOCHS,
    REFERENCE,
    Epoch,
    Result,
    Row,
    benchmark_results,
    check_classes,
    job_folder,
    leave_out,
    pending,
    run_jobs,
    unfinished,
)
from diffinf_core.experiments.controls import EDITING, distances
from diffinf_core.experiments.differences import Difference
from diffinf_core.experiments.elsewhere import train_rows_elsewhere
from diffinf_core.experiments.fairness import GroupFigures
from diffinf_core.experiments.run_problem import RunProblem
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.executor import ItemsFailed
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.run import Run

#: sets of methods by name, beside each method's own
GROUPS: Mapping[str, tuple[str, ...]] = {
    "table1": ("noisy", "small_loss", "elr_plus", "proselflc", "promix", "removal", "repair"),
    "methods": tuple(METHODS),
    "controls": tuple(CONTROLS),
    "all": (*METHODS, *CONTROLS),
}


@dataclass(frozen=True)
class BenchmarkSettings:
    """What is benchmarked.

    ``methods`` are names or :data:`GROUPS`, a name with hyperparameters where they differ from the
    preset's, such as "proselflc:theta=0.3"; ``taus`` (per cent) and ``noises`` (fractions) are swept,
    every combination, and are the run's own where empty. ``augment`` None follows the run's classifier.
    ``noise_rate`` is what methods assume in the place of the rate that was injected. Rows are compared with
    the method ``reference``.
    """

    methods: tuple[str, ...] = ("table1",)
    seeds: int = 3
    taus: tuple[float, ...] = ()
    noises: tuple[float, ...] = ()
    augment: bool | None = None
    schedule: Literal["cosine", "constant"] = "cosine"
    preset: Preset = "matched"
    noise_rate: float | None = None
    reference: str = REFERENCE

    def rows(self, tau: float) -> list[Row]:
        """A row for each method, groups spelt out, each once, the reference first where it is among them."""
        specified = [s for given in self.methods for s in GROUPS.get(given, (given,))]
        if not specified:
            raise DiffInfError(
                "A benchmark needs at least one method; name some, or the group table1."
            )
        rows: dict[Method, Row] = {}
        for row in (_row(s, tau, self.preset) for s in specified):
            rows.setdefault(row.method, row)  # the same under two names is trained once
        first = make_method(self.reference).name
        return sorted(rows.values(), key=lambda row: row.method.name != first)


@dataclass(frozen=True)
class Cell:
    """One combination of tau and noise: a run under these settings, and the rows for it."""

    tau: float
    noise: float
    problem: RunProblem
    rows: tuple[Row, ...]

    @property
    def stage(self) -> str:
        """The stage of the run that its rows need."""
        needs = [row.method.needs for row in self.rows]
        if any(row.method.name in EDITING for row in self.rows):
            return "repair"
        return "influence" if any(n.ranking or n.refined for n in needs) else "data"


def _row(specified: str, tau: float, preset: Preset) -> Row:
    """The row of "name" or "name:option=value;option=value"; what drops a fraction drops tau per cent."""
    name, _, rest = specified.partition(":")
    given: dict[str, Any] = {}
    for pair in filter(None, rest.split(";")):
        if "=" not in pair:
            raise DiffInfError(
                f"Cannot read {pair!r} in {specified!r}; write method:option=value, e.g. proselflc:theta=0.3."
            )
        option = parse_overrides([f"method.{pair}"])["method"]
        if twice := set(option) & set(given):
            raise DiffInfError(f"{specified!r} has {twice.pop()!r} twice; give it once.")
        given |= option
    method = make_method(name, preset, **given)
    if "fraction" in {f.name for f in fields(type(method))} - set(given):
        method = make_method(name, preset, **given, fraction=tau / 100)
    return Row(method, preset, ", ".join(f"{k} {v}" for k, v in given.items()))


def cells(run: Run, settings: BenchmarkSettings) -> list[Cell]:
    """Every combination; :class:`DiffInfError` for settings that cannot be, before anything is computed."""
    if settings.seeds < 1:
        raise DiffInfError(f"A benchmark needs at least one seed, not {settings.seeds}.")
    rate = settings.noise_rate
    if rate is not None and not 0 <= rate < 1:
        raise DiffInfError(f"A noise rate of {rate} is not in [0, 1).")
    stored = run.config
    out = []
    for noise, tau in product(
        settings.noises or (stored.noise.rate,), settings.taus or (stored.influence.tau,)
    ):
        config = change(stored, {"influence": {"tau": tau}, "noise": {"rate": noise}}, "benchmark")
        if noise != stored.noise.rate and origin(run) != run.root:
            raise DiffInfError(
                f"{run.root} is a later round, whose labels are not made anew: benchmark it without "
                "--noise, or benchmark the first round."
            )
        own = run if config == stored else Run(run.root, config, run.root / "benchmark" / "edits")
        augment = stored.classifier.augment if settings.augment is None else settings.augment
        rows = settings.rows(tau)
        compared = make_method(settings.reference).name
        if compared not in {row.method.name for row in rows} | {REFERENCE}:
            raise DiffInfError(
                f"The reference {settings.reference!r} is not among the methods; add it to them."
            )
        problem = RunProblem(own, augment, settings.schedule, settings.noise_rate)
        out.append(Cell(tau, noise, problem, tuple(rows)))
    return out


def run_suite(
    run: Run,
    settings: BenchmarkSettings,
    compute: Callable[[Run, str], Iterator[Progress]],
    workers: int = 1,
) -> Iterator[Progress]:
    """Train and measure what is missing of every cell; ``compute`` brings a run up to a stage.

    Can be killed at any moment; the trainings are shared by all benchmarks of the run.
    """
    failures, finished, refused, done = dict[str, str](), 0, list[str](), False
    for whole in cells(run, settings):
        yield from compute(whole.problem.run, "data")
        check_classes(whole.problem)
        root, seeds = trainings(run), range(settings.seeds)
        lacking = {row.name: whole.problem.lacks(row.method) for row in whole.rows}
        for row in whole.rows:
            if reason := lacking[row.name]:
                leave_out(root, whole.problem, row, seeds, reason)
        cell = replace(whole, rows=tuple(row for row in whole.rows if not lacking[row.name]))
        if not cell.rows:
            refused += filter(None, lacking.values())
            continue
        yield from compute(cell.problem.run, cell.stage)
        for row in cell.rows:
            yield from cell.problem.prepare(row.method)
        try:
            jobs = pending(root, cell.problem, cell.rows, seeds)
        except DiffInfError as error:  # other cells may have rows that can be trained
            refused.append(str(error))
            continue
        done = True
        left, failed = yield from train_rows_elsewhere(root, cell.problem, jobs)
        total = len(cell.rows) * len(seeds) - len(jobs) + len(left)
        yield from run_jobs(root, cell.problem, left, total, workers)
        finished += len(left)
        failures |= {} if failed is None else failed.failures
    if refused and not done:
        raise DiffInfError(refused[0])
    if failures:  # all others are measured
        raise ItemsFailed(failures, finished)


def trainings(run: Run) -> Path:
    """Where a run's benchmarks train."""
    return run.root / "benchmark" / "trainings"


# ---------------------------------------------------------------- results


@dataclass(frozen=True)
class Table:
    """The finished rows for one tau, noise and choice of epoch, and a sentence for each of the others."""

    tau: float
    noise: float
    epoch: Epoch
    results: tuple[Result, ...]
    unfinished: tuple[str, ...]


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's settings and figures, as stored.

    ``data`` describes the data set: name, classes, n_train, n_test. ``distances`` are those of
    :func:`~diffinf_core.experiments.controls.distances`, for the first cell.
    """

    settings: BenchmarkSettings
    data: Mapping[str, Any]
    recipe: Recipe
    augment: bool
    tables: tuple[Table, ...]
    distances: tuple[Mapping[str, Any], ...]


def collect(run: Run, settings: BenchmarkSettings) -> Benchmark:
    """The figures of everything that is finished."""
    found, tables = cells(run, settings), []
    for cell in found:
        for epoch in EPOCHS:
            results = benchmark_results(
                trainings(run),
                cell.problem,
                cell.rows,
                range(settings.seeds),
                epoch,
                make_method(settings.reference).name,
            )
            results = [
                _with_preparation(trainings(run), cell, r, range(settings.seeds)) for r in results
            ]
            left = unfinished(trainings(run), cell.problem, cell.rows, range(settings.seeds))
            tables.append(Table(cell.tau, cell.noise, epoch, tuple(results), tuple(left)))
    first = found[0].problem
    data = {
        "name": Path(profile_of(run).name).name,
        "classes": list(first.classes),
        "n_train": len(first.task(0, make_method("noisy")).data),
        "n_test": len(first.test()),
        "clean_test": profile_of(run).clean_test,
    }
    edits = distances(first.run, [row.method.name for row in found[0].rows])
    return Benchmark(settings, data, first.recipe, first.augment, tuple(tables), tuple(edits))


def _with_preparation(root: Path, cell: Cell, result: Result, seeds: Sequence[int]) -> Result:
    """The row with what the run spent on it beforehand, and with the generator where it is not the run's."""
    method = next(row.method for row in cell.rows if row.name == result.name)
    knows = result.knows
    if method.name in EDITING and cell.problem.foreign_generator:
        knows = tuple(f"{k} by a pretrained generator" if k == "edits" else k for k in knows)
    spent, plain = cell.problem.preparation(method), _plain_seconds(root, cell, seeds)
    return replace(result, knows=knows, preparation=spent / plain if spent and plain else None)


def _plain_seconds(root: Path, cell: Cell, seeds: Sequence[int]) -> float | None:
    """Processor seconds of one plain training; None where none is measured."""
    for row in cell.rows:
        if row.method.name == REFERENCE:
            files = [job_folder(root, cell.problem, row, s) / "result.json" for s in seeds]
            times = [float(read_json(file)["seconds"]) for file in files if file.exists()]
            return sum(times) / len(times) if times else None
    return None


def store(benchmark: Benchmark, file: Path) -> None:
    """Write a benchmark as JSON."""
    write_json(file, asdict(benchmark))


def load(file: Path) -> Benchmark:
    """Read what :func:`store` wrote; :class:`DiffInfError` for a file that is missing or damaged."""
    if not file.exists():
        raise DiffInfError(f"There is no benchmark {file}; 'diffinf benchmark RUN' makes one.")
    saved = read_json(file)
    try:
        tables: list[Table] = []
        for table in saved["tables"]:
            rest = {"results": _results(table["results"]), "unfinished": tuple(table["unfinished"])}
            tables.append(Table(**{**table, **rest}))
        return Benchmark(
            settings=BenchmarkSettings(**_tuples(saved["settings"])),
            data=saved["data"],
            recipe=Recipe(**_tuples(saved["recipe"])),
            augment=saved["augment"],
            tables=tuple(tables),
            distances=tuple(saved["distances"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DiffInfError(
            f"{file} is damaged or of another version of DiffInf; run the benchmark again."
        ) from error


def _tuples(saved: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has lists where a dataclass has tuples."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in saved.items()}


def _results(saved: Sequence[Mapping[str, Any]]) -> tuple[Result, ...]:
    out = []
    for record in saved:
        groups, behind = record["groups"], record["behind"]
        out.append(
            Result(
                **{
                    **record,
                    "differences": {m: Difference(**d) for m, d in record["differences"].items()},
                    "knows": tuple(record["knows"]),
                    "behind": None if behind is None else Difference(**behind),
                    "groups": None if groups is None else GroupFigures(**groups),
                    "by_group": tuple(record.get("by_group", ())),
                }
            )
        )
    return tuple(out)
