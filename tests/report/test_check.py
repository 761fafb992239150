"""The page of a check: everything in it, nothing fetched, no markup of the data's own."""

from __future__ import annotations

import re
from pathlib import Path

from diffinf_core.data.check import Checked, Example, Finding
from diffinf_core.data.folder import Listing, Problem
from diffinf_core.report.check import check_page, verdict

BAD = "<img src=x onerror=alert(1)>"
LISTING = Listing(Path("faces"), [], [], [BAD, "sad"], 0, BAD)


def result(problems: list[Problem] | None = None, level: str = "warning") -> Checked:
    rows = [[Example(BAD, b"\xff\xd8jpeg"), Example(BAD)]]
    return Checked(
        name=BAD,
        listing=LISTING,
        problems=problems or [],
        findings=[Finding(BAD, 60, level, BAD, [BAD] * 50, rows)],  # type: ignore[arg-type]
        readable=3,
        classes={BAD: {"train": 1, "val": 1, "test": 0}, "sad": {"train": 1, "val": 0, "test": 0}},
        kinds={"PNG RGB": 3},
        sizes={(64, 48): 2},
        groups=2,
        largest_group=1,
        examples={BAD: [Example(BAD, b"\xff\xd8jpeg")]},
    )


def test_names_of_data_are_text_and_nothing_is_fetched() -> None:
    page = check_page(result())
    assert "<img src=x" not in page and page.count("<img ") == 2
    assert page.count("onerror=alert(1)&gt;") > 50
    assert not re.search(r"https?://|<script|<link|url\(|@import", page)
    assert page.count('src="data:image/jpeg;base64,') == 2
    for words in ("Named: 50 of 60", "no picture", "64 x 48", "other sizes", "2 groups stay whole"):
        assert words in page


def test_the_verdict_says_whether_a_run_would_begin() -> None:
    assert (
        verdict(result())
        == "A run can begin: 3 readable pictures in 2 classes. 1 thing to look at."
    )
    assert verdict(result(level="note")).endswith("2 classes.")
    refused = verdict(result([Problem(2, "a.png", "no such file")] * 2))
    assert refused.startswith("A run refuses this data set for 2 problems; 3 readable")
