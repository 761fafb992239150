"""The scores of the training samples compared: agreement, disagreement, quality where truth is known."""

from __future__ import annotations

from typing import Any

import pandas as pd

from diffinf_core.config import RunConfig, change
from diffinf_core.engine.tables import Tables
from diffinf_core.influence.checkpoints import checkpoint_epochs, training_curve
from diffinf_core.influence.estimators import agreement
from diffinf_core.influence.stage import estimator_of
from diffinf_core.report import plots
from diffinf_core.report.explore import disagreement
from diffinf_core.report.precision import precision_figures, precision_key, tau_words
from diffinf_core.report.summary import influence_figures
from diffinf_core.runs.run import Run


def ranked_by(config: RunConfig, by: str | None) -> RunConfig:
    """The configuration with another estimator, or a rank mean ``"a+b"``."""
    return config if by is None else change(config, {"influence": {"estimator": by}}, "--by")


class Scores:
    """What the scores say of each other and of the known wrong labels."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def _ranked_by(self, by: str | None) -> Run:
        """The run, or the same folder under another estimator."""
        folder = self._tables.folder
        return Run(folder.root, ranked_by(folder.config, by))

    def agreement(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Between the scores there are: rank correlation, and the shared fraction of the top tau %."""
        table = self._tables.scores()
        names = [c for c in table.columns if c != "id"]
        return agreement(table, names, self._tables.folder.config.influence.tau)

    def disagreement(self, first: str, second: str) -> pd.DataFrame:
        """Samples in the top tau % by one score and not by the other, the widest apart first."""
        tau = self._tables.folder.config.influence.tau
        return disagreement(self._tables.samples(), first, second, tau)

    def quality(self, by: str | None = None) -> dict[str, dict[str, float]]:
        """Average precision and precision at tau of each score; empty where no truth is known."""
        folder = self._ranked_by(by)
        figures = influence_figures(folder, self._tables.cache.get)
        return figures["by_signal"] if figures else {}

    def precision(self, by: str | None = None) -> dict[str, Any]:
        """How precise the ranking is where no truth is known: by planted errors and by reviewers.

        ``planted`` and ``reviewed`` are None where there are none or too few, ``in_words`` a list of
        sentences; see :mod:`diffinf_core.report.precision`. ``by`` is another estimator than the run's.
        """
        folder = self._ranked_by(by)
        decisions = self._tables.journal.decisions()
        found = self._tables.cache.get(
            "precision",
            precision_key(folder, decisions),
            lambda: precision_figures(folder, decisions),
        )
        return found or {"planted": None, "reviewed": None, "in_words": []}

    def precision_plot(self) -> Any:
        """The precision as a Plotly figure over tau; None where nothing is known of it."""
        found = self.precision()
        reviewed = (found["reviewed"] or {}).get("curve", [])
        planted = (found["planted"] or {}).get("curve", {})
        return plots.precision(planted, reviewed) if planted or reviewed else None

    def tau_for(self, wished: float, by: str | None = None) -> str:
        """Up to which tau a precision in (0, 1] holds by planted errors, in a sentence."""
        return tau_words(self._ranked_by(by), wished)

    def used(self, by: str | None = None) -> str:
        """The score that the run, or ``by``, ranks by; "auto" by the one that it stands for."""
        return estimator_of(self._ranked_by(by))

    def figures(self) -> dict[str, Any]:
        """What the ranking was made from, and the quality of each score where truth is known.

        Raises :class:`DiffInfError` before the ranking.
        """
        self._tables.samples_key()
        figures = influence_figures(self._tables.folder, self._tables.cache.get)
        assert figures is not None  # samples_key has raised otherwise
        return figures

    def plots(self) -> dict[str, Any]:
        """Plotly figures of the ranking: curve, estimators and, where truth is known, signals."""

        def draw() -> dict[str, Any]:
            folder = self._tables.folder
            out = {
                "curve": plots.training_curve(training_curve(folder), checkpoint_epochs(folder)),
                "estimators": plots.estimators_agree(self.agreement()[1]),
            }
            by_signal = self.figures()["by_signal"]
            return out | ({"signals": plots.signals(by_signal)} if by_signal else {})

        return self._tables.cache.get("ranking plots", self._tables.samples_key(), draw)
