"""What is usual among a run's edits, and the flag of those that are not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from diffinf_core.correction.edits import load_edit
from diffinf_core.correction.stage import REPAIR, USUAL, usual
from diffinf_core.correction.usual import FLAG, flagged, load_flagged, usual_of
from diffinf_core.engine import open_run
from diffinf_core.records import Edit
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.run import Run


def edits(values: Any) -> list[Edit]:
    return [cast(Edit, SimpleNamespace(perceptual=v)) for v in values]


def test_the_limit_is_three_robust_deviations_above_the_median() -> None:
    draw = np.random.default_rng(0).normal(5, 2, 20_001)
    found = usual(edits(draw))
    assert found is not None
    assert found.median == pytest.approx(5, abs=0.05) and found.limit == pytest.approx(11, abs=0.15)
    # a quarter of broken edits moves it little
    broken = usual(edits(np.concatenate([draw, np.full(6_000, 1000.0)])))
    assert broken is not None and broken.limit < 16
    assert usual(edits(range(19))) is None


def test_an_edit_is_flagged_wherever_it_is_read(run_copy: Path) -> None:
    run = Run.open(run_copy)
    stage = REPAIR.folder(run)
    sample, version = next(iter(read_json(stage / "versions.json").items()))
    value = load_edit(run, sample, version).perceptual
    assert FLAG not in load_flagged(run, sample, version).flags
    figures, code = stage.figures, stage.code
    write_json(stage / USUAL, {"median": 0.0, "limit": value - 0.001})
    (stage / "rows.json").unlink(missing_ok=True)
    stage.finish(figures, code)
    assert f"perceptual distance {value:.2f}" in load_flagged(run, sample, version).flags[FLAG]
    opened = open_run(run_copy)
    assert FLAG in opened.queue.set_index("id").loc[sample, "flags"]
    assert FLAG in opened.pictures.record(sample, version).flags
    (last,) = list(opened.repair.edit(sample))[-1:]
    assert isinstance(last, Edit) and FLAG in last.flags


def test_a_run_of_an_earlier_version_flags_nothing_by_it(run_copy: Path) -> None:
    run = Run.open(run_copy)
    (REPAIR.folder(run) / USUAL).unlink(missing_ok=True)
    assert usual_of(run) is None
    versions = read_json(REPAIR.folder(run) / "versions.json")
    edit = load_edit(run, *next(iter(versions.items())))
    assert flagged(edit, None) == edit
