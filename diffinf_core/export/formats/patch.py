"""A patch: the edited pictures, and a table of what else changed; nothing that stayed as it was.

Whoever has the original data set replaces ``original`` by ``file``, takes ``label``, and leaves out what was
dropped. The manifest has the SHA-256 of each original that the patch fits.
"""

from __future__ import annotations

import pandas as pd

from diffinf_core.export.formats.format import Format, Layout, in_images
from diffinf_core.runs.files import write_table

#: the table of a patch
FILE = "changes.csv"
COLUMNS = ("action", "original", "file", "label", "assigned_label", "id")


def _changes(layout: Layout) -> None:
    rows = layout.table.rename(columns={"source": "action"})
    dropped = [s for s in layout.plan.refined.samples if s.dropped]
    gone = pd.DataFrame(
        {
            "action": "dropped",
            "original": [s.file for s in dropped],
            "file": "",
            "label": "",
            "assigned_label": [s.assigned for s in dropped],
            "id": [s.id for s in dropped],
        },
        columns=list(COLUMNS),
    )
    write_table(layout.root / FILE, pd.concat([rows[list(COLUMNS)], gone]))


PATCH = Format(
    "patch",
    "edited pictures and changes.csv: only what changed",
    'pandas.read_csv("changes.csv", dtype=str, keep_default_na=False)',
    in_images,
    table=_changes,
    partial=True,
)
