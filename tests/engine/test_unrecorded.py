"""Runs of a version that recorded no sizes and digests: damage is named there, too, and mended."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from diffinf_core.engine import open_run
from diffinf_core.engine.doctor import diagnose, mend
from diffinf_core.records import DiffInfError


@pytest.fixture
def earlier(run_copy: Path) -> Path:
    """A finished run without inventories."""
    for mark in (run_copy / "stages").glob("*/done.json"):
        figures = json.loads(mark.read_text())
        figures.pop("files")
        mark.write_text(json.dumps(figures))
    return run_copy


def two_rows(file: Path) -> None:
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:3]))


def half(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def test_a_healthy_one_opens_and_has_no_findings(earlier: Path) -> None:
    assert all(open_run(earlier).status().values())
    found = diagnose(earlier)
    assert not found.findings and len(found.unverified) >= 6


@pytest.mark.parametrize(
    "name,damage,words",
    [
        ("data-*/samples.csv", two_rows, "has 2 rows for"),
        ("data-*/images.npy", half, "is damaged"),
        ("influence-*/scores.csv", Path.unlink, "is missing"),
        ("repair-*/versions.json", Path.unlink, "is missing"),
        ("classifier-*/signals.npy", half, "is damaged"),
    ],
)
def test_damage_is_named_and_the_remedy_works(
    earlier: Path, name: str, damage: Callable[[Path], object], words: str
) -> None:
    (file,) = (earlier / "stages").glob(name)
    damage(file)
    with pytest.raises(DiffInfError, match=f"{words}.*doctor.*--repair"):
        open_run(earlier)
    assert [f.mendable for f in diagnose(earlier).findings] == [True]
    assert mend(earlier).result().findings == []
    assert all(open_run(earlier).status().values())
