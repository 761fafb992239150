"""One writer per format. A new one is a module with a :class:`Format`, and a line in :data:`FORMATS`."""

from __future__ import annotations

from diffinf_core.export.formats.cleanlab import CLEANLAB
from diffinf_core.export.formats.coco import COCO
from diffinf_core.export.formats.fiftyone import FIFTYONE
from diffinf_core.export.formats.format import Format, Layout
from diffinf_core.export.formats.huggingface import HUGGINGFACE
from diffinf_core.export.formats.imagefolder import IMAGEFOLDER
from diffinf_core.export.formats.patch import PATCH
from diffinf_core.export.formats.tables import CSV, PARQUET
from diffinf_core.records import DiffInfError

#: every format by its name
FORMATS = {
    form.name: form
    for form in (CSV, PARQUET, IMAGEFOLDER, HUGGINGFACE, FIFTYONE, COCO, CLEANLAB, PATCH)
}

__all__ = ["FORMATS", "Format", "Layout", "format_named"]


def format_named(name: str) -> Format:
    """A format by its name; :class:`DiffInfError` for an unknown one."""
    if name not in FORMATS:
        raise DiffInfError(f"The format must be one of {', '.join(FORMATS)}, not {name!r}.")
    return FORMATS[name]
