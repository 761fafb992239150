"""Which folders ``diffinf review`` opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffinf_core.cli.serve import check_run
from diffinf_core.config import make_config
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run


def test_a_mistyped_run_names_those_that_there_are(tmp_path: Path) -> None:
    for name in ("faces", "ages"):
        Run.prepare(tmp_path / name, make_config()).store()
    (tmp_path / "notes").mkdir()
    check_run(tmp_path / "faces")
    with pytest.raises(DiffInfError) as error:
        check_run(tmp_path / "fases")
    assert f"{tmp_path} holds ages, faces." in str(error.value) and "--new" in str(error.value)
    check_run(tmp_path / "fases", new=True)
    assert not (tmp_path / "fases").exists(), "looking makes no folder"


def test_where_there_is_no_run_it_says_so(tmp_path: Path) -> None:
    for run in (tmp_path / "run", tmp_path / "gone" / "run"):
        with pytest.raises(DiffInfError, match="There is no run in"):
            check_run(run)
