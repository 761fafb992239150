"""What a generator is conditioned on: labels that the ranking trusts, and covariates from columns."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from diffinf_core.config import NoiseConfig
from diffinf_core.data.part import open_training
from diffinf_core.diffusion import conditions
from diffinf_core.diffusion.conditions import (
    covariate,
    covariate_indices,
    right_fractions,
    symmetric_right,
    trusted,
)
from diffinf_core.influence.stage import read_scores
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run


def test_the_right_fraction_of_a_small_class_is_the_lowest_under_symmetric_noise() -> None:
    rng = np.random.default_rng(0)
    true = np.repeat([0, 1, 2], [60_000, 55_000, 11_000])
    wrong = rng.random(len(true)) < 0.2
    given = np.where(wrong, (true + rng.integers(1, 3, len(true))) % 3, true)
    right = [(true == given)[given == k].mean() for k in range(3)]
    estimated = symmetric_right(np.bincount(given), 0.2)
    np.testing.assert_allclose(estimated, right, atol=0.01)
    assert estimated[2] < 0.5 < 0.8 < estimated[0]


def test_trust_is_a_fraction_of_each_class_the_least_suspicious_first(run_copy: Path) -> None:
    run = Run.open(run_copy)
    train = open_training(run)
    scores = read_scores(run)
    assert "self_confidence" not in scores
    half = trusted(run, train, 0.5)
    assert half.score == "mean_loss"
    for k in range(len(train.classes)):
        of_class = train.labels == k
        assert abs(half.trusted[of_class].sum() - 0.5 * of_class.sum()) <= 0.5
        kept, left = (scores["mean_loss"][of_class & m] for m in (half.trusted, ~half.trusted))
        assert kept.max() <= left.min()
    assert trusted(run, train, 1.0).trusted.all()
    right = right_fractions(run, train)
    np.testing.assert_allclose(
        right, symmetric_right(np.bincount(train.labels), run.config.noise.rate)
    )
    estimated = trusted(run, train, None).trusted
    for k, fraction in enumerate(right):
        of_class = train.labels == k
        assert estimated[of_class].mean() < fraction
    # nothing is trusted that nobody measured
    later = run.config.influence.model_copy(update={"checkpoint_rule": "all"})
    with pytest.raises(DiffInfError, match="not ranked yet"):
        trusted(Run(run_copy, run.config.model_copy(update={"influence": later})), train, 0.5)


def test_trust_takes_the_best_scores_and_each_group_of_a_covariate_alike(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(run_copy)
    train = open_training(run)
    n, first = len(train), train.labels == 0
    rng = np.random.default_rng(0)
    scores = pd.DataFrame({"mean_loss": rng.random(n), "self_confidence": rng.random(n)})
    monkeypatch.setattr(conditions, "read_scores", lambda run: scores)
    both = trusted(run, train, 0.5)
    assert both.score == "mean_loss and self_confidence"
    ranks = scores[first].rank().sum(1)
    assert ranks[both.trusted[first]].max() <= ranks[~both.trusted[first]].min()
    # frozen features tell by themselves, where they are known
    featured = scores.assign(feature_confidence=rng.random(n))
    with monkeypatch.context() as patch:
        patch.setattr(conditions, "read_scores", lambda run: featured)
        best = trusted(run, train, 0.5)
        assert trusted(run, train, 0.5, (), conditions.TRUST_SCORES[1:]).score == both.score
        with pytest.raises(DiffInfError, match="--by aum' computes it"):
            trusted(run, train, 0.5, (), [("aum",)])
    assert best.score == "feature_confidence"
    kept, left = (
        featured["feature_confidence"][first & of] for of in (best.trusted, ~best.trusted)
    )
    assert kept.max() <= left.min()
    # one group looks wrong throughout, as what is rare does
    train.table["group"] = np.where(np.arange(n) % 3 == 0, "rare", "usual")
    rare = (train.table["group"] == "rare").to_numpy()
    scores.loc[rare] += 1
    assert trusted(run, train, 0.5).trusted[first & rare].mean() < 0.3
    columns = [covariate(train.table, "group")]
    monkeypatch.setattr(conditions, "SMALLEST_GROUP", 30)
    within = trusted(run, train, 0.5, columns).trusted
    for k in range(len(train.classes)):
        for group in (rare, ~rare):
            mine = within[group & (train.labels == k)]
            assert abs(mine.sum() - len(mine) / 2) <= 0.5
    # a group of a handful is ranked with the others of its class, the large one by itself
    monkeypatch.setattr(conditions, "SMALLEST_GROUP", int(rare.sum()) + 1)
    mixed, alone = trusted(run, train, 0.5, columns).trusted, trusted(run, train, 0.5).trusted
    assert (mixed[rare] == alone[rare]).all() and mixed[rare].mean() < 0.3
    assert mixed[~rare].mean() == pytest.approx(0.5, abs=0.02)


def test_among_what_is_rare_in_a_class_more_labels_are_wrong() -> None:
    """Nine in ten circles are red and nine in ten squares blue; a fifth of the labels is swapped."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, 20_000)
    colour = np.where(rng.random(len(true)) < 0.9, true, 1 - true)
    wrong = rng.random(len(true)) < 0.2
    given = np.where(wrong, 1 - true, true)
    names = np.array(["red", "blue"])[colour]
    run: Any = SimpleNamespace(config=SimpleNamespace(noise=NoiseConfig(rate=0.2)))
    train: Any = Subset(given, ("circle", "square"), pd.DataFrame({"colour": names}))
    blue = np.flatnonzero(colour == 1)
    found = right_fractions(run, train, blue)
    want = [1 - wrong[blue][given[blue] == k].mean() for k in (0, 1)]
    np.testing.assert_allclose(found, want, atol=0.03)
    assert found[0] < 0.35 < 0.95 < found[1]


class Subset:
    """A training set without pictures."""

    def __init__(
        self, labels: NDArray[np.int64], classes: tuple[str, ...], table: pd.DataFrame
    ) -> None:
        self.labels, self.classes, self.table = labels, classes, table

    def __len__(self) -> int:
        return len(self.labels)


def test_without_planted_noise_out_of_fold_probabilities_tell_the_right_fraction(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(run_copy)
    train = open_training(run)
    clean = run.config.model_copy(update={"noise": NoiseConfig(rate=0.0)})
    unplanted: Any = SimpleNamespace(config=clean)
    monkeypatch.setattr(conditions, "feature_probabilities", lambda run: None)
    monkeypatch.setattr(conditions, "out_of_fold", lambda run: None)
    assert right_fractions(unplanted, train).tolist() == [0.9] * len(train.classes)
    rng = np.random.default_rng(0)
    shown = np.where(rng.random(len(train)) < 0.25, (train.labels + 1) % 2, train.labels)
    sure = np.where(shown[:, None] == np.arange(len(train.classes)), 0.94, 0.0) + 0.02
    sure /= sure.sum(1, keepdims=True)
    for name in ("out_of_fold", "feature_probabilities"):  # the latter go before
        monkeypatch.setattr(conditions, name, lambda run: sure)
        estimated = right_fractions(unplanted, train)
        for k in range(2):
            assert abs(estimated[k] - (shown == k)[train.labels == k].mean()) < 0.05
        monkeypatch.setattr(conditions, name, lambda run: 1 - sure)


def test_covariates_come_from_columns() -> None:
    table = pd.DataFrame({"sex": ["m", "f", "", "m"], "age": list("abcd"), "one": ["x"] * 4})
    sex = covariate(table, "sex")
    assert sex.classes == ("f", "m") and sex.covariate
    assert covariate_indices(table, [sex])[:, 0].tolist() == [1, 0, -1, 1]
    assert covariate_indices(table[["age"]], [sex])[:, 0].tolist() == [-1] * 4
    with pytest.raises(DiffInfError, match="no column 'race'"):
        covariate(table, "race")
    with pytest.raises(DiffInfError, match="1 groups"):
        covariate(table, "one")
