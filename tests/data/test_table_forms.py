"""Every form a table of labels comes in gives the same rows, and what does not fit is named by its line."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diffinf_core.config import DataConfig
from diffinf_core.data.table import read_table, table_path
from diffinf_core.data.table_rows import TableRows, rows_of_table
from diffinf_core.data.text import alike, natural_key
from diffinf_core.records import DiffInfError

#: cells with everything that separates, quotes or could be taken for nothing
CELLS = [
    ("a.png", "NA", "x, y"),
    ("b.png", "01", 'say "so"'),
    ("c.png", "1.0", "a;b|c\td"),
    ("d.png", "null", ""),
]
COLUMNS = ["file", "label", "a note"]


def separated(separator: str, spaced: bool = False) -> str:
    """The table in quotes where needed, as spreadsheets write it."""
    between = separator + " " if spaced else separator
    quoted = [[f'"{c.replace(chr(34), chr(34) * 2)}"' for c in row] for row in CELLS]
    return "".join(between.join(row) + "\r\n" for row in [COLUMNS, *quoted])


def jsonl() -> str:
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in CELLS]
    return "\n".join(json.dumps(row) for row in rows)


FORMS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "commas": ("labels.csv", lambda: separated(",").encode()),
    "semicolons": ("labels.csv", lambda: separated(";").encode()),
    "tabs": ("labels.csv", lambda: separated("\t").encode()),
    "bars": ("labels.csv", lambda: separated("|").encode()),
    "tsv": ("labels.tsv", lambda: separated("\t").encode()),
    "spaces": ("labels.csv", lambda: separated(",", spaced=True).encode()),
    "sep line": ("labels.csv", lambda: b"sep=;\r\n" + separated(";").encode()),
    "BOM": ("labels.csv", lambda: separated(",").encode("utf-8-sig")),
    "UTF-16": ("labels.csv", lambda: separated(",").encode("utf-16")),
    "UTF-16 big, no mark": ("labels.csv", lambda: separated(";").encode("utf-16-be")),
    "UTF-16 little, no mark": ("labels.csv", lambda: separated("\t").encode("utf-16-le")),
    "UTF-32": ("labels.csv", lambda: separated(",").encode("utf-32")),
    "trailing separator": ("labels.csv", lambda: separated(",").replace("\r\n", ",\r\n").encode()),
    "trailing separator but for the header": (
        "labels.csv", lambda: separated(",").replace("\r\n", ",\r\n").replace("note,", "note", 1).encode(),
    ),
    "old line ends": ("labels.csv", lambda: separated(",").replace("\r\n", "\r").encode()),
    "blank lines": ("labels.csv", lambda: separated(",").replace("\r\n", "\r\n,,\r\n\r\n").encode()),
    "JSON lines": ("labels.jsonl", lambda: jsonl().encode()),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_cells(tmp_path: Path, form: str) -> None:
    name, content = FORMS[form]
    (tmp_path / name).write_bytes(content())
    table = read_table(table_path(tmp_path, "labels.csv"))
    assert list(table.rows.columns) == COLUMNS and not table.bad
    assert table.rows.to_numpy().tolist() == [list(row) for row in CELLS]


def test_parquet_gives_text_whatever_its_types(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "file": ["a.png", "b.png"],
            "label": pd.Categorical(["x", "y"]),
            "age": [7, 12],
            "score": [0.5, None],
            "ok": [True, False],
        }
    )
    frame.to_parquet(tmp_path / "labels.parquet")
    rows = read_table(table_path(tmp_path, "labels.csv")).rows
    assert rows.to_numpy().tolist() == [
        ["a.png", "x", "7", "0.5", "true"],
        ["b.png", "y", "12", "", "false"],
    ]
    assert rows.index.tolist() == [1, 2]


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1" + b"x" * 100])
def test_broken_parquet_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "labels.parquet"
    file.write_bytes(content)
    with pytest.raises(DiffInfError, match=r"cannot be read as Parquet: .*\.$"):
        read_table(file)


def test_a_parquet_column_of_lists_is_named(tmp_path: Path) -> None:
    file = tmp_path / "labels.parquet"
    pd.DataFrame({"file": ["a.png"], "label": ["x"], "box": [[1, 2]]}).to_parquet(file)
    with pytest.raises(DiffInfError, match=r"'box'.*list"):
        read_table(file)


@pytest.mark.parametrize(
    "line,reason",
    [
        ("{", "cannot be read as JSON"),
        ("[1]", "it is no object"),
        ('{"file": "a.png", "file": "b.png", "label": "x"}', "twice"),
        ('{"file": ["a.png"], "label": "x"}', "'file' holds several values"),
    ],
)
def test_a_bad_line_of_json_is_named(tmp_path: Path, line: str, reason: str) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(f'{{"file": "a.png", "label": 1.0}}\n\n{line}\n')
    table = read_table(file)
    assert table.rows.to_numpy().tolist() == [["a.png", "1.0"]]
    ((at, why),) = table.bad
    assert at == 3 and reason in why


@settings(max_examples=60)
@given(
    width=st.integers(2, 5),
    rows=st.lists(st.integers(1, 7), min_size=1, max_size=12),
    separator=st.sampled_from(",;\t|"),
)
def test_rows_that_do_not_fit_the_header_are_named_wherever_they_stand(
    tmp_path_factory: pytest.TempPathFactory, width: int, rows: list[int], separator: str
) -> None:
    head = ["file", "label", "c", "d", "e"][:width]
    file = tmp_path_factory.mktemp("ragged") / "labels.csv"
    lines = [separator.join(f"v{i}" for i in range(n)) for n in rows]
    file.write_text("\n".join([separator.join(head), *lines]) + "\n")
    table = read_table(file)
    assert list(table.rows.columns) == head
    assert [at for at, _ in table.bad] == [i for i, n in enumerate(rows, start=2) if n != width]
    assert table.rows.index.tolist() == [i for i, n in enumerate(rows, start=2) if n == width]
    for at, reason in table.bad:
        assert f"has {rows[at - 2]} field" in reason and f"header has {width}" in reason


def test_a_line_number_counts_lines_inside_quotes(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text('file,label\n"a\nb",x\nc.png\n')
    assert read_table(tmp_path / "labels.csv").bad[0][0] == 4


def test_another_encoding_is_read_where_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_bytes("file,label\na.png,fr\u00f6hlich\n".encode("cp1252"))
    assert read_table(file, "cp1252").rows["label"].tolist() == ["fr\u00f6hlich"]
    with pytest.raises(DiffInfError, match="there is no encoding 'latin-99'"):
        read_table(file, "latin-99")


def test_two_tables_are_not_chosen_between(tmp_path: Path) -> None:
    (tmp_path / "labels.tsv").touch()
    (tmp_path / "labels.jsonl").touch()
    with pytest.raises(DiffInfError, match=r"labels\.tsv and labels\.jsonl"):
        table_path(tmp_path, "labels.csv")


# ---------------------------------------------------------------- columns


def listed(
    root: Path, table: str, files: tuple[str, ...] = ("a.png", "b.png"), **over: object
) -> TableRows:
    """The rows of a table over some pictures."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if not (root / name).exists():
            Image.new("RGB", (4, 4)).save(root / name, "PNG")
    (root / "labels.csv").write_text(table)
    config = DataConfig.model_validate({"source": "folder", "path": root, **over})
    return rows_of_table(root, root / "labels.csv", config, set(files))


@pytest.mark.parametrize("column", ["file", "file_name", "filename", "path", "File", " file_name "])
def test_known_columns_are_taken_for_the_file(tmp_path: Path, column: str) -> None:
    read = listed(tmp_path, f"{column},label,more\na.png,x,1\nb.png,y,2\n")
    assert [(r.file, r.label, r.extra) for r in read.rows] == [
        ("a.png", "x", {"more": "1"}),
        ("b.png", "y", {"more": "2"}),
    ]


def test_any_column_can_be_the_file_or_the_label(tmp_path: Path) -> None:
    table = "picture,emotion,Smiling,label\na.png,1.0,1,no\nb.png,0.0,-1,no\n"
    read = listed(tmp_path, table, file_column="picture", label_column="emotion")
    assert [r.label for r in read.rows] == ["1.0", "0.0"]
    assert read.rows[0].extra == {"Smiling": "1", "label": "no"}
    with pytest.raises(DiffInfError, match="cannot be both"):
        listed(tmp_path, table, file_column="picture", label_column="picture")


def test_two_columns_that_could_be_the_file_are_said(tmp_path: Path) -> None:
    (remark,) = listed(tmp_path, "path,file,label\nb.png,a.png,x\na.png,b.png,y\n").remarks
    assert "'file' is taken" in remark and "data.file_column=path" in remark


def test_a_column_of_splits_is_honoured_or_offered(tmp_path: Path) -> None:
    table = "file,label,part\na.png,x,train\nb.png,y,Test\n"
    (remark,) = listed(tmp_path, table).remarks
    assert "'part'" in remark and "data.split_column=part" in remark
    assert [r.split for r in listed(tmp_path, table, split_column="part").rows] == ["train", "test"]
    bad = listed(tmp_path, table.replace("Test", "rest"), split_column="part")
    assert str(bad.problems[0]) == "row 3: b.png: the split 'rest' is none of train, val and test"


def test_classes_that_differ_by_case_or_space_are_pointed_out(tmp_path: Path) -> None:
    (remark,) = listed(tmp_path, "file,label\na.png,Happy\nb.png,hap py\n").remarks
    assert "'Happy' and 'hap py'" in remark
    decomposed = unicodedata.normalize("NFD", "fr\u00f6hlich")
    assert alike(["a", "b", "fr\u00f6hlich", decomposed, "A "]) == [
        ["A ", "a"],
        [decomposed, "fr\u00f6hlich"],
    ]


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    "on_disk,named",
    [
        (
            unicodedata.normalize("NFD", "fa\u00e7ade \u00e9t\u00e9.png"),
            "fa\u00e7ade \u00e9t\u00e9.png",
        ),
        ("fa\u00e7ade.png", unicodedata.normalize("NFD", "fa\u00e7ade.png")),
        ("faces/Face 1.PNG", "faces/face 1.png"),
        ("faces/a.png", "faces\\a.png"),
        ("faces/a.png", "./faces//a.png"),
        ("faces/a.png", "faces/a"),
        ("faces/\u00c4.PNG", "FACES\\a\u0308"),
    ],
)
def test_a_name_that_differs_by_spelling_alone_is_matched(
    tmp_path: Path, on_disk: str, named: str
) -> None:
    read = listed(tmp_path, f"file,label\n{named},x\n", (on_disk, "faces/other.png"))
    assert [r.file for r in read.rows] == [on_disk] and not read.problems


def test_an_absolute_name_is_kept_relative_wherever_the_folder_lies(tmp_path: Path) -> None:
    ids = []
    for name in ("one", "two"):
        root = tmp_path / name
        (root / "sub").mkdir(parents=True)
        read = listed(root, f"file,label\n{root / 'sub' / 'a.png'},x\n", ("sub/a.png",))
        assert [r.file for r in read.rows] == ["sub/a.png"]
        ids.append(read.rows[0].id)
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    "named,files,reason",
    [
        ("a", ("a.png", "a.jpg"), "could be a.jpg or a.png"),
        ("A.png", ("a.PNG", "a.png"), "could be a.PNG or a.png"),
        ("sub/a.png", ("a.png", "b.png"), "no such file; did you mean 'a.png'?"),
        ("face_0l.png", ("face_01.png", "x.png"), "no such file; did you mean 'face_01.png'?"),
        ("q.png", ("face_01.png", "x.png"), "no such file"),
    ],
)
def test_a_name_that_could_be_several_or_none_is_a_problem(
    tmp_path: Path, named: str, files: tuple[str, ...], reason: str
) -> None:
    read = listed(tmp_path, f"file,label\n{named},x\n", files)
    assert not read.rows and reason in str(read.problems[0])


def test_two_spellings_of_one_file_are_named_twice(tmp_path: Path) -> None:
    read = listed(tmp_path, "file,label\na.png,x\nA.PNG,y\na,z\n")
    assert [p.row for p in read.problems] == [3, 4]
    assert all("named twice, first in row 2" in str(p) for p in read.problems)


def test_two_files_whose_names_differ_by_unicode_form_alone_are_not_one(tmp_path: Path) -> None:
    files = tuple(unicodedata.normalize(form, "\u00e9.png") for form in ("NFC", "NFD"))
    read = listed(tmp_path, "file,label\n" + "".join(f"{f},x\n" for f in files), files)
    assert len(read.rows) == 1 and "named twice" in str(read.problems[0])


# ---------------------------------------------------------------- order


def test_numbers_stand_in_their_natural_order() -> None:
    given = ["10", "2", "1", "01", "-1", "0.5", "img10", "img2", "b", "img2b"]
    assert sorted(given, key=natural_key) == [
        "-1", "0.5", "01", "1", "2", "10", "b", "img2", "img2b", "img10",
    ]  # fmt: skip


@given(st.lists(st.text(max_size=8), unique=True))
def test_the_order_is_total(names: list[str]) -> None:
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)
