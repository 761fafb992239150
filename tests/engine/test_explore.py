"""What the Explore page asks of a run: read once, anew when something changed, and never half."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffinf_core.config import change, make_config
from diffinf_core.engine import STATES, Engine, View
from diffinf_core.engine import explore as module
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run


def test_samples_are_read_once_and_anew_after_another_ranking(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(run_copy)
    first = engine.samples()
    assert engine.samples() is first
    Run.prepare(run_copy, change(engine.config, {"influence": {"estimator": "aum"}})).store()
    other = Engine(run_copy).samples()
    np.testing.assert_array_equal(other.table["score"], other.scores["aum"])
    assert first.table["score"].tolist() == first.scores["self_influence"].tolist()


def test_a_decision_shows_at_once(run_copy: Path) -> None:
    engine = Engine(run_copy)
    sample = str(engine.training.ids[4])
    assert STATES[engine.states()[4]] == "undecided"
    engine.decide(sample, "drop", "me")
    assert STATES[engine.states()[4]] == "drop"
    assert engine.view(View(state="drop")).tolist() == [4]
    (row,) = [r for r in engine.subgroups()["label"].to_dict("records") if r["drop"]]
    assert row["value"] == engine.training.table["label"][4]


def test_subgroups_add_up(finished_run: Path) -> None:
    engine = Engine(finished_run)
    n, edits = len(engine.training), len(engine.queue())
    for name, table in engine.subgroups().items():
        assert table["n"].sum() == n, name
        edited = sum(share[0] * k for share, k in zip(table["edited"], table["n"], strict=True))
        assert edited == pytest.approx(edits)
    tested = engine.subgroup_shifts()
    assert engine.subgroup_shifts() is tested
    assert set(tested["column"]) <= set(engine.samples().groups)


def test_the_shifts_belong_to_the_edited_samples(finished_run: Path, monkeypatch) -> None:
    engine = Engine(finished_run)
    seen: dict[str, pd.DataFrame] = {}

    def noting(edits: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
        seen["edits"], seen["groups"] = edits, groups
        return pd.DataFrame({"farther": [], "adjusted": []})

    monkeypatch.setattr(module, "shifts", noting)
    assert engine.subgroup_warnings() == []
    assert seen["edits"]["label"].tolist() == seen["groups"]["label"].tolist()


def test_map_and_near_duplicates_are_made_on_request(run_copy: Path) -> None:
    engine = Engine(run_copy)
    assert not engine.has_map() and not engine.has_duplicates()
    list(engine.make_map())
    coordinates, share = engine.map()
    assert coordinates.shape == (len(engine.training), 2) and share is not None
    list(engine.find_duplicates())
    assert engine.has_map() and engine.has_duplicates()
    pairs = engine.duplicates()
    labels = engine.training.labels
    differ = labels[pairs["first"]] != labels[pairs["second"]]
    assert (pairs["differ"].to_numpy() == differ).all()
    assert len(engine.duplicates(differing=True)) == differ.sum()


def test_pairs_of_different_labels_come_first(run_copy: Path, monkeypatch) -> None:
    engine = Engine(run_copy)
    list(engine.find_duplicates())
    train = engine.training
    same, other = np.flatnonzero(train.labels == 0), np.flatnonzero(train.labels != 0)
    stored = pd.DataFrame(
        {
            "first": train.ids[[same[0], same[1], same[2]]],
            "second": train.ids[[same[3], other[0], other[1]]],
            "correlation": [0.99, 0.98, 0.97],
        }
    )
    monkeypatch.setattr(module, "read_duplicates", lambda run: stored)
    found = engine.duplicates()
    assert found["differ"].tolist() == [True, True, False]
    assert found["correlation"].tolist() == [0.98, 0.97, 0.99]
    assert engine.duplicates(differing=True)["first"].tolist() == [same[1], same[2]]


def test_nothing_is_computed_in_a_locked_run(run_copy: Path) -> None:
    engine = Engine(run_copy)
    with engine.run.lock():
        for work in (Engine(run_copy).make_map(), Engine(run_copy).find_duplicates()):
            with pytest.raises(DiffInfError, match="Another process"):
                next(work)


def test_a_run_that_is_not_ranked_says_so(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "run", make_config("demo"))
    for ask in (
        engine.samples,
        engine.states,
        engine.has_map,
        engine.map,
        engine.subgroups,
        engine.ranking_plots,
        lambda: next(engine.make_map()),
    ):
        with pytest.raises(DiffInfError, match="Not ranked yet: start the run on the Run page"):
            ask()
    assert not engine.has_duplicates()
    with pytest.raises(DiffInfError, match="no data yet"):
        list(engine.find_duplicates())


def test_plots_of_the_ranking_need_no_repair(finished_run: Path) -> None:
    engine = Engine(finished_run)
    assert set(engine.ranking_plots()) == {"curve", "estimators", "signals"}
    assert engine.ranking_figures() == engine.report()["influence"]
