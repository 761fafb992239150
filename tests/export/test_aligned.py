"""An export of a run whose faces were framed puts each change back where the face was."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffinf_core.correction.edits import edit_folder
from diffinf_core.data.decode import open_upright
from diffinf_core.data.framing import ALIGNMENT, ROW
from diffinf_core.data.ingest import DATA
from diffinf_core.data.overlay import read_picture
from diffinf_core.engine import open_run
from diffinf_core.export.pasting import change_of
from diffinf_core.runs.tables import read_table

SHIFT = 8


def test_a_change_moves_with_the_framing(run_copy: Path, tmp_path: Path) -> None:
    """As if every face had been framed eight pixels further left than the photograph shows it."""
    opened = open_run(run_copy)
    stage = DATA.folder(opened.folder).path
    row = np.zeros(ROW)
    row[:6] = [1, 0, SHIFT, 0, 1, 0]
    np.save(stage / ALIGNMENT, np.tile(row, (len(read_table(stage / "samples.csv")), 1)))
    opened.export(tmp_path / "out", undecided="repaired").result()
    table = read_table(tmp_path / "out" / "labels.csv")
    repaired = table[table["source"] == "repaired"]
    assert len(repaired) > 3
    for sample, file in zip(repaired["id"], repaired["file"], strict=True):
        content, _ = opened.pictures.file(sample)
        (tmp_path / "original.png").write_bytes(content)
        before = np.asarray(open_upright(tmp_path / "original.png")).astype(float)
        after = np.asarray(open_upright(tmp_path / "out" / file)).astype(float)
        folder = edit_folder(opened.folder, sample, opened.pictures.versions(sample)[-1])
        change = change_of(
            read_picture(folder / "edit.png"), read_picture(folder / "reconstruction.png")
        )
        inner = slice(8, 56 - SHIFT)  # where nothing is faded out at the border of the crop
        moved = change[8:56, SHIFT + 8 : 56]
        seen = (after - before)[8:56, inner]
        free = (after[8:56, inner] > 0) & (after[8:56, inner] < 255)
        assert np.abs(seen - moved)[free].max() <= 1
