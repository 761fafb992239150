"""The retrained arms compared: figures with intervals, single test pictures, files to take away."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from diffinf_core.data.truth import open_truth
from diffinf_core.engine.pipeline import status
from diffinf_core.engine.rounds import round_figures
from diffinf_core.engine.tables import Tables
from diffinf_core.experiments.comparison import (
    Comparison,
    changed,
    compare,
    comparison_key,
    histories,
    tidy,
)
from diffinf_core.experiments.retrain import finished_arms
from diffinf_core.records import DiffInfError
from diffinf_core.report import compare_plots, fairness, plots, verdict
from diffinf_core.report.compare_files import write_csv, write_html
from diffinf_core.report.fairness import Audit
from diffinf_core.runs.files import digest, naming_full_disk


class Compare:
    """Compares what was retrained; the only place that shows test pictures, and none can be edited here."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def comparison(self) -> Comparison:
        """The finished arms, measured; computed once until an arm changes.

        Raises :class:`DiffInfError` where no arm is finished.
        """
        folder = self._tables.folder
        if not status(folder)["data"]:
            raise DiffInfError("Nothing to compare yet: start the run, then retrain.")
        return self._tables.cache.get("comparison", comparison_key(folder), lambda: compare(folder))

    def table(self, against: str | None = None) -> pd.DataFrame:
        """Every figure of every arm, and its difference to ``against`` (default: noisy) with interval."""
        comparison = self.comparison()
        return tidy(comparison, against or comparison.reference)

    def in_words(self, against: str | None = None) -> dict[str, Any]:
        """The comparison as text.

        ``reading`` and ``coverage`` are sentences, ``warnings`` (groups that an arm harms) and
        ``disparities`` (groups that repair and review treat unlike the others) lists of them. ``arms``,
        ``classes``, ``subgroups`` and ``fairness`` (worst group and equal opportunity of each arm) are
        tables of text, a figure on the first line of a cell and its difference on the second; ``audit``
        says what was flagged, edited and decided in each group.
        """
        comparison, table, audit = self.comparison(), self.table(against), self.audit()
        return {
            "audit": fairness.training_in_words(audit.training),
            "fairness": fairness.arms_in_words(audit.arms),
            "disparities": list(audit.disparities),
            "reading": verdict.reading(comparison, self._tables.report()["repair"]),
            "coverage": verdict.coverage(comparison),
            "warnings": fairness.harms(table),
            "arms": verdict.arms_in_words(table),
            "classes": verdict.parts_in_words(table, ("recall", "precision")),
            "subgroups": fairness.accuracy_in_words(table),
        }

    def audit(self) -> Audit:
        """What happened to each group and class, as far as the run got."""
        tables, ranked, comparison = self._tables, self._ranked(), None
        decisions, lost = tables.decisions()
        notes = [lost] if lost else []
        try:
            if status(tables.folder)["data"] and finished_arms(tables.folder):
                comparison = self.comparison()
        except DiffInfError as error:  # what is known of the training split is shown all the same
            if not lost:  # a lost journal is named once
                notes.append(str(error))
        edits = tables.edits() if ranked else None

        def make() -> Audit:
            if not ranked:
                return fairness.audit(None, None, pd.DataFrame(), {}, None, comparison)
            truth = open_truth(tables.folder, "report").training()
            wrong = None if truth is None else truth[1]
            return fairness.audit(
                tables.samples(), edits, tables.shifts(), decisions, wrong, comparison
            )

        versions = [] if edits is None else edits["version"].tolist()
        actions = sorted((s, d.action) for s, d in decisions.items())
        key = digest(ranked, versions, actions, comparison and comparison.key)
        return replace(tables.cache.get("audit", key, make), notes=tuple(notes))

    def _ranked(self) -> str:
        """Names the ranking; empty before it."""
        try:
            return self._tables.samples_key()
        except DiffInfError:
            return ""

    def audit_in_words(self) -> dict[str, Any]:
        """:meth:`audit` as text.

        ``training``, ``test`` and ``arms`` are tables, ``warnings`` and ``notes`` lists of sentences;
        ``against`` is the arm that changes in ``test`` refer to.
        """
        found = self.audit()
        return {
            "training": fairness.training_in_words(found.training),
            "test": fairness.accuracy_in_words(found.test),
            "against": "" if found.test.empty else str(found.test["against"].iloc[0]),
            "arms": fairness.arms_in_words(found.arms),
            "warnings": [*found.harms, *found.disparities],
            "notes": list(found.notes),
        }

    def plots(self, arm: str, against: str) -> dict[str, Any]:
        """Plotly figures by name: gains, confusions, reliability, classes, subgroups, courses, agreement."""
        comparison, table = self.comparison(), self.table(against)
        comparison.known(arm)
        out = {
            "confusions": compare_plots.confusions(comparison, arm, against),
            "reliability": compare_plots.reliability(comparison, arm, against),
        }
        if arm != against:
            out["gains"] = compare_plots.gains(table, against)
            sections = ("recall", "precision")
            out["classes"] = compare_plots.parts(table, arm, against, sections, "By class")
            if comparison.columns:
                out["subgroups"] = compare_plots.parts(
                    table, arm, against, comparison.columns, "By subgroup"
                )
        history = histories(self._tables.folder)
        if len(history):
            out["courses"] = compare_plots.courses(history)
        repair = self._tables.report()["repair"]
        if repair:
            out["agreement"] = plots.agreement(repair)
        return out

    def changed(self, arm: str, against: str, every_seed: bool = True) -> pd.DataFrame:
        """Test pictures that ``arm`` gets right and ``against`` wrong; see
        :func:`diffinf_core.experiments.comparison.changed`."""
        return changed(self.comparison(), arm, against, every_seed)

    def test_pictures(self, samples: Sequence[str]) -> list[bytes]:
        """Test pictures as PNG, to look at beside what the arms say of them."""
        test = open_truth(self._tables.folder, "comparison").test()
        at = {str(sample): i for i, sample in enumerate(test.ids)}
        out = []
        for sample in samples:
            if sample not in at:
                raise DiffInfError(f"There is no test picture {sample!r} in this run.")
            file = io.BytesIO()
            image = Image.fromarray(test.images([at[sample]])[0])
            image.save(file, "PNG", compress_level=1)
            out.append(file.getvalue())
        return out

    def rounds(self) -> list[dict[str, Any]]:
        """What each round did, in figures, the first one first."""
        return round_figures(self._tables.folder)

    def write(
        self,
        html: str | Path | None = None,
        csv: str | Path | None = None,
        against: str | None = None,
    ) -> None:
        """Write the comparison as a page that needs nothing else, as a table, or both."""
        comparison = self.comparison()
        against = against or comparison.reference
        if html is not None:
            history, repair = histories(self._tables.folder), self._tables.report()["repair"]
            with naming_full_disk(Path(html)):
                write_html(comparison, history, repair, against, Path(html), self.audit())
        if csv is not None:
            with naming_full_disk(Path(csv)):
                write_csv(comparison, against, Path(csv))
