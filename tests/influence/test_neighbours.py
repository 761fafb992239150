"""Neighbours over slices are those of one matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cleanlab.outlier import OutOfDistribution

from diffinf_core.engine import View, open_run
from diffinf_core.influence import embedding, neighbours
from diffinf_core.influence.neighbours import mean_distances, similarity
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import StageFolder


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[StageFolder, np.ndarray]:
    monkeypatch.setattr(neighbours, "SLICE", 32)
    vectors = np.random.default_rng(0).normal(size=(101, 7)).astype(np.float32)
    for start in range(0, len(vectors), 32):
        np.save(tmp_path / f"slice-{start:08d}.npy", vectors[start : start + 32])
    return StageFolder(tmp_path, "key"), vectors


def test_likeness_is_the_cosine_to_the_nearest_of_those_asked_for(stage) -> None:
    folder, vectors = stage
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = (unit @ unit[[3, 70]].T).max(1)
    np.testing.assert_allclose(similarity(folder, 101, [3, 70]), expected, atol=1e-6)
    assert similarity(folder, 101, [3]).argmax() == 3


def test_the_mean_distance_is_that_of_all_pairs_and_orders_as_cleanlab_does(stage) -> None:
    folder, vectors = stage
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    np.fill_diagonal(distance, np.inf)
    expected = np.sort(distance, 1)[:, : neighbours.NEIGHBOURS].mean(1)
    found = np.concatenate(
        [mean_distances(folder, 101, np.arange(s, min(s + 32, 101))) for s in range(0, 101, 32)]
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    scores = OutOfDistribution({"k": neighbours.NEIGHBOURS}).fit_score(
        features=vectors, verbose=False
    )
    assert (
        np.argsort(-found, kind="stable")[:10].tolist()
        == np.argsort(scores, kind="stable")[:10].tolist()
    )


def test_a_picture_of_nothing_is_like_nothing(stage) -> None:
    folder, _ = stage
    np.save(folder / "slice-00000096.npy", np.zeros((5, 7), np.float32))
    assert similarity(folder, 101, [100]).tolist() == [0] * 101
    assert mean_distances(folder, 101, np.array([98]))[0] == pytest.approx(1)


def test_a_run_measures_quality_and_outliers_on_request(run_copy: Path) -> None:
    engine = open_run(run_copy)
    measures, train = engine.explore.measures, engine.training
    assert not measures.done() and measures.table() is None
    with pytest.raises(DiffInfError, match="measure quality and outliers first"):
        measures.similarity([str(train.ids[0])])
    with pytest.raises(DiffInfError, match="being dark; measure them first"):
        engine.explore.view(View(issue="dark"))
    found = measures.compute().result()
    assert found is not None and len(found.table) == len(train) == len(found.issues)
    assert list(found.counts()) == ["blurred", "dark", "bright", "small", "odd aspect", "outlier"]
    assert measures.table() is found, "read once"
    features = embedding.FEATURES.folder(engine.folder)
    np.testing.assert_allclose(
        found.table["outlier"],
        mean_distances(features, len(train), np.arange(len(train))),
        atol=1e-6,
    )
    ordered = engine.explore.view(View(sort="outlier", descending=True))
    assert (np.diff(found.table["outlier"].to_numpy()[ordered]) <= 0).all()
    chosen = engine.explore.view(View(issue="outlier"))
    assert (
        found.issues["outlier"].to_numpy()[chosen].all()
        and len(chosen) == found.counts()["outlier"]
    )
    sample = str(train.ids[5])
    near = engine.explore.view(View(near=(sample,)))
    assert near[0] == 5 and len(near) == len(train)
    assert (np.diff(measures.similarity([sample])[near]) <= 0).all()
    with pytest.raises(DiffInfError, match="Choose 1 to"):
        measures.similarity([])
    with pytest.raises(DiffInfError, match="no training sample"):
        measures.similarity(["nobody"])
