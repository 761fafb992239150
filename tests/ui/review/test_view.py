"""Pictures and figures of a pair as HTML."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffinf_core.engine import open_run
from diffinf_core.records import Edit
from diffinf_core.ui import markup, scores
from diffinf_core.ui.review import view


@pytest.fixture(scope="module")
def edit(finished_run: Path) -> Edit:
    engine = open_run(finished_run)
    row = engine.queue.iloc[0]
    return engine.pictures.record(str(row["id"]), str(row["version"]))


def test_a_pair_names_its_pictures_by_id_and_those_that_come_next() -> None:
    html = view.pair("0" * 12, "a" * 16, "sad", [("1" * 12, "b" * 16), ("2" * 12, "")])
    sources = re.findall(r'src="([^"]+)"', html)
    assert set(sources) == {
        f"di/picture/{kind}/{'0' * 12}/{version}.png"
        for kind, version in (
            ("original", "-"),
            ("edit", "a" * 16),
            ("reconstruction", "a" * 16),
            ("heat", "a" * 16),
        )
    }
    (ahead,) = re.findall(r'data-ahead="([^"]*)"', html)
    assert f"di/picture/edit/{'1' * 12}/{'b' * 16}.png" in ahead.split()
    assert f"di/picture/original/{'2' * 12}/-.png" in ahead.split()
    assert len(ahead.split()) == 5


def test_a_picture_without_an_edit_is_shown_alone_with_a_way_to_edit_it() -> None:
    html = view.pair("0" * 12, "", "sad")
    (source,) = re.findall(r'src="([^"]+)"', html)
    assert "original" in source and 'data-press="do-reedit"' in html


def test_two_versions_stand_beside_the_original() -> None:
    versions = [("a" * 16, 2), ("b" * 16, 1)]
    html = view.two("0" * 12, versions, "sad", [("1" * 12, "c" * 16)])
    faces = re.findall(r'alt="([^"]+)" src="([^"]+)"', html)
    assert [source.split("/")[-1] for _, source in faces] == [
        "-.png",
        f"{'a' * 16}.png",
        f"{'b' * 16}.png",
    ]
    assert "version 2, which Accept takes" in html and f"{'c' * 16}.png" in html


def test_labels_and_settings_are_escaped(edit: Edit) -> None:
    bad = '<img src=x onerror="alert(1)">'
    assert bad not in view.pair("0" * 12, "a" * 16, bad)
    nasty = replace(edit, label=bad, judge_name=bad, flags={bad: bad}, settings={"method": bad})
    classes = [bad, *["b", "c", "d"]]
    for html in (
        view.strip([nasty], nasty.version, None, {}),
        scores.flags(nasty),
        scores.table(nasty, classes, 50.0, scores.Distributions(pd.DataFrame())),
        scores.probabilities(nasty, classes),
    ):
        assert "<img src=x" not in html and 'onerror="' not in html


def test_the_strip_marks_what_is_shown_and_what_was_accepted(edit: Edit) -> None:
    other = replace(edit, version="f" * 16, settings={**edit.settings, "w_id": 9.0})
    html = view.strip([edit, other], other.version, edit.version, dict(edit.settings))
    assert re.findall(r'data-version="(\w+)" aria-pressed="(\w+)"', html) == [
        (edit.version, "false"),
        (other.version, "true"),
    ]
    assert "2: w_id 9" in html and "1: as configured" in html
    assert html.index("accepted") < html.index(other.version)
    assert "proposed" not in html
    html = view.strip([edit, other], other.version, edit.version, {}, other.version)
    assert html.index("proposed") > html.index(other.version)


def test_the_table_says_better_and_worse_and_where_it_stands(edit: Edit) -> None:
    classes = ["happy", "neutral", "surprised", "sad"]
    at = classes.index(edit.label)
    low, high = [0.1] * 4, [0.1] * 4
    high[at] = 0.9
    queue = scores.Distributions(pd.DataFrame({"judge_after": np.linspace(0, 1, 11)}))
    better = scores.table(replace(edit, judge_before=low, judge_after=high), classes, 99.0, queue)
    worse = scores.table(replace(edit, judge_before=high, judge_after=low), classes, 99.0, queue)
    first = re.compile(r"judge: assigned label.*?</tr>", re.S)
    assert "better" in first.search(better)[0] and "worse" not in first.search(better)[0]  # type: ignore[index]
    assert "worse" in first.search(worse)[0]  # type: ignore[index]
    assert "higher than 82% of the queue" in better  # 0 to .8 lie below .9: nine of eleven
    gone = scores.table(replace(edit, identity=None), classes, 99.0, queue)
    assert "identity cosine" not in gone


def test_a_digit_means_the_class_of_that_name_where_classes_are_numbers(edit: Edit) -> None:
    numbers = ["0", "1", "2", "10"]
    assert [markup.relabel_key(numbers, i) for i in range(4)] == ["0", "1", "2", ""]
    html = scores.probabilities(replace(edit, label="1"), numbers)
    assert re.findall(r"<kbd[^>]*>(\d)</kbd>", html) == ["0", "2"]
    many = [f"class {i}" for i in range(12)]
    assert [markup.relabel_key(many, i) for i in (0, 8, 9)] == ["1", "9", ""]


def test_probabilities_name_the_key_of_each_other_class(edit: Edit) -> None:
    html = scores.probabilities(edit, ["happy", "neutral", "surprised", "sad"])
    assert re.findall(r"<kbd[^>]*>(\d)</kbd>", html) == ["1", "3", "4"], "neutral is its label"
    assert html.count("di-assigned") == 1
