"""Planted errors: what is planted, and the stage that trains on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from diffinf_core.config import SIGNALS, make_config
from diffinf_core.data.part import open_training
from diffinf_core.influence.confidence import CONFIDENCE, out_of_fold
from diffinf_core.influence.planted import PLANTED, best_score, planted_errors
from diffinf_core.influence.planting import FEWEST, _rounded, count_wrong, plant, transitions
from diffinf_core.influence.stage import INFLUENCE, ranking, read_scores, request
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run
from diffinf_core.runs.tables import read_table
from tests.influence.runs import with_influence

# ---------------------------------------------------------------- what is planted


def problem(n: int = 900, rate: float = 0.2, seed: int = 0) -> tuple[Any, Any, Any]:
    """Labels of which some went to the next class, right probabilities, and which labels are wrong."""
    draw = np.random.default_rng(seed)
    clean = draw.integers(0, 3, n)
    wrong = draw.random(n) < rate
    labels = np.where(wrong, (clean + 1) % 3, clean)
    probabilities = np.full((n, 3), 0.05)
    probabilities[np.arange(n), clean] = 0.9
    return labels, probabilities, wrong


def test_the_transitions_are_those_of_the_wrong_labels() -> None:
    labels, probabilities, wrong = problem()
    assert count_wrong(labels, probabilities) == (wrong.sum(), wrong.sum())
    found = transitions(labels, probabilities)
    assert found.sum() == pytest.approx(1) and (np.diag(found) == 0).all()
    clean = probabilities.argmax(1)
    for i in range(3):
        share = (wrong & (clean == i)).sum() / wrong.sum()
        assert found[i, (i + 1) % 3] == pytest.approx(0.9 * share + 0.1 / 6)
        assert found[i, (i + 2) % 3] == pytest.approx(0.1 / 6)
    even = transitions(clean, probabilities)
    assert even == pytest.approx((1 - np.eye(3)) / 6), "no wrong label: every pair alike"


def test_planted_are_certain_labels_in_the_strata_that_were_asked_for() -> None:
    labels, probabilities, wrong = problem()
    suspicion = 1 - probabilities[np.arange(len(labels)), labels]
    made = plant(labels, probabilities, suspicion, 0.05, 0)
    assert len(made.positions) == 45 and not wrong[made.positions].any()
    np.testing.assert_array_equal(np.flatnonzero(made.labels != labels), made.positions)
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (labels[made.positions], made.labels[made.positions]), 1)
    np.testing.assert_array_equal(
        counts, _rounded(0.05 * len(labels) * transitions(labels, probabilities))
    )
    again = plant(labels, probabilities, suspicion, 0.05, 0)
    np.testing.assert_array_equal(again.labels, made.labels)
    other = plant(labels, probabilities, suspicion, 0.05, 1)
    assert (other.labels != made.labels).any()


def test_too_few_planted_errors_are_refused_in_a_sentence() -> None:
    labels, probabilities, _ = problem(60)
    with pytest.raises(DiffInfError, match=rf"of 60 can be planted wrong, and {FEWEST} at least"):
        plant(labels, probabilities, np.zeros(60), 0.02, 0)


def test_quotas_are_rounded_to_their_total() -> None:
    assert _rounded(np.array([[0.0, 1.4], [1.4, 1.2]])).tolist() == [[0, 2], [1, 1]]


# ---------------------------------------------------------------- the stage


def planting(run: Run, **over: Any) -> Run:
    """The run with enough planted errors for so small a data set."""
    return with_influence(run, planted=0.15, **over)


@pytest.fixture(scope="module")
def planted(ranked: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A ranked run with planted errors. Read only."""
    import shutil

    root = tmp_path_factory.mktemp("planted") / "run"
    shutil.copytree(ranked.root, root)
    run = planting(Run.open(root))
    for _ in PLANTED.compute(run):
        pass
    return run


def test_every_score_ranks_the_planted_errors_and_nothing_of_the_run_changes(
    planted: Run, ranked: Run
) -> None:
    found = planted_errors(planted)
    assert list(found.scores) == list(SIGNALS) and len(found) == len(open_training(ranked))
    table = read_table(PLANTED.folder(planted) / "planting.csv", text=["id", "label"])
    given = open_training(planted)
    names = [given.classes[k] for k in given.labels]
    assert ((table["label"] != names) == (table["planted"] == 1)).all()
    pd.testing.assert_frame_equal(read_scores(planted), read_scores(ranked))
    for name in SIGNALS:
        recall = found.recall(name)
        assert recall[:, -1] == pytest.approx(1) and (np.diff(recall, axis=1) >= -1e-12).all()
    assert found.recall("mean_loss")[0, 49] > 0.5, "better than at random"
    assert best_score(planted) == found.best(SIGNALS)


def test_a_stopped_stage_goes_on_and_ends_the_same(
    copy: Callable[[str], Run], planted: Run
) -> None:
    whole = PLANTED.folder(planted)
    run = planting(copy("cut"))
    for stop in (3, 9, 12):
        events = PLANTED.compute(run)
        for _ in range(stop):
            next(events)
        events.close()
    assert not PLANTED.folder(run).done
    for _ in PLANTED.compute(run):
        pass
    for name in ("planting.csv", "scores.csv"):
        assert (PLANTED.folder(run) / name).read_bytes() == (whole / name).read_bytes()
    left = {k: v for k, v in PLANTED.folder(run).figures.items() if k != "seconds"}
    assert left == {k: v for k, v in whole.figures.items() if k != "seconds"}


def test_auto_ranks_by_the_best_score(planted: Run) -> None:
    auto = with_influence(planted, estimator="auto")
    assert INFLUENCE.folder(auto).done, "the planted errors are there already"
    best = with_influence(planted, estimator=best_score(planted))
    pd.testing.assert_frame_equal(ranking(auto), ranking(best))


def test_auto_plants_errors_where_there_are_none(copy: Callable[[str], Run]) -> None:
    run = planting(copy("auto"), estimator="auto")
    assert not INFLUENCE.folder(run).done
    with pytest.raises(DiffInfError, match=r"not ranked yet"):
        ranking(run)
    names = {event.stage for event in INFLUENCE.compute(run)}
    assert "planted" in names and INFLUENCE.folder(run).done
    assert ranking(run)["rank"].nunique() == len(ranking(run))


def test_what_is_planted_is_another_key(planted: Run) -> None:
    assert PLANTED.key(with_influence(planted, planted=0.1)) != PLANTED.key(planted)
    assert PLANTED.key(with_influence(planted, tau=30.0)) == PLANTED.key(planted)
    with pytest.raises(DiffInfError, match=r"No errors are planted in .* --planted"):
        planted_errors(with_influence(planted, planted=0.1))


def test_out_of_fold_confidence_joins_the_scores_once_it_is_there(
    copy: Callable[[str], Run],
) -> None:
    run = planting(copy("folds"), folds=2)
    for stage in (PLANTED, request("self_confidence")):
        for _ in stage.compute(run):
            pass
    found = planted_errors(run)
    score = found.scores["self_confidence"].to_numpy()
    others = np.delete(np.arange(len(found)), found.positions)
    stored = np.load(CONFIDENCE.folder(run) / "score.npy")
    np.testing.assert_allclose(score[others], stored[others], atol=1e-12)
    assert (score[found.positions] != stored[found.positions]).all()
    table = read_table(PLANTED.folder(run) / "planting.csv", text=["id", "label"])
    label = [open_training(run).classes.index(name) for name in table["label"]]
    np.testing.assert_array_equal(score, 1 - out_of_fold(run)[np.arange(len(found)), label])


def test_the_papers_presets_rank_by_the_papers_score() -> None:
    for name in ("paper-age", "paper-expression"):
        config = make_config(name, {"data": {"path": "FOLDER"}})
        assert config.influence.estimator == "self_influence"
    with pytest.raises(DiffInfError, match="unknown estimator"):
        make_config("demo", {"influence": {"estimator": "auto+aum"}})
