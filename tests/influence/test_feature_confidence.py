"""Confidence by a linear classifier of frozen features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from diffinf_core.data.part import open_training
from diffinf_core.data.truth import open_truth
from diffinf_core.influence import confidence, feature_confidence
from diffinf_core.influence.embedding import SLICE
from diffinf_core.influence.feature_confidence import (
    FEATURE_CONFIDENCE,
    feature_probabilities,
)
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_array, write_array
from diffinf_core.runs.run import Run, StageFolder


def computed(run: Run) -> Run:
    for _ in FEATURE_CONFIDENCE.compute(run):
        pass
    return run


def test_wrong_labels_are_improbable_and_every_picture_is_judged_by_another_fold(
    copy: Callable[[], Run],
) -> None:
    run = copy()
    assert feature_probabilities(run) is None
    computed(run)
    probabilities = feature_probabilities(run)
    train, truth = open_training(run), open_truth(run, "benchmark").training()
    assert probabilities is not None and truth is not None
    true, wrong = truth
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-9)
    # the labels that it was fitted to are wrong in a fifth; what it says is right all the same
    assert (probabilities.argmax(1) == true).mean() > 0.9 > (train.labels == true).mean()
    given = probabilities[np.arange(len(train)), train.labels]
    assert (given[wrong][:, None] < given[~wrong]).mean() > 0.95
    stage = FEATURE_CONFIDENCE.folder(run)
    np.testing.assert_array_equal(1 - given, read_array(stage / "score.npy"))
    assert {file.name for file in stage.path.iterdir()} == {
        "axes.pt",
        "done.json",
        "probabilities.npy",
        "score.npy",
    }


def test_a_fold_does_not_know_its_own_labels(copy: Callable[[str], Run]) -> None:
    """With other labels in one fold, what is said of that fold stays."""
    run = computed(copy("run"))
    before = feature_probabilities(run)
    train = open_training(run)
    first = train.folds(run.config.influence.folds, run.config.influence.seed) == 0
    other = copy("other")
    folder = FEATURE_CONFIDENCE.folder(other)
    network = feature_confidence._fitted_axes(folder, train, 0)
    write_array(folder / "slice-00000000.npy", features_by(network, train))
    strength = FEATURE_CONFIDENCE.folder(run).figures["strength"]
    train.labels[first] = (train.labels[first] + 1) % 3
    fold = train.folds(run.config.influence.folds, run.config.influence.seed)
    after = [feature_confidence._predicted(folder, train, fold, k, strength, 0) for k in (0, 1)]
    assert before is not None
    np.testing.assert_allclose(after[0], before[first], atol=1e-6)
    assert np.abs(after[1] - before[fold == 1]).max() > 0.01


def features_by(network: Any, train: Any) -> NDArray[np.float32]:
    return np.asarray(network(train.tensors(np.arange(len(train)))).detach())


def test_the_projection_is_that_of_principal_components(
    copy: Callable[[], Run], tmp_path: Path
) -> None:
    run = copy()
    train = open_training(run)
    network = feature_confidence._fitted_axes(StageFolder(tmp_path, ""), train, 0)
    found = features_by(network, train).astype(np.float64)
    assert found.shape == (len(train), min(256, len(train)))
    # mean 0, uncorrelated, in falling order, of mean standard deviation 1
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-4)
    deviations = found.std(0, ddof=1)
    assert deviations.mean() == pytest.approx(1, abs=1e-3)
    leading = found[:, :20] / deviations[:20]
    np.testing.assert_allclose(leading.T @ leading / (len(found) - 1), np.eye(20), atol=0.02)
    assert (np.diff(deviations[:20]) < 0).all()
    again = feature_confidence._fitted_axes(StageFolder(tmp_path, ""), train, 0)
    np.testing.assert_array_equal(features_by(again, train), features_by(network, train))


@pytest.mark.parametrize("informative", [True, False])
def test_the_classifier_is_as_soft_as_the_folds_left_out_bear(
    informative: bool, tmp_path: Path
) -> None:
    """Labels that features tell get a soft classifier; with labels at random the stiffest is best."""
    rng = np.random.default_rng(0)
    n = SLICE + 200
    labels = rng.integers(0, 2, n)
    features = rng.normal(size=(n, 20))
    if informative:
        features[:, 0] += 6 * labels - 3
    stage = StageFolder(tmp_path, "")
    for start in (0, SLICE):
        write_array(stage / f"slice-{start:08d}.npy", features[start : start + SLICE])
    run: Any = SimpleNamespace(config=SimpleNamespace(influence=SimpleNamespace(folds=4, seed=0)))
    train: Any = Labelled(labels)
    work = feature_confidence._choose_strength(run, stage, train)
    try:
        while True:
            next(work)
    except StopIteration as end:
        strength, probabilities = end.value
    if informative:
        assert strength >= 0.1
        assert (probabilities.argmax(1) == labels).mean() > 0.99
    else:
        assert strength == feature_confidence._STRENGTHS[0]
        assert np.abs(probabilities - 0.5).max() < 0.1


class Labelled:
    """Labels in two classes."""

    classes = ("a", "b")

    def __init__(self, labels: NDArray[np.int64]) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def folds(self, count: int, seed: int) -> NDArray[np.int64]:
        return np.arange(len(self.labels)) % count


def test_however_often_it_is_stopped_it_ends_the_same(copy: Callable[[str], Run]) -> None:
    whole, cut = computed(copy("whole")), copy("cut")
    stops = 0
    while not FEATURE_CONFIDENCE.done(cut):
        stops += 1
        events = FEATURE_CONFIDENCE.compute(cut)
        for _, _event in zip(range(stops), events, strict=False):
            pass
        events.close()
    assert stops > 3
    scores = [np.load(FEATURE_CONFIDENCE.folder(r) / "score.npy") for r in (whole, cut)]
    np.testing.assert_array_equal(*scores)


def test_few_pictures_are_fitted_of_many_and_enough_of_a_rare_class(
    copy: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_confidence, "_FITTED", 40)
    monkeypatch.setattr(feature_confidence, "_FITTED_AXES", 30)
    monkeypatch.setattr(feature_confidence, "_FEWEST", 5)
    labels = np.repeat([0, 1, 2, 3], [100, 60, 8, 2])
    rows = np.arange(len(labels))[1:]
    some = feature_confidence._some_of_each_class(labels, rows, 0)
    assert (np.diff(some) > 0).all() and set(some) <= set(rows)
    assert np.bincount(labels[some]).tolist() == [round(99 * 40 / 169), round(60 * 40 / 169), 5, 2]
    assert (
        feature_confidence._some_of_each_class(labels, rows[:40], 0).tolist() == rows[:40].tolist()
    )
    fitted = []
    fit = feature_confidence.LogisticRegression.fit

    def counting(self: Any, x: Any, y: Any) -> Any:
        fitted.append(x.shape)
        return fit(self, x, y)

    monkeypatch.setattr(feature_confidence.LogisticRegression, "fit", counting)
    run = computed(copy("run"))
    assert {shape[1] for shape in fitted} == {30} and max(shape[0] for shape in fitted) <= 42
    assert feature_probabilities(run) is not None


def test_a_class_that_lies_in_one_fold_is_one_sentence(
    copy: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy()
    train = open_training(run)
    train.labels[:] = 0
    train.labels[5:7] = 1, 2
    monkeypatch.setattr(confidence, "open_training", lambda run: train)
    with pytest.raises(
        DiffInfError, match=r"Without fold \d+ the training split has no '(green|red)'"
    ):
        computed(run)
