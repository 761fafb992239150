"""Settings, checkpoints and cards of earlier versions, under the names they had then."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from diffinf_core.diffusion.settings import GeneratorTraining, with_current_names
from diffinf_core.weights.files import card_of, shipped


def test_former_names_of_settings_are_accepted() -> None:
    former = GeneratorTraining.model_validate(
        {"z_blank": 0.1, "decay_share": 0.2, "low_time_share": 0.7}
    )
    assert former == GeneratorTraining(z_dropout=0.1, decay_fraction=0.2, low_time_fraction=0.7)
    assert "z_blank" not in former.model_dump()


def test_a_setting_under_both_names_is_refused() -> None:
    with pytest.raises(ValidationError, match="z_blank is the former name of z_dropout"):
        GeneratorTraining.model_validate({"z_blank": 0.1, "z_dropout": 0.1})


def test_the_card_of_the_shipped_generator_is_readable() -> None:
    card = card_of(shipped("generator"))
    training = GeneratorTraining.model_validate(card["training"])
    assert training.steps == 4000 and training.low_time_fraction == 0.85


def test_a_state_gets_current_names_and_keeps_its_values() -> None:
    former = {
        "provenance": {"training": {"z_blank": 0.3, "seed": 1}, "about": {"told_age": 0.45}},
        "falls_at": 7,
        "step": 9,
    }
    current = {
        "provenance": {"training": {"z_dropout": 0.3, "seed": 1}, "about": {"age_fraction": 0.45}},
        "decay_from": 7,
        "step": 9,
    }
    assert with_current_names(former) == current
    assert with_current_names(current) == current
