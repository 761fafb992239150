"""A run's data set at a glance, and what an export of it would hold."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from diffinf_core.data.evaluation import open_test, open_validation
from diffinf_core.data.ingest import DATA, source_folder
from diffinf_core.data.lineage import number
from diffinf_core.engine.look import Looking
from diffinf_core.review.refine import refined_set


class Describing(Looking):
    """Tells what is in a run before anybody looks at a score."""

    def dataset(self, each: int = 6) -> dict[str, Any] | None:
        """The data set in figures; None before the data stage.

        ``name``, ``size`` (side in pixels), ``classes`` (name, and pictures of train, val and test),
        ``noise`` (share of training labels made wrong, None where that is not known), ``unlabelled``,
        ``round``, and ``sheet``: for each class up to ``each`` training samples, spread over the split.
        """
        if not self.status()["data"]:
            return None
        run, figures = self.run, DATA.folder(self.run).figures
        parts = {"train": self.training, "val": open_validation(run), "test": open_test(run)}
        classes = [
            {"name": name, **{k: int((p.labels == i).sum()) for k, p in parts.items()}}
            for i, name in enumerate(self.training.classes)
        ]
        return {
            "name": "Rendered faces"
            if self.config.data.source == "demo"
            else str(source_folder(run)),
            "size": self.training.size,
            "classes": classes,
            "noise": figures["noise_rate"],
            "unlabelled": figures.get("unlabelled", 0),
            "round": number(run),
            "sheet": self._sheet(each),
        }

    def _sheet(self, each: int) -> dict[str, list[str]]:
        train = self.training
        out = {}
        for i, name in enumerate(train.classes):
            rows = np.flatnonzero(train.labels == i)
            chosen = rows[np.linspace(0, len(rows) - 1, min(each, len(rows))).astype(int)]
            out[name] = [str(train.ids[r]) for r in chosen]
        return out

    def export_preview(self, undecided: str = "original") -> dict[str, Any]:
        """What :meth:`export` would write: ``counts`` by kind, and ``earlier`` rounds' changes by kind."""
        refined = refined_set(self.run, undecided)
        earlier = Counter(change.action for change in refined.earlier)
        return {"counts": refined.counts(), "total": len(refined.kept), "earlier": dict(earlier)}
