"""A refined data set that DiffInf wrote: its table, with what its manifest says of where it comes from."""

from __future__ import annotations

from dataclasses import replace

from diffinf_core.config import DataConfig
from diffinf_core.data.folder import Listing
from diffinf_core.data.sources.table import Table
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_json


class OwnExport(Table):
    """The folder of an export; edits of the earlier run stay marked in the column ``source``."""

    name = "export"
    about = "an export of DiffInf: labels.csv and manifest.json"

    @classmethod
    def recognises(cls, config: DataConfig) -> bool:
        """A folder with a table and a manifest that DiffInf made."""
        if config.path is None or not (config.path / "manifest.json").is_file():
            return False
        try:
            manifest = read_json(config.path / "manifest.json")
        except DiffInfError:
            return False
        ours = isinstance(manifest, dict) and manifest.get("made_by") == "DiffInf"
        return ours and super().recognises(config)

    def read(self) -> Listing:
        """See :meth:`Source.read`; the order of classes is the export's."""
        listing = super().read()
        manifest = read_json(self.root / "manifest.json")
        there = {row.label for row in listing.rows}
        named = self.config.classes or [str(name) for name in manifest.get("classes", [])]
        order = [name for name in named if name in there]
        edits = sum(row.extra.get("source") == "repaired" for row in listing.rows)
        lineage = (
            f"An export of DiffInf of {manifest.get('made_at', 'unknown date')}: {edits:,} of its "
            "pictures are synthetic edits of an earlier run, and its column assigned_label holds the labels "
            "before it."
        )
        return replace(
            listing,
            classes=order if len(order) == len(there) else listing.classes,
            taken_for="an export of DiffInf",
            remarks=(lineage, *listing.remarks),
        )
