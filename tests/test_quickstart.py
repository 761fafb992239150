"""The notebook of examples/ runs from top to bottom, finds what it says and stores no output."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook after a run; what it writes goes to a temporary folder."""
    book = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("quickstart")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(folder)}
    client = NotebookClient(
        book, timeout=300, resources={"metadata": {"path": str(folder)}}, kernel_name="python3"
    )
    with client.setup_kernel(env=environment):
        for index, cell in enumerate(book.cells):
            client.execute_cell(cell, index)
    return book


def test_no_output_is_stored() -> None:
    book = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert code and not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.slow
def test_it_finds_wrong_labels_repairs_and_reads(executed: Any) -> None:
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
    text = "".join(
        output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
        for cell in cells
        for output in cell.outputs
    )
    assert "Error" not in text
    influential = re.search(r"of the (\d+) most influential samples, (\d+) are wrong", text)
    suspicious = re.search(r"of the (\d+) most suspicious labels, (\d+) are wrong", text)
    for found in (influential, suspicious):
        assert found is not None and int(found[2]) >= int(found[1]) / 2
    assert "self-influence 960 of 960" in text
    identity = re.search(r"identity (\d\.\d+), SSIM (\d\.\d+)", text)
    assert identity is not None and float(identity[1]) > 0.8 and float(identity[2]) > 0.8
    assert re.search(r"repaired +[1-9]", text) and "(3, 64, 64) in [-1, 1]" in text
    assert any("image/png" in o.get("data", {}) for cell in cells for o in cell.outputs)
