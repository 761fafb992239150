"""What each part of the repair is worth: the same pictures edited under other settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from diffinf_core.engine.pipeline import PIPELINE
from diffinf_core.experiments.ablation import Variants, run_ablation, summary, varied
from diffinf_core.records import DiffInfError, Job, Progress
from diffinf_core.report.ablation import in_words, write_page
from diffinf_core.runs.files import read_json
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import compute


class Ablation:
    """Runs the ablation of a run and reads the last one."""

    def __init__(self, folder: Run) -> None:
        self._folder = folder

    def run(
        self,
        vary: Mapping[str, Sequence[Any]] | None = None,
        seeds: int = 1,
        images: int = 48,
        retrain: bool = False,
    ) -> Job[Progress, pd.DataFrame]:
        """Edit the same pictures under each variant; the result is :meth:`table`.

        ``vary`` maps dotted settings to values, of which every combination is tried; None is the plan
        that takes the default apart. ``images`` of the high-influence set are edited in each cell.
        """
        variants = None if vary is None else varied(vary)
        return Job.of(self._run(variants, seeds, images, retrain), self.table)

    def _run(
        self, variants: Variants | None, seeds: int, images: int, retrain: bool
    ) -> Iterator[Progress]:
        folder = self._folder
        with folder.lock():
            cells = 0
            for event in run_ablation(
                folder,
                lambda run: compute(run, PIPELINE, "judge"),
                variants,
                seeds,
                images,
                retrain,
            ):
                if event.done > cells:
                    cells = event.done
                    write_page(folder.root / "ablation")
                yield event

    def table(self) -> pd.DataFrame:
        """The last ablation: a row per variant, mean and ``_sd`` over seeds."""
        file = self._folder.root / "ablation" / "ablation.json"
        if not file.exists():
            raise DiffInfError(
                f"{self._folder.root} has no ablation yet; 'diffinf ablate' makes one."
            )
        return summary(read_json(file))

    def in_words(self) -> list[list[str]]:
        """The same as rows of text, the header first."""
        return in_words(self.table())
