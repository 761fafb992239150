"""The scores that are computed on request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diffinf_core.config import ON_REQUEST, InfluenceConfig
from diffinf_core.data.part import open_training
from diffinf_core.data.truth import open_truth
from diffinf_core.influence import confidence, curvature_score, stage
from diffinf_core.influence.confidence import CONFIDENCE
from diffinf_core.influence.gradients import GradientNorms
from diffinf_core.influence.scoring import GRADIENTS
from diffinf_core.influence.stage import CURVATURE, INFLUENCE, ranking, read_scores, request
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run
from tests.influence.runs import forget, with_influence

# ---------------------------------------------------------------- on request


def test_scores_on_request_are_computed_once_and_join_the_table(
    copy: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy()
    truth = open_truth(run, "benchmark").training()
    assert truth is not None
    assert not set(ON_REQUEST) & set(read_scores(run))
    for name in ON_REQUEST:
        asked = with_influence(run, estimator=name, folds=3, curvature_samples=64)
        assert not INFLUENCE.folder(asked).done
        with pytest.raises(DiffInfError, match="not ranked yet"):
            ranking(asked)
        for _ in INFLUENCE.compute(asked):
            pass
        score = read_scores(asked)[name].to_numpy()
        assert np.isfinite(score).all() and len(np.unique(score)) > len(score) // 2
        above = (score[truth[1]][:, None] > score[~truth[1]]).mean()
        least = 0.55 if name == "inverse_curvature" else 0.8
        assert above > least, f"{name}: {above:.2f}"
        np.testing.assert_array_equal(ranking(asked)["score"], score)
    assert INFLUENCE.key(run) == INFLUENCE.key(asked), "one folder for all of them"
    monkeypatch.setattr(stage, "CONFIDENCE", replace(stage.CONFIDENCE, work=None))
    both = with_influence(
        run, estimator="self_confidence+inverse_curvature", folds=3, curvature_samples=64
    )
    assert INFLUENCE.folder(both).done, "nothing is trained or scored again"
    assert ranking(both)["score"].between(0, 1).all()


def test_a_stopped_fold_goes_on_and_ends_the_same(copy: Callable[[str], Run]) -> None:
    whole, cut = (
        with_influence(copy(name), estimator="self_confidence", folds=2) for name in ("a", "b")
    )
    for _ in request("self_confidence").compute(whole):
        pass
    events = request("self_confidence").compute(cut)
    for event in events:
        if "fold 2" in event.note:
            break
    events.close()
    for _ in request("self_confidence").compute(cut):
        pass
    scores = [np.load(CONFIDENCE.folder(r) / "score.npy") for r in (whole, cut)]
    np.testing.assert_array_equal(*scores)


def test_an_estimator_that_was_not_asked_for_says_how_to_get_it(ranked: Run) -> None:
    with pytest.raises(DiffInfError, match=r"not computed yet.*--by self_confidence"):
        ranking(ranked, InfluenceConfig(estimator="self_confidence"))


def test_bfloat16_is_another_key_and_close(copy: Callable[[], Run]) -> None:
    run = copy()
    low = with_influence(run, precision="bfloat16")
    assert INFLUENCE.key(low) != INFLUENCE.key(run)
    for _ in INFLUENCE.compute(low):
        pass
    exact, found = read_scores(run)["self_influence"], read_scores(low)["self_influence"]
    error = ((found - exact).abs() / exact).median()
    assert 0 < error < 0.06


def test_a_stopped_curvature_goes_on_and_ends_the_same(
    copy: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curvature_score, "_SAVE_SECONDS", 0)
    scores = []
    for stop in (0, 2, 5, 8, 12):
        run = with_influence(copy(str(stop)), estimator="inverse_curvature", curvature_samples=64)
        events = request("inverse_curvature").compute(run)
        for _ in range(stop):
            next(events)
        events.close()
        for _ in request("inverse_curvature").compute(run):
            pass
        scores.append(np.load(CURVATURE.folder(run) / "score.npy"))
    for other in scores[1:]:
        np.testing.assert_array_equal(other, scores[0])


def test_folds_follow_the_rate_of_the_whole_training_and_keep_groups_together(
    copy: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy()
    run = with_influence(run, estimator="self_confidence", folds=2)
    train = open_training(run)
    train.table["person"] = [str(i // 5) for i in range(len(train))]
    folds = replace(train, group_column="person").folds(2, 0)
    assert train.table.groupby("person").apply(lambda t: len(set(folds[t.index]))).max() == 1
    seen: list[Any] = []

    def training(data: Any, classes: int, config: Any, *_: Any, **more: Any) -> Any:
        seen.append((config.epochs, more["stop_after"]))
        raise DiffInfError("enough")

    monkeypatch.setattr(confidence, "train_classifier", training)
    with pytest.raises(DiffInfError, match="enough"):
        for _ in request("self_confidence").compute(run):
            pass
    assert seen == [(4, 4)]
    with pytest.raises(DiffInfError, match="folds cannot be made"):
        train.folds(1000, 0)


def test_a_checkpoint_that_cannot_be_tapped_is_said(
    copy: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy()
    forget(run)
    monkeypatch.setattr(GradientNorms, "_agrees", lambda *_: False)
    notes = [event.note for event in INFLUENCE.compute(run)]
    assert "slow, because the self-check against autograd failed" in notes[-2]
    assert "self-check" in GRADIENTS.folder(run).figures["fallback"]
