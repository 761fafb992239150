"""A table of labels from somebody unknown: bounded, text only, one sentence per refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffinf_core.data import table as module
from diffinf_core.data.table import read_table
from diffinf_core.data.text import bad_text, shown
from diffinf_core.records import DiffInfError


def written(folder: Path, content: bytes) -> Path:
    """A table with these bytes."""
    file = folder / "labels.csv"
    file.write_bytes(content)
    return file


def refusal(file: Path) -> str:
    """The one sentence for a table that cannot be used."""
    with pytest.raises(DiffInfError) as caught:
        read_table(file)
    text = str(caught.value)
    assert str(file) in text and text.endswith(".") and text.isprintable(), text
    return text


def test_cells_are_text_as_they_stand(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, b"file,label\n007,NA\n\n1e3,<b>\n")).rows
    assert table.to_numpy().tolist() == [["007", "NA"], ["1e3", "<b>"]]
    assert table.index.tolist() == [2, 4]


def test_a_nul_byte_is_refused_with_its_row(tmp_path: Path) -> None:
    assert "row 3" in refusal(written(tmp_path, b"file,label\na.png,x\nb\0.png,y\n"))


def test_a_nul_byte_after_the_first_piece_that_is_read_has_its_row(tmp_path: Path) -> None:
    rows = b"a.png,x\n" * 200_000
    file = written(tmp_path, b"file,label\n" + rows + b"\0\n")
    assert "row 200002;" in refusal(file)


def test_a_table_that_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, b"file,label\na.png,x\n")
    monkeypatch.setattr(module, "MAX_TABLE_BYTES", 18)
    monkeypatch.setattr(module, "decoded", lambda *_, **__: pytest.fail("it was read"))
    assert "19 bytes" in refusal(file)


def test_blank_lines_that_would_fill_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CELLS", 400)
    file = written(tmp_path, b"file,label" + b",x" * 98 + b"\n" * 4)
    assert "5 rows" in refusal(file)


def test_too_many_columns_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path, b"file,label" + b",x" * module.MAX_COLUMNS + b"\n")
    assert f"{module.MAX_COLUMNS + 2} columns" in refusal(file)


def test_a_column_named_with_control_characters_is_refused_in_plain_text(tmp_path: Path) -> None:
    assert "U+001B" in refusal(written(tmp_path, b"file,label,\x1b[31mred\na.png,x,1\n"))
    assert "longer than" in refusal(written(tmp_path, b"file,label," + b"x" * 300 + b"\n"))


@pytest.mark.parametrize(
    "text", ["", "sad", "glücklich", "悲しい", "<b>sad</b>", "😀", "a b", "=1+1"]
)
def test_words_of_any_language_are_fine(text: str) -> None:
    assert bad_text(text, 20) == ""


@pytest.mark.parametrize(
    "text,reason",
    [
        ("a" * 21, "is longer than 20 characters"),
        ("a\x00", "has the control character U+0000"),
        ("a\nb", "has the control character U+000A"),
        ("\x1b[2J", "has the control character U+001B"),
        ("sad\u202egnp", "has the control character U+202E"),
        ("\udcff", "has the control character U+DCFF"),
        ("\u2028", "has the control character U+2028"),
    ],
)
def test_what_cannot_be_seen_is_refused(text: str, reason: str) -> None:
    assert bad_text(text, 20) == reason


@given(st.text(alphabet=st.characters(exclude_categories=[]), max_size=300))
def test_a_name_in_a_message_is_short_and_printable(text: str) -> None:
    found = shown(text)
    assert found.isprintable() and len(found) <= 83
