"""A table is parsed once, and never older than its file."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from diffinf_core.records import DiffInfError
from diffinf_core.runs import tables
from diffinf_core.runs.tables import read_table

#: long before any test: its clock has ticked since
LONG_AGO = 1_600_000_000_000_000_000


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table that was written some time ago, as far as the cache can tell."""
    monkeypatch.setattr(tables, "_TICK_NS", -(10**12))
    path = tmp_path / "table.csv"
    path.write_text("id,score\n007,1.5\n")
    return path


def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are parsed from here on."""
    calls: list[Path] = []
    real = tables._parse
    monkeypatch.setattr(tables, "_parse", lambda path, *a: calls.append(path) or real(path, *a))
    return calls


def test_an_unchanged_file_is_parsed_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = parsed(monkeypatch)
    first, second = read_table(file, ["id"]), read_table(file, ["id"])
    assert calls == [file]
    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_frame_equal(first, pd.read_csv(file, dtype={"id": str}))


def test_the_same_file_as_text_is_another_table(file: Path) -> None:
    file.write_text("id,score\n007,\n")
    assert read_table(file, ["id"])["score"].isna().all()
    assert read_table(file).to_dict("records") == [{"id": "007", "score": ""}]


def test_a_caller_who_changes_its_table_changes_nobody_elses(file: Path) -> None:
    for _ in range(2):  # the one who parsed it, and one who got what was kept
        mine = read_table(file, ["id"])
        mine.loc[0, "score"] = 9.0
        mine["more"] = 1
        assert read_table(file, ["id"]).to_dict("records") == [{"id": "007", "score": 1.5}]


@pytest.mark.parametrize("how", ["replaced", "longer"])
def test_a_file_with_the_same_time_is_parsed_again(file: Path, how: str) -> None:
    os.utime(file, ns=(LONG_AGO, LONG_AGO))
    assert read_table(file, ["id"])["score"].tolist() == [1.5]
    text = "id,score\n007,2.5\n" + ("008,3.5\n" if how == "longer" else "")
    beside = file.with_name("new")
    beside.write_text(text)
    beside.replace(file)
    os.utime(file, ns=(LONG_AGO, LONG_AGO))
    assert read_table(file, ["id"])["score"].tolist() == [2.5, 3.5][: 1 + (how == "longer")]


def test_a_file_whose_clock_may_not_have_ticked_is_not_kept(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rewritten with size, times and inode as before: only its age tells."""
    monkeypatch.setattr(tables, "_TICK_NS", 10**19)
    monkeypatch.setattr(tables, "_stamp", lambda path: (1, LONG_AGO, LONG_AGO, 1))
    assert read_table(file, ["id"])["score"].tolist() == [1.5]
    file.write_text("id,score\n007,2.5\n")
    assert read_table(file, ["id"])["score"].tolist() == [2.5]


def test_only_the_tables_read_last_are_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "_KEPT", 2)
    others = [file.with_name(f"{i}.csv") for i in range(2)]
    for other in others:
        other.write_text("id\n1\n")
    calls = parsed(monkeypatch)
    for path in (file, others[0], file, others[1], file, others[0]):
        read_table(path)
    assert calls == [file, *others, others[0]]
    assert len(tables._tables) == 2


def test_a_table_that_is_gone_is_not_served_from_memory(file: Path) -> None:
    read_table(file)
    file.unlink()
    with pytest.raises(DiffInfError, match="is missing"):
        read_table(file)
    file.write_bytes(b'id,label\n"a')
    with pytest.raises(DiffInfError, match="cannot be read"):
        read_table(file)
