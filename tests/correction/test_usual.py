"""What is usual among a run's edits, and the flags of those that are not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from diffinf_core.correction.edits import load_edit
from diffinf_core.correction.stage import REPAIR, USUAL, usual
from diffinf_core.correction.usual import flagged, limits_of, load_flagged
from diffinf_core.engine import open_run
from diffinf_core.records import Edit
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.run import Run


def edits(values: Any) -> list[Edit]:
    return [cast(Edit, SimpleNamespace(implausibility=v, perceptual=0.1)) for v in values]


def test_the_limit_is_three_robust_deviations_above_the_median() -> None:
    draw = np.random.default_rng(0).normal(5, 2, 20_001)
    median, limit = usual(edits(draw))["implausibility"]
    assert median == pytest.approx(5, abs=0.05) and limit == pytest.approx(11, abs=0.15)
    # a quarter of broken edits moves it little
    broken = np.concatenate([draw, np.full(6_000, 1000.0)])
    assert usual(edits(broken))["implausibility"][1] < 16


def test_few_edits_and_edits_of_earlier_versions_have_no_limit() -> None:
    assert usual(edits(range(19))) == {}
    assert "implausibility" not in usual(edits([None] * 40))


def test_an_edit_is_flagged_wherever_it_is_read(run_copy: Path) -> None:
    run = Run.open(run_copy)
    stage = REPAIR.folder(run)
    sample, version = next(iter(read_json(stage / "versions.json").items()))
    value = load_edit(run, sample, version).implausibility
    assert value is not None
    assert "implausible" not in load_flagged(run, sample, version).flags
    figures, code = stage.figures, stage.code
    write_json(stage / USUAL, {"implausibility": [0.0, value - 0.01]})
    (stage / "rows.json").unlink(missing_ok=True)
    stage.finish(figures, code)
    text = load_flagged(run, sample, version).flags["implausible"]
    assert f"implausibility {value:.2f}" in text
    opened = open_run(run_copy)
    queue = opened.queue.set_index("id")
    assert "implausible" in queue.loc[sample, "flags"]
    assert "implausible" in opened.pictures.record(sample, version).flags
    (last,) = list(opened.repair.edit(sample))[-1:]
    assert isinstance(last, Edit) and "implausible" in last.flags


def test_a_run_of_an_earlier_version_has_no_limits(run_copy: Path) -> None:
    run = Run.open(run_copy)
    (REPAIR.folder(run) / USUAL).unlink()
    assert limits_of(run) == {}
    versions = read_json(REPAIR.folder(run) / "versions.json")
    edit = load_edit(run, *next(iter(versions.items())))
    assert flagged(edit, {}) == edit
