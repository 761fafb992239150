"""A table of label issues with the columns of cleanlab's Datalab, a row for each training sample.

``is_label_issue`` is True in the high-influence set, ``label_score`` is between 0 and 1 and lower is more
suspicious, as there; ``predicted_label`` is the class that the independent judge sees. Samples that were
dropped are in it, too.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from diffinf_core.correction.judge import JUDGE, Judge
from diffinf_core.data.part import open_training
from diffinf_core.export.formats.format import Format, Layout, in_images
from diffinf_core.influence.stage import ranking
from diffinf_core.records import Progress
from diffinf_core.runs.files import write_table

_BATCH = 512


def _write(layout: Layout) -> Iterator[Progress]:
    plan = layout.plan
    train, ranked = open_training(plan.run), ranking(plan.run)
    predicted = [""] * len(train)
    if JUDGE.done(plan.run):
        judge = Judge(plan.run)
        for start in range(0, len(train), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(train)))
            for i, best in zip(rows, judge.judge(train.tensors(rows), rows).argmax(1), strict=True):
                predicted[i] = train.classes[best]
            yield Progress("export", int(rows[-1]) + 1, len(train), "predicted labels")
    exported = layout.of_split("train").set_index("id")
    by_id = {sample.id: sample for sample in plan.refined.samples}
    order = [by_id[str(name)] for name in train.ids]
    n = len(ranked)
    table = pd.DataFrame(
        {
            "file": [exported["file"].get(s.id, "") for s in order],
            "original": [s.file for s in order],
            "id": [s.id for s in order],
            "is_label_issue": ranked["high"].to_numpy(bool),
            # rank 1 is the most suspicious
            "label_score": ((ranked["rank"] - 1) / max(1, n - 1)).round(6),
            "given_label": [s.assigned for s in order],
            "predicted_label": predicted,
            "label": ["" if s.dropped else s.label for s in order],
            "decision": ["" if s.decision is None else s.decision.action for s in order],
            "source": ["dropped" if s.dropped else s.source for s in order],
        }
    )
    write_table(layout.root / "issues.csv", table)


CLEANLAB = Format(
    "cleanlab",
    "pictures, labels.csv, and a table of label issues as cleanlab's Datalab gives it",
    'pandas.read_csv("issues.csv", keep_default_na=False)',
    in_images,
    write=_write,
)
