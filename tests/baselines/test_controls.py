"""Controls as methods: names, needs, and the one that makes its own choice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffinf_core.baselines import CONTROLS, METHODS, Method, Recipe, make_method, register
from diffinf_core.records import DiffInfError
from tests.baselines.blobs import Points, blob_task, equal, train

SHORT = Recipe(epochs=2, learning_rate=5e-3, batch_size=32)


def test_every_control_says_what_it_is_and_is_no_method() -> None:
    assert not set(CONTROLS) & set(METHODS)
    for name, kind in CONTROLS.items():
        assert kind.name == name and kind.title and kind.paper == "" and kind.cost >= 1
        assert isinstance(make_method(name), kind)
        assert not (kind.needs.noise_rate or kind.needs.ranking)
    with pytest.raises(DiffInfError, match="already"):

        @register
        class Other(Method):
            name = "oracle_removal"
            title = "Other"


def test_random_removal_drops_a_fraction_of_its_own_under_each_seed(tmp_path: Path) -> None:
    method = make_method("random_removal", fraction=0.25)
    task, wrong, _ = blob_task(200, recipe=SHORT)
    kept = []
    for seed in (0, 1):
        outcome = method.scores(train(method, replace(task, seed=seed), tmp_path / str(seed)))
        assert outcome is not None and outcome.kept is not None and outcome.suspicion is None
        assert (~outcome.kept).sum() == 50
        kept.append(outcome.kept)
    assert (kept[0] != kept[1]).any()
    # 50 of 200 at random, 60 of which are wrong: hypergeometric with mean 15 and deviation 2.8
    assert abs(wrong[~kept[0]].sum() - 15) < 4 * 2.8
    train(method, task, tmp_path / "again")
    assert equal(tmp_path / "0" / "final.pt", tmp_path / "again" / "final.pt")


@pytest.mark.parametrize("name", [n for n, kind in CONTROLS.items() if kind.needs.refined])
def test_a_control_trains_plainly_on_its_set(name: str, tmp_path: Path) -> None:
    task, _, _ = blob_task(80, recipe=SHORT)
    method = make_method(name)
    assert task.refined is not None
    train(method, task, tmp_path / "control")
    train(make_method("noisy"), replace(task, data=task.refined), tmp_path / "plain")
    assert equal(tmp_path / "control" / "final.pt", tmp_path / "plain" / "final.pt")
    with pytest.raises(DiffInfError, match="trains on a set of its own and was given none"):
        train(method, replace(task, refined=None), tmp_path / "none")


@pytest.mark.parametrize("name", [*METHODS, *CONTROLS])
@pytest.mark.parametrize("n", [2, 3, 5, 9])
def test_a_handful_of_samples_trains_or_is_refused_in_one_sentence(
    name: str, n: int, tmp_path: Path
) -> None:
    import torch

    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(n))
    data = Points(x, np.arange(n) % 2)
    task, _, _ = blob_task(30, classes=2, recipe=SHORT)
    few = replace(task, data=data, refined=data, ranking=np.arange(float(n)))
    method = make_method(name)
    try:
        folder = train(method, few, tmp_path)
    except DiffInfError as error:
        assert "\n" not in str(error) and method.title in str(error)
    else:
        assert np.isfinite(method.predictions(few, folder, data)).all()
