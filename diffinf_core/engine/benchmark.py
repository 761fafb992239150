"""The rivals of Table 1 on a run: training them, and the tables of the last benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import plotly.graph_objects as go

from diffinf_core.baselines import CONTROLS, METHODS
from diffinf_core.engine.pipeline import PIPELINE
from diffinf_core.experiments.sample_scores import COLUMNS, sample_scores
from diffinf_core.experiments.suite import (
    Benchmark,
    BenchmarkSettings,
    cells,
    collect,
    load,
    run_suite,
)
from diffinf_core.records import DiffInfError, Job, Progress
from diffinf_core.report import benchmark as text
from diffinf_core.report import benchmark_files as files
from diffinf_core.runs.executor import ItemsFailed
from diffinf_core.runs.files import write_tables
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import compute

__all__ = ["BenchmarkSettings", "Benchmarks", "method_choices"]


def method_choices() -> list[tuple[str, str]]:
    """The title and name of every method and control; a title says where its row uses the truth."""
    return [
        (kind.title + (" (uses the truth)" if kind.needs.truth else ""), name)
        for name, kind in {**METHODS, **CONTROLS}.items()
    ]


class Benchmarks:
    """Runs benchmarks of a run and reads the last one."""

    def __init__(self, folder: Run) -> None:
        self._folder = folder

    @property
    def home(self) -> Path:
        """Where trainings are, and tables unless asked otherwise."""
        return self._folder.root / "benchmark"

    def run(
        self,
        settings: BenchmarkSettings | None = None,
        workers: int = 1,
        out: str | Path | None = None,
    ) -> Job[Progress, Benchmark]:
        """Train and measure what is missing; the tables are written to ``out`` after each training.

        What the rows need of the run itself (ranking, edits) is computed first. A row whose method lacks
        something, such as a noise rate, is left out with a sentence. Raises :class:`DiffInfError` where every
        row does, and for settings that cannot be.
        """
        settings = settings or BenchmarkSettings()
        cells(self._folder, settings)  # what cannot be is said at once
        where = self.home if out is None else Path(out)
        return Job.of(self._run(settings, workers, where), lambda: load(where / files.FILES[0]))

    def _run(self, settings: BenchmarkSettings, workers: int, out: Path) -> Iterator[Progress]:
        folder = self._folder

        def brought_up(run: Run, stage: str) -> Iterator[Progress]:
            for event in compute(run, PIPELINE, stage):
                if event.note != "done already":
                    yield event

        with folder.lock():
            done = None
            # of a benchmark before, perhaps another one
            (out / files.SAMPLES).unlink(missing_ok=True)
            try:
                for event in run_suite(folder, settings, brought_up, workers):
                    if event.stage == "benchmark":
                        if done is not None and event.done > done:
                            files.write(collect(folder, settings), out)
                        done = event.done
                    yield event
            except ItemsFailed:  # at its end: the tables hold the others
                self._write(settings, out)
                raise
            self._write(settings, out)

    def _write(self, settings: BenchmarkSettings, out: Path) -> None:
        files.write(collect(self._folder, settings), out)
        write_tables(out / files.SAMPLES, COLUMNS, sample_scores(self._folder, settings))

    def last(self, folder: str | Path | None = None) -> Benchmark:
        """The benchmark whose tables lie in a folder; :class:`DiffInfError` where there is none."""
        return load((self.home if folder is None else Path(folder)) / files.FILES[0])

    def in_words(self) -> list[tuple[str, list[list[str]], str]]:
        """Tables of the last benchmark as text: title, lines with the header first, what is not finished."""
        return text.parts(self.last())

    def summary(self) -> str:
        """What the tables of the last benchmark share, in sentences."""
        return text.summary(self.last())

    def markdown(self, folder: str | Path | None = None) -> str:
        """The tables of the benchmark in a folder, for a page."""
        return text.markdown(self.last(folder))

    def plots(self) -> list[go.Figure]:
        """A plot for each table of the last benchmark, and one for each sweep."""
        return files.plots(self.last())

    def file(self, kind: str) -> Path:
        """A file of the last benchmark: json, csv, md, tex, html, groups or samples."""
        known = {"groups": files.GROUPS, "samples": files.SAMPLES}
        path = self.home / known.get(kind, f"benchmark.{kind}")
        if path.name not in (*files.FILES, *known.values()) or not path.exists():
            raise DiffInfError(f"There is no {path}; 'diffinf benchmark RUN' makes one.")
        return path
