"""The retrained arms compared: figures with intervals, single test pictures, files to take away."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from diffinf_core.config import RunConfig
from diffinf_core.data.truth import open_truth
from diffinf_core.engine.look import Looking
from diffinf_core.experiments.comparison import (
    Comparison,
    changed,
    compare,
    comparison_key,
    histories,
    tidy,
)
from diffinf_core.records import DiffInfError
from diffinf_core.report import compare_plots, verdict
from diffinf_core.report.compare_files import write_csv, write_html


class Comparing(Looking):
    """Compares what was retrained; the only place that shows test pictures, and none can be edited here."""

    def __init__(self, root: Path, config: RunConfig | None = None) -> None:
        super().__init__(root, config)
        self._comparison: Comparison | None = None

    def comparison(self) -> Comparison:
        """The finished arms, measured; computed once until an arm changes.

        Raises :class:`DiffInfError` where no arm is finished.
        """
        if not self.status()["data"]:
            raise DiffInfError("Nothing to compare yet: start the run, then retrain.")
        if self._comparison is None or self._comparison.key != comparison_key(self.run):
            self._comparison = compare(self.run)
        return self._comparison

    def differences(self, against: str | None = None) -> pd.DataFrame:
        """Every figure of every arm, and its difference to ``against`` (default: noisy) with interval."""
        found = self.comparison()
        return tidy(found, against or found.reference)

    def comparison_in_words(self, against: str | None = None) -> dict[str, Any]:
        """The comparison as text.

        ``reading`` and ``coverage`` are sentences, ``warnings`` a list of them; ``arms``, ``classes`` and
        ``subgroups`` tables of text, a figure on the first line of a cell and its difference on the second.
        """
        found, table = self.comparison(), self.differences(against)
        return {
            "reading": verdict.reading(found, self.report()["repair"]),
            "coverage": verdict.coverage(found),
            "warnings": verdict.warnings(found, table),
            "arms": verdict.arms_in_words(table),
            "classes": verdict.parts_in_words(table, ("recall", "precision")),
            "subgroups": verdict.parts_in_words(table, found.columns),
        }

    def comparison_plots(self, arm: str, against: str) -> dict[str, Any]:
        """Plotly figures by name: gains, confusions, reliability, classes, subgroups, courses."""
        found, table = self.comparison(), self.differences(against)
        found.known(arm)
        out = {
            "confusions": compare_plots.confusions(found, arm, against),
            "reliability": compare_plots.reliability(found, arm, against),
        }
        if arm != against:
            out["gains"] = compare_plots.gains(table, against)
            sections = ("recall", "precision")
            out["classes"] = compare_plots.parts(table, arm, against, sections, "By class")
            if found.columns:
                out["subgroups"] = compare_plots.parts(
                    table, arm, against, found.columns, "By subgroup"
                )
        history = histories(self.run)
        if len(history):
            out["courses"] = compare_plots.courses(history)
        return out

    def changed(self, arm: str, against: str, every_seed: bool = True) -> pd.DataFrame:
        """Test pictures that ``arm`` gets right and ``against`` wrong; see :func:`report.compare.changed`."""
        return changed(self.comparison(), arm, against, every_seed)

    def test_pictures(self, samples: Sequence[str]) -> list[bytes]:
        """Test pictures as PNG, to look at beside what the arms say of them."""
        test = open_truth(self.run, "comparison").test()
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

    def write_comparison(
        self, html: Path | None = None, csv: Path | None = None, against: str | None = None
    ) -> None:
        """Write the comparison as a page that needs nothing else, as a table, or both."""
        found = self.comparison()
        against = against or found.reference
        if html is not None:
            write_html(found, histories(self.run), self.report()["repair"], against, html)
        if csv is not None:
            write_csv(found, against, csv)
