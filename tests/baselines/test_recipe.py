"""Schedules by hand, and optimisers that follow them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diffinf_core.baselines import METHODS, Recipe
from diffinf_core.baselines.views import strong_view, weak_view
from diffinf_core.records import DiffInfError


def rates(recipe: Recipe, *epochs: int) -> list[float]:
    """Rates of epochs."""
    return [recipe.rate(e) for e in epochs]


def test_schedules() -> None:
    assert rates(Recipe(), 0, 50, 99) == [1e-4] * 3
    steps = Recipe(epochs=200, learning_rate=0.02, schedule="steps", milestones=(150, 180))
    assert rates(steps, 0, 149, 150, 180) == pytest.approx([0.02, 0.02, 0.002, 0.0002])
    restarts = Recipe(learning_rate=1, schedule="restarts", milestones=(10,), floor=0.05)
    assert rates(restarts, 0, 5, 10, 15) == pytest.approx([1, 0.525, 1, 0.525])
    linear = Recipe(epochs=200, learning_rate=1e-3, schedule="linear", milestones=(80,))
    assert rates(linear, 0, 80, 140, 199) == pytest.approx([1e-3, 1e-3, 5e-4, 1e-3 / 120])
    cosine = Recipe(epochs=10, learning_rate=1, schedule="cosine")
    assert rates(cosine, 0, 5, 10) == pytest.approx([1, 0.5, 0])


def test_the_optimiser_follows_the_recipe() -> None:
    coteaching = METHODS["coteaching"].source_recipe
    assert coteaching is not None
    adam = coteaching.build_optimiser(nn.Linear(1, 1).parameters())
    coteaching.tune(adam, 79)
    assert adam.param_groups[0]["betas"] == (0.9, 0.999)
    coteaching.tune(adam, 140)
    assert adam.param_groups[0]["betas"] == (0.1, 0.999)
    assert adam.param_groups[0]["lr"] == pytest.approx(5e-4)
    sgd = Recipe(optimiser="sgd", learning_rate=0.1, weight_decay=5e-4)
    optimiser = sgd.build_optimiser(nn.Linear(1, 1).parameters())
    sgd.tune(optimiser, 0)
    group = optimiser.param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.9, 5e-4)


@pytest.mark.parametrize(
    "over", [{"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0}, {"schedule": "steps"}]
)
def test_a_recipe_that_cannot_be_trained_is_refused(over: dict) -> None:
    with pytest.raises(DiffInfError, match=r"need at least|needs milestones"):
        Recipe(**over)


def test_the_weak_view_flips_and_shifts_each_picture_by_itself() -> None:
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 50).expand(64, 3, 50, 50).contiguous()
    y = weak_view(x)
    assert y.shape == x.shape
    rising = y[:, 0, 0, -1] > y[:, 0, 0, 0]
    assert 0 < rising.sum() < 64
    shifts = {round(v) for v in ((y[rising][:, 0, 25, 25] - x[0, 0, 25, 25]) * 24.5).tolist()}
    assert shifts <= set(range(-2, 3)) and len(shifts) > 2


def test_the_strong_view_stays_in_range_and_changes_more() -> None:
    torch.manual_seed(0)
    x = torch.rand(8, 3, 32, 32) * 2 - 1
    weak, strong = weak_view(x), strong_view(x)
    assert strong.shape == x.shape and strong.abs().max() <= 1
    assert (strong == 0).flatten(1).float().mean(1).min() > 0.01, "no rectangle is erased"
    assert not torch.equal(weak, strong)
