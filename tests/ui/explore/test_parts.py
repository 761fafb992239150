"""What the Explore page is made of, without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffinf_core.engine import STATES, View, open_run
from diffinf_core.records import DiffInfError
from diffinf_core.ui.explore import data as explore_data
from diffinf_core.ui.explore import markup as explore_markup
from diffinf_core.ui.explore.filters import Filters
from diffinf_core.ui.explore.parts import ROWS, Pager
from diffinf_core.ui.session import Session

EVIL = '"><img src=x onerror=alert(1)>'


def unpacked(found: dict[str, str]) -> np.ndarray:
    import base64

    return np.frombuffer(base64.b64decode(found["data"]), f"<{found['type']}")


def test_packed_points_are_the_runs(run_copy: Path) -> None:
    engine = open_run(run_copy)
    list(engine.explore.map.compute())
    found, samples = explore_data.points(engine, "pca"), engine.explore.samples()
    np.testing.assert_array_equal(unpacked(found["x"]), engine.explore.map.coordinates()[0][:, 0])
    np.testing.assert_array_equal(unpacked(found["rank"]), samples.table["rank"])
    for column in found["columns"]:
        values = np.array(column["values"])[unpacked(column["codes"])]
        if column["name"] == "high-influence":
            assert ((values == "high-influence") == samples.table["high"]).all()
        elif column["name"] == "flag":
            edited = samples.table["id"].isin(engine.queue["id"]).to_numpy()
            assert ((values != "no edit") == edited).all()
            flags = engine.queue.loc[samples.table["id"][edited], "flags"].str.split(", ").str[0]
            assert values[edited].tolist() == flags.replace("", "no flag").tolist()
        else:
            assert values.tolist() == samples.groups[column["name"]].tolist()
    raw = unpacked({"type": "u1", "data": found["ids"]}).tobytes().hex()
    assert [raw[i : i + 12] for i in range(0, len(raw), 12)] == samples.table["id"].tolist()
    states = explore_data.decision_states(engine.explore.states())
    assert states["values"] == list(STATES) and not unpacked(states["codes"]).any()


def test_many_classes_have_wide_codes() -> None:
    cells = pd.Series([str(i) for i in range(300)] + ["7"])
    found = explore_data.categories("label", cells)
    assert found["codes"]["type"] == "u2" and found["values"][0] == "7"
    assert np.array(found["values"])[unpacked(found["codes"])].tolist() == cells.tolist()


def test_everything_from_data_is_escaped() -> None:
    row = {"id": "0" * 12, "file": EVIL, "label": EVIL, "rank": 1, "high": True, "state": 0}
    rows = pd.DataFrame([row | {"aum": 1.0, "first": 1, "second": 2}])
    group = {"value": EVIL, "n": 1, "high": (1, 0.2, 1), "mean_score": 1.0, "edited": None,
             "judge_agrees": None, "identity": None}  # fmt: skip
    pages = (
        explore_markup.samples_table(rows, ["aum"], [], "rank", False, EVIL),
        explore_markup.disagreement_table(rows, EVIL, EVIL),
        explore_markup.pairs_list([(row, row, 0.99)]),  # type: ignore[list-item]
        explore_markup.groups_table(EVIL, pd.DataFrame([group])),
    )
    for page in pages:
        assert "<img src=x" not in page and "&lt;img src=x" in page


def test_the_order_is_told_to_a_screen_reader() -> None:
    rows = pd.DataFrame(
        [{"id": "0" * 12, "file": "a", "label": "b", "rank": 1, "high": 0, "state": 0, "aum": 0.1}]
    )
    page = explore_markup.samples_table(rows, ["aum"], [], "aum", True, "aum")
    assert page.count('aria-sort="descending"') == 1 and page.count('aria-sort="none"') == 3
    assert re.search(r'aria-sort="descending"[^>]*><button[^>]*data-di-sort="aum"', page)


@pytest.mark.parametrize(
    "asked,total,page,part",
    [
        (1, 120, 1, (0, 50)),
        (3, 120, 3, (100, 150)),
        (9, 120, 3, (100, 150)),
        (0, 120, 1, (0, 50)),
        (None, 0, 1, (0, 50)),
        (2, 50, 1, (0, 50)),
    ],
)
def test_pages(asked: int | None, total: int, page: int, part: tuple[int, int]) -> None:
    found, rows = Pager.part(asked, total)
    assert (found, (rows.start, rows.stop)) == (page, part)
    assert len(range(total)[rows]) <= ROWS


def test_filters_become_a_view() -> None:
    everything = ("all", "all", " ", "all", "all", "all", "all", False, "", "rank", False)
    assert Filters.view(*everything, picked="x y") == View()
    values = (
        "sad",
        '["sex", "f"]',
        "a",
        "others",
        "second look",
        "odd",
        "dark",
        True,
        "p q",
        "aum",
        True,
    )
    assert Filters.view(*values, picked="x y") == View(
        "sad", ("sex", "f"), "a", False, "second_look", "odd", "dark", ("p", "q"), frozenset("xy"),
        "aum", True,
    )  # fmt: skip
    kept = Filters.view(*values[:7], False, *values[8:])
    assert Filters.values(kept) == [*values[:7], False, *values[8:]]
    assert Filters.values(View()) == [*everything[:2], "", *everything[3:]]
    assert Filters.order(*values) == ("aum", True)
    assert Filters.order(*Filters.ordered(values, "file", False)) == ("file", False)


def test_a_selection_is_handed_over_by_reviewer(finished_run: Path) -> None:
    session = Session(finished_run)
    ids = session.run.training.ids[:3].tolist()
    session.select("ann", [*ids, ids[0]])
    assert session.selection("ann") == ids and session.selection("bob") == []
    with pytest.raises(DiffInfError, match="'nobody'"):
        session.select("ann", ["nobody"])
    assert session.selection("ann") == ids


def test_tau_is_set_like_the_score(run_copy: Path) -> None:
    session = Session(run_copy)
    session.set_tau(20)
    assert open_run(run_copy).config.influence.tau == 20
    with pytest.raises(DiffInfError, match="tau"):
        session.set_tau(0)
    assert session.run.config.influence.tau == 20
