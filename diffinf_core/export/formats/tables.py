"""Pictures with a table: labels.csv, which every export has, and the same as Parquet."""

from __future__ import annotations

from collections.abc import Iterator

from diffinf_core.export.formats.format import Format, Layout, in_images
from diffinf_core.records import Progress
from diffinf_core.runs.files import write_file


def _parquet(layout: Layout) -> Iterator[Progress]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = layout.table
    columns = {name: pa.array(table[name].tolist(), pa.string()) for name in table.columns}
    write_file(
        layout.root / "labels.parquet",
        lambda file: pq.write_table(pa.table(columns), file),
    )
    yield Progress("export", 1, 1, "labels.parquet")


CSV = Format(
    "csv",
    "pictures and labels.csv",
    'pandas.read_csv("labels.csv", dtype=str, keep_default_na=False)',
    in_images,
)
PARQUET = Format(
    "parquet",
    "pictures, labels.csv and labels.parquet",
    'pandas.read_parquet("labels.parquet")',
    in_images,
    write=_parquet,
)
