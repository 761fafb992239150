"""Tables that a spreadsheet opens: nothing in them runs, and everything is read back as it was."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffinf_core.runs.cells import readable, safe
from diffinf_core.runs.files import write_table
from diffinf_core.runs.tables import read_table

RUN_BY_A_SPREADSHEET = re.compile(r"[=+\-@\t\r]")
NUMBERS = ["-1", "+2.5", "-1e-3", "-.5", "7"]


@pytest.mark.parametrize(
    "cell", ["=1+1", "+A1", "-2+3", "@SUM(A1)", "\tx", "\r=1", "'=1", "''=1", '=HYPERLINK("x")']
)
def test_a_formula_is_written_as_text_and_read_back(tmp_path: Path, cell: str) -> None:
    table = pd.DataFrame({"id": ["a"], cell: ["x"], "label": [cell]})
    write_table(tmp_path / "t.csv", table)
    raw = pd.read_csv(tmp_path / "t.csv", dtype=str, keep_default_na=False)
    for text in (raw.columns[1], raw["label"][0]):
        assert not RUN_BY_A_SPREADSHEET.match(text)
    back = read_table(tmp_path / "t.csv")
    assert back["label"].tolist() == [cell] and list(back.columns) == list(table.columns)


@pytest.mark.parametrize("cell", [*NUMBERS, "happy", "'quoted'", "", "don't", "a=b"])
def test_what_no_spreadsheet_runs_is_written_as_it_is(cell: str) -> None:
    table = pd.DataFrame({"a": [cell]})
    assert safe(table)["a"][0] == cell == readable(table)["a"][0]


@given(st.lists(st.text(alphabet="'=+-@\t1aé", max_size=6), min_size=1, max_size=5))
def test_any_cell_comes_back(cells: list[str]) -> None:
    table = pd.DataFrame({"a": cells})
    assert readable(safe(table))["a"].tolist() == cells


def test_numbers_are_left_alone() -> None:
    table = pd.DataFrame({"n": [-1.5, 2.0], "k": [-1, 2]})
    assert safe(table).equals(table) and readable(table).equals(table)
