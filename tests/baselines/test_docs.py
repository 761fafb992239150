"""The programs in docs/baselines.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from diffinf_core.baselines import METHODS
from tests.baselines.blobs import blob_task, blobs
from tests.experiments.test_benchmark import Blobs

PAGE = Path(__file__).parents[2] / "docs" / "baselines.md"


def test_every_program_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("diffinf_core.baselines.registry.METHODS", dict(METHODS))
    task, _, test = blob_task(60, validation=blobs(30, 3, 7))
    known = {
        "data": task.data, "build": task.network, "held_out": task.validation, "test": test,
        "problem": Blobs(epochs=2), "__name__": __name__,
    }  # fmt: skip
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(programs) == 3
    for program in programs:
        exec(program.replace("epochs=30", "epochs=2").replace("workers=2", "workers=1"), known)
    assert known["judged"] is not None and "| Noisy |" in capsys.readouterr().out
