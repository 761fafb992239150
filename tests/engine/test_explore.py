"""What the Explore page asks of a run: read once, anew when something changed, and never half."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffinf_core.config import change, make_config
from diffinf_core.engine import STATES, View, duplicates, open_run, tables
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run


def test_samples_are_read_once_and_anew_after_another_ranking(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_run(run_copy)
    first = engine.explore.samples()
    assert engine.explore.samples() is first
    Run.prepare(run_copy, change(engine.config, {"influence": {"estimator": "aum"}})).store()
    other = open_run(run_copy).explore.samples()
    np.testing.assert_array_equal(other.table["score"], other.scores["aum"])
    assert first.table["score"].tolist() == first.scores["self_influence"].tolist()


def test_a_decision_shows_at_once(run_copy: Path) -> None:
    engine = open_run(run_copy)
    sample = str(engine.training.ids[4])
    assert STATES[engine.explore.states()[4]] == "undecided"
    engine.review.decide(sample, "drop", "me")
    assert STATES[engine.explore.states()[4]] == "drop"
    assert engine.explore.view(View(state="drop")).tolist() == [4]
    (row,) = [r for r in engine.explore.subgroups()["label"].to_dict("records") if r["drop"]]
    assert row["value"] == engine.training.table["label"][4]


def test_subgroups_add_up(finished_run: Path) -> None:
    engine = open_run(finished_run)
    n, edits = len(engine.training), len(engine.queue)
    for name, table in engine.explore.subgroups().items():
        assert table["n"].sum() == n, name
        edited = sum(share[0] * k for share, k in zip(table["edited"], table["n"], strict=True))
        assert edited == pytest.approx(edits)
    tested = engine.explore.subgroup_shifts()
    assert engine.explore.subgroup_shifts() is tested
    assert set(tested["column"]) <= set(engine.explore.samples().groups)


def test_the_shifts_belong_to_the_edited_samples(finished_run: Path, monkeypatch) -> None:
    engine = open_run(finished_run)
    seen: dict[str, pd.DataFrame] = {}

    def noting(edits: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
        seen["edits"], seen["groups"] = edits, groups
        return pd.DataFrame({"metric": [], "farther": [], "adjusted": []})

    monkeypatch.setattr(tables, "shifts", noting)
    assert engine.explore.subgroup_warnings() == []
    assert seen["edits"]["label"].tolist() == seen["groups"]["label"].tolist()


def test_map_and_near_duplicates_are_made_on_request(run_copy: Path) -> None:
    engine = open_run(run_copy)
    assert not engine.explore.map.done() and not engine.explore.duplicates.done()
    list(engine.explore.map.compute())
    coordinates, share = engine.explore.map.coordinates()
    assert coordinates.shape == (len(engine.training), 2) and share is not None
    list(engine.explore.duplicates.compute())
    assert engine.explore.map.done() and engine.explore.duplicates.done()
    pairs = engine.explore.duplicates.pairs()
    labels = engine.training.labels
    differ = labels[pairs["first"]] != labels[pairs["second"]]
    assert (pairs["differ"].to_numpy() == differ).all()
    assert len(engine.explore.duplicates.pairs(differing=True)) == differ.sum()


def test_a_map_of_identity_is_another_map(run_copy: Path) -> None:
    engine = open_run(run_copy)
    assert engine.explore.map.names() == ("pca", "umap", "identity-pca", "identity-umap")
    with pytest.raises(DiffInfError, match="Unknown map 'tsne'"):
        engine.explore.map.done("tsne")
    assert not engine.explore.map.done("identity-pca")
    identity, _ = engine.explore.map.compute("identity-pca").result()
    assert engine.explore.map.done("identity-pca") and not engine.explore.map.done("pca")
    classifier, _ = engine.explore.map.compute("pca").result()
    assert identity.shape == classifier.shape and not np.allclose(identity, classifier)
    over = change(engine.config, {"repair": {"identity": "none"}})
    assert open_run(run_copy, over).explore.map.names() == ("pca", "umap")


def test_pairs_of_different_labels_come_first(run_copy: Path, monkeypatch) -> None:
    engine = open_run(run_copy)
    list(engine.explore.duplicates.compute())
    train = engine.training
    same, other = np.flatnonzero(train.labels == 0), np.flatnonzero(train.labels != 0)
    stored = pd.DataFrame(
        {
            "first": train.ids[[same[0], same[1], same[2]]],
            "second": train.ids[[same[3], other[0], other[1]]],
            "correlation": [0.99, 0.98, 0.97],
        }
    )
    monkeypatch.setattr(duplicates, "read_duplicates", lambda run: stored)
    found = engine.explore.duplicates.pairs()
    assert found["differ"].tolist() == [True, True, False]
    assert found["correlation"].tolist() == [0.98, 0.97, 0.99]
    assert engine.explore.duplicates.pairs(differing=True)["first"].tolist() == [same[1], same[2]]


def test_nothing_is_computed_in_a_locked_run(run_copy: Path) -> None:
    engine = open_run(run_copy)
    with engine.folder.lock():
        for work in (
            open_run(run_copy).explore.map.compute(),
            open_run(run_copy).explore.duplicates.compute(),
        ):
            with pytest.raises(DiffInfError, match="Another process"):
                next(work)


def test_a_run_that_is_not_ranked_says_so(tmp_path: Path) -> None:
    engine = open_run(tmp_path / "run", make_config("demo"))
    for ask in (
        engine.explore.samples,
        engine.explore.states,
        engine.explore.map.done,
        engine.explore.map.coordinates,
        engine.explore.subgroups,
        engine.explore.scores.plots,
        lambda: next(engine.explore.map.compute()),
    ):
        with pytest.raises(DiffInfError, match="Not ranked yet: start the run on the Run page"):
            ask()
    assert not engine.explore.duplicates.done()
    with pytest.raises(DiffInfError, match="no data yet"):
        list(engine.explore.duplicates.compute())


def test_plots_of_the_ranking_need_no_repair(finished_run: Path) -> None:
    engine = open_run(finished_run)
    assert set(engine.explore.scores.plots()) == {"curve", "estimators", "signals"}
    assert engine.explore.scores.figures() == engine.report()["influence"]


def test_a_tag_or_a_saved_view_names_its_samples(run_copy: Path, tmp_path: Path) -> None:
    engine = open_run(run_copy)
    ids = engine.training.ids.tolist()
    assert engine.tags.put(ids[:3], "odd", "ann") == 3
    with pytest.raises(DiffInfError, match="no training sample 'nobody'"):
        engine.tags.put(["nobody"], "odd", "ann")
    assert sorted(engine.explore.view(View(tag="odd")).tolist()) == [0, 1, 2]
    assert engine.explore.view(View(tag="none such")).tolist() == []
    label = engine.training.classes[1]
    shown = View(label=label, high=True, group=("label", label), sort="file", descending=True)
    assert View.of(shown.as_dict()) == shown and View.of({}) == View()
    with pytest.raises(DiffInfError, match="asks for 'colour'"):
        View.of({"colour": "red"})
    engine.tags.save_view("mine", {"view": shown.as_dict()}, "ann")
    part = engine.explore.subset(view="mine")
    assert part.samples == tuple(sorted(ids[i] for i in engine.explore.view(shown)))
    assert engine.explore.subset() is None
    for given, why in (
        ({"tag": "none"}, "has no samples"),
        ({"view": "other"}, "there are mine"),
        ({"tag": "odd", "view": "mine"}, "not both"),
    ):
        with pytest.raises(DiffInfError, match=why):
            engine.explore.subset(**given)

    before = engine.refined.preview()["total"]
    engine.review.decide(ids[1], "drop", "ann")
    assert engine.refined.preview(tag="odd")["total"] == 2 < before
    found = engine.export(tmp_path / "export", tag="odd").result()
    assert found.manifest["subset"] == "tag 'odd'"
    assert sorted(entry["id"] for entry in found.manifest["samples"]) == sorted([ids[0], ids[2]])
    assert found.manifest["dropped"] == [ids[1]] and found.manifest["n_original"] == 3
    found.verify()
    with pytest.raises(DiffInfError, match="part of the training split"):
        engine.export(tmp_path / "all", tag="odd", splits="all").result()
