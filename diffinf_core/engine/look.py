"""What a run has so far: rankings, pictures, figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from diffinf_core.config import RunConfig, change
from diffinf_core.correction.edits import edit_folder, load_edit, read_edit, versions_of
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import Part, open_training
from diffinf_core.data.show import encoded, heat
from diffinf_core.engine.compute import Computing
from diffinf_core.influence.checkpoints import checkpoint_epochs, training_curve
from diffinf_core.influence.estimators import agreement
from diffinf_core.influence.stage import (
    ranking,
    read_scores,
    request,
    requested,
)
from diffinf_core.records import DiffInfError, Edit, Progress
from diffinf_core.report import plots
from diffinf_core.report.summary import summarise
from diffinf_core.review.queue import build_queue
from diffinf_core.runs.run import Run


class Looking(Computing):
    """Reads what is there; changes nothing but what a score needs."""

    _opened: tuple[str, Part] | None = None

    @property
    def data_key(self) -> str:
        """Names the data set as this run reads it: the same sample is the same picture under it."""
        return DATA.key(self.run)

    @property
    def training(self) -> Part:
        """The training split; read once, because a page asks for it with every picture."""
        key, opened = self.data_key, self._opened
        if opened is None or opened[0] != key:
            self._opened = opened = key, open_training(self.run)
        return opened[1]

    def _ranked_by(self, by: str | None) -> RunConfig:
        """The configuration with another estimator, or a rank mean ``"a+b"``."""
        if by is None:
            return self.config
        return change(self.config, {"influence": {"estimator": by}}, "--by")

    def score(self, by: str | None = None) -> Iterator[Progress]:
        """Compute what a ranking by ``by`` needs beyond the scores that every run has."""
        run = Run(self.run.root, self._ranked_by(by))
        # To look at what is there must work while another process computes.
        if not self.status()["influence"]:
            yield from self.compute("influence")
        missing = [n for n in requested(run.config.influence) if not request(n).folder(run).done]
        if missing:
            with self.run.lock():
                for name in missing:
                    yield from request(name).compute(run)

    def ranking(self, by: str | None = None) -> pd.DataFrame:
        """Score and rank of every training sample, by the run's estimator or another one."""
        return ranking(self.run, self._ranked_by(by).influence)

    def quality(self, by: str | None = None) -> dict[str, dict[str, float]]:
        """Average precision and precision at tau of each score; empty where no truth is known."""
        run = Run(self.run.root, self._ranked_by(by))
        influence = summarise(run)["influence"]
        return influence["by_signal"] if influence else {}

    def agreement(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Between the scores there are: rank correlation, and the shared part of the top tau %."""
        table = read_scores(self.run)
        names = [c for c in table.columns if c != "id"]
        return agreement(table, names, self.config.influence.tau)

    def repair_key(self) -> str:
        """Names the edits and what they were made from; changes with them."""
        return REPAIR.key(self.run)

    def queue(self) -> pd.DataFrame:
        """The pairs to review, most suspicious first."""
        return build_queue(self.run)

    def original(self, sample: str) -> np.ndarray:
        """The picture of a training sample, uint8 (S, S, 3)."""
        train = self.training
        return train.images([train.position(sample)])[0]

    def pictures(self, sample: str, version: str) -> tuple[np.ndarray, np.ndarray]:
        """(edit, plain reconstruction) of a version, uint8 (S, S, 3)."""
        edit = read_edit(self.run, sample, version)
        return edit, read_edit(self.run, sample, version, "reconstruction")

    def picture_bytes(self, kind: str, sample: str, version: str = "") -> bytes:
        """A picture as PNG: "original", or the "edit", "reconstruction" or "heat" of a version.

        Raises :class:`DiffInfError` for what there is not; of the test split there is nothing.
        """
        position = self.training.position(sample)
        if kind == "original":
            return encoded(self.training.images([position])[0])
        if kind not in ("edit", "reconstruction", "heat"):
            raise DiffInfError(f"There is no picture {kind!r} of a sample.")
        try:
            if kind == "heat":
                return encoded(heat(self.original(sample), self.pictures(sample, version)[0]))
            return (edit_folder(self.run, sample, version) / f"{kind}.png").read_bytes()
        except FileNotFoundError as error:
            raise DiffInfError(f"There is no edit {version!r} of sample {sample!r}.") from error

    def thumbnail_bytes(self, sample: str, side: int) -> bytes:
        """The original as a small WebP of ``side`` x ``side`` pixels."""
        small = Image.fromarray(self.original(sample)).resize(
            (side, side), Image.Resampling.LANCZOS
        )
        return encoded(np.asarray(small), "WEBP", quality=85)

    def edit(self, sample: str, version: str) -> Edit:
        """The record of a version."""
        return load_edit(self.run, sample, version)

    def versions(self, sample: str) -> list[str]:
        """All versions of a sample, oldest first."""
        return versions_of(self.run, sample)

    def plots(self) -> dict[str, Any]:
        """Plotly figures of what the run has so far, by name."""
        figures = self.report()
        out: dict[str, Any] = {}
        if figures["classifier"]:
            chosen = checkpoint_epochs(self.run)
            out["curve"] = plots.training_curve(training_curve(self.run), chosen)
        if figures["influence"]:
            table = self.ranking()
            threshold = float(table.loc[table["high"], "score"].min())
            name = self.config.influence.estimator
            out["scores"] = plots.score_distribution(table["score"].to_numpy(), threshold, name)
            out["estimators"] = plots.estimators_agree(self.agreement()[1])
            if figures["influence"]["by_signal"]:
                out["signals"] = plots.signals(figures["influence"]["by_signal"])
        return {**out, **self._agreement(figures)}

    def agreement_plot(self) -> dict[str, Any]:
        """Of the figures of :meth:`plots` only "agreement": what the judge says of the edits."""
        return self._agreement(self.report())

    @staticmethod
    def _agreement(figures: dict[str, Any]) -> dict[str, Any]:
        return {"agreement": plots.agreement(figures["repair"])} if figures["repair"] else {}
