"""The map: exact components over slices, features that a kill does not lose."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffinf_core.classifier.stage import load_snapshot
from diffinf_core.data.part import open_training
from diffinf_core.influence import embedding as module
from diffinf_core.influence.checkpoints import feature_epoch
from diffinf_core.influence.embedding import (
    FEATURES,
    embedding,
    principal_axes,
    read_map,
)
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run


def sliced(folder: Path, x: np.ndarray, size: int) -> list[Path]:
    files = []
    for start in range(0, len(x), size):
        files.append(folder / f"{start}.npy")
        np.save(files[-1], x[start : start + size])
    return files


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(5, 60),
    width=st.integers(2, 9),
    size=st.integers(1, 70),
    offset=st.sampled_from([0.0, 1.0, 1e5]),
)
def test_components_are_those_of_the_whole_matrix(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    n: int,
    width: int,
    size: int,
    offset: float,
) -> None:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, width)) * (2.0 ** -np.arange(width)) + offset
    found = principal_axes(sliced(tmp_path_factory.mktemp("slices"), x, size))
    centred = x - x.mean(0)
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(found.coordinates), np.abs(centred @ vt[:2].T), atol=1e-3)
    np.testing.assert_allclose(found.share, (s**2 / (s**2).sum())[:2], atol=1e-6)
    np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-12, atol=1e-9)


def test_points_on_a_line_lie_on_the_first_axis(tmp_path: Path) -> None:
    t = np.arange(-3.0, 4)
    found = principal_axes(sliced(tmp_path, np.outer(t, [0.6, 0, -0.8]), 2))
    # the largest entry of the axis, the last, is made positive
    np.testing.assert_allclose(found.coordinates[:, 0], -t, atol=1e-6)
    np.testing.assert_allclose(found.coordinates[:, 1], 0, atol=1e-6)
    np.testing.assert_allclose(found.share, [1, 0], atol=1e-12)


def test_features_without_variance_have_no_shares(tmp_path: Path) -> None:
    found = principal_axes(sliced(tmp_path, np.full((4, 3), 2.5), 3))
    assert not found.coordinates.any() and found.share.tolist() == [0, 0]


@pytest.fixture
def run(copy: Callable[[], Run], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(module, "SLICE", 40)
    return copy()


def test_features_are_the_classifiers_and_the_map_is_theirs(run: Run) -> None:
    events = list(embedding().compute(run))
    train, stage = open_training(run), FEATURES.folder(run)
    net = load_snapshot(run, feature_epoch(run))[0].eval()
    with torch.no_grad():
        expected = net.features(train.tensors(np.arange(len(train)))).numpy()
    files = sorted(stage.path.glob("slice-*.npy"))
    found = np.concatenate([np.load(f) for f in files])
    assert found.dtype == np.float32 and len(files) == -(-len(train) // 40)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    coordinates, share = read_map(run, embedding("pca"))
    assert coordinates.shape == (len(train), 2) and coordinates.dtype == np.float32
    variance = ((expected - expected.mean(0)) ** 2).mean(0).sum()
    np.testing.assert_allclose((coordinates**2).mean(0) / variance, share, rtol=1e-3)
    assert {e.stage for e in events} == {"map"} and events[-1].note.startswith("done in")
    assert [e.note for e in embedding().compute(run)] == ["done already"]


def test_a_stopped_pass_keeps_its_slices(run: Run) -> None:
    work = FEATURES.compute(run)
    while next(work).done < 40:
        pass
    work.close()
    stage = FEATURES.folder(run)
    kept = {f: f.stat().st_mtime_ns for f in stage.path.glob("slice-*.npy")}
    assert len(kept) == 1 and not stage.done
    events = list(FEATURES.compute(run))
    assert events[0].done == 40 and stage.done
    assert {f: f.stat().st_mtime_ns for f in kept} == kept


def test_another_ranking_keeps_the_map_and_other_checkpoints_do_not(run: Run) -> None:
    def with_influence(**over: object) -> Run:
        influence = run.config.influence.model_copy(update=over)
        return Run(run.root, run.config.model_copy(update={"influence": influence}))

    key = embedding("pca").folder(run).key
    assert embedding("pca").key(with_influence(estimator="aum", tau=3.0)) == key
    assert embedding("umap").folder(run).key != key


def test_what_is_not_there_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DiffInfError, match="no map"):
        read_map(run, embedding("pca"))
    with pytest.raises(DiffInfError, match="Unknown map 'tsne'"):
        list(embedding("tsne").compute(run))
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(DiffInfError, match=r"pip install 'diffinf-core\[map\]'"):
        list(embedding("umap").compute(run))
    assert not FEATURES.folder(run).path.exists(), "nothing was computed for nothing"


class Neighbours:
    """Stands for UMAP: twice the first two features."""

    def __init__(self, **given: object) -> None:
        assert given == {"n_components": 2, "random_state": 0, "n_jobs": 1}
        self.fitted = 0

    def fit_transform(self, features: np.ndarray) -> np.ndarray:
        self.fitted = len(features)
        return features[:, :2] * 2

    def transform(self, features: np.ndarray) -> np.ndarray:
        assert self.fitted == 50
        return features[:, :2] * 2


@pytest.mark.parametrize("most", [50, 100_000])
def test_umap_is_fitted_to_some_and_places_all(
    run: Run, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=Neighbours))
    monkeypatch.setattr(module, "MOST_FITTED", most)
    list(embedding("umap").compute(run))
    coordinates, share = read_map(run, embedding("umap"))
    files = sorted(FEATURES.folder(run).path.glob("slice-*.npy"))
    expected = np.concatenate([np.load(f) for f in files])[:, :2] * 2
    np.testing.assert_allclose(coordinates, expected, rtol=1e-6)
    assert share is None


def test_umap_itself_gives_the_same_map_every_time(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("umap")
    list(embedding("umap").compute(run))
    assert torch.get_num_threads() == 1, "else what is trained afterwards would round differently"
    first, _ = read_map(run, embedding("umap"))
    assert first.shape == (len(open_training(run)), 2) and np.isfinite(first).all()
    embedding("umap").folder(run).path.rename(tmp_path / "before")
    list(embedding("umap").compute(run))
    np.testing.assert_array_equal(read_map(run, embedding("umap"))[0], first)
