"""The faults of tests/soak.py in short; ``make soak`` causes them at length."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import soak
from tests.benchmarks.soak import rows_of

pytestmark = pytest.mark.slow


def test_a_killed_export_is_whole_or_not_there(run_copy: Path) -> None:
    soak.promised("export", soak.kills_of_export(run_copy, kills=3))


def test_a_killed_repair_goes_on_and_leaves_nothing_damaged(run_copy: Path) -> None:
    for folder in (run_copy / "stages").glob("repair-*"):
        (folder / "done.json").unlink()
    shutil.rmtree(run_copy / "edits")
    for name in ("first", "second"):  # the first command waits until the libraries are in memory
        once = shutil.copytree(run_copy, run_copy.parent / name)
        seconds = soak._done(["repair", str(once)])
    words = ["repair", str(run_copy)]
    soak.promised("repair", soak.kills_of_work(run_copy, words, kills=3, longest=seconds / 2))


def test_a_full_disk_is_a_sentence_and_room_is_all_it_takes() -> None:
    found = soak.full_disk((64, 1_500, 60_000))
    if found is None:
        pytest.skip("this user may mount no small disk")
    assert found["refused_with_a_sentence"] >= 3


def test_two_servers_and_a_command_see_every_decision(run_copy: Path) -> None:
    soak.promised("several", soak.several(run_copy, decisions=6))


def test_a_reviewer_decides_beside_connections_that_never_end(run_copy: Path) -> None:
    assert soak.beside_half_open(run_copy, connections=120, decisions=5)["decisions"] == 5


def test_the_page_shows_what_was_measured() -> None:
    kills = {"kills": 1, "while_at_work": 1, "damaged_files": 0, "left_behind": 0}
    found = {
        "review": {"decisions": 5, "kills": 2},
        "run": kills,
        "repair": kills,
        "export": {"kills": 1, "while_at_work": 1, "whole": 0, "cut": 0},
        "full_disk": None,
        "several": {"decisions": 3, "commands": 1, "lost": 0},
        "half_open": {
            "half_open": 9,
            "decisions": 3,
            "median_ms": 7.2,
            "p95_ms": 9.0,
            "slowest_ms": 11.0,
        },
    }
    rows = rows_of(found)
    assert len(rows) == 7 and ("9 half-open connections" in rows[-1][0]) and "7 ms" in rows[-1][2]
