"""A run's data set at a glance, before anybody looks at a score."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffinf_core.data.evaluation import open_test, open_validation
from diffinf_core.data.ingest import DATA, source_folder
from diffinf_core.data.lineage import number
from diffinf_core.data.part import Part
from diffinf_core.runs.run import Run


def describe(run: Run, train: Part, per_class: int) -> dict[str, Any]:
    """The data set in figures, see :meth:`diffinf_core.engine.OpenRun.dataset`."""
    figures = DATA.folder(run).figures
    parts = {"train": train, "val": open_validation(run), "test": open_test(run)}
    classes = [
        {"name": name, **{k: int((p.labels == i).sum()) for k, p in parts.items()}}
        for i, name in enumerate(train.classes)
    ]
    demo = run.config.data.source == "demo"
    return {
        "name": "Rendered faces" if demo else str(source_folder(run)),
        "size": train.size,
        "classes": classes,
        "noise": figures["noise_rate"],
        "unlabelled": figures.get("unlabelled", 0),
        "round": number(run),
        "sheet": _sheet(train, per_class),
    }


def _sheet(train: Part, per_class: int) -> dict[str, list[str]]:
    """Sample ids of each class, spread evenly over the split."""
    out = {}
    for i, name in enumerate(train.classes):
        rows = np.flatnonzero(train.labels == i)
        chosen = rows[np.linspace(0, len(rows) - 1, min(per_class, len(rows))).astype(int)]
        out[name] = [str(train.ids[r]) for r in chosen]
    return out
