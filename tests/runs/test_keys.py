"""A release must not lose the runs of the one before: the keys of the default settings stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffinf_core.config import RunConfig, make_config
from diffinf_core.config.section import Section, later
from diffinf_core.engine.pipeline import PIPELINE
from diffinf_core.runs.run import Run

#: keys under the presets, with the versions of the code that they were recorded for
RECORDED = {
    "data": ([1], "15f80f9804fa1c8c"),
    "classifier": ([1], "24666c61df2e52c3"),
    "influence": ([1, 1], "1aa23c35ff102491"),
    "predictor": ([1], "64dca828b4abfd79"),
    "judge": ([1], "ab2e0902784c1816"),
}


def test_the_keys_of_the_demo_stand(tmp_path: Path) -> None:
    """Where one differs, a setting was added without ``later``, or a version of the code was raised.

    A raised version changes the keys from its stage on: record those again, with the version.
    """
    run = Run.prepare(tmp_path / "run", make_config("demo"))
    stages = {stage.name: stage for stage in PIPELINE}
    assert {name: (stages[name].code, stages[name].key(run)) for name in RECORDED} == RECORDED


class _Settings(Section):
    depth: int = 3
    width: int = later(8, description="of the network")


def test_a_setting_that_came_later_counts_once_it_is_set() -> None:
    assert _Settings().provenance() == {"depth": 3}
    assert _Settings(width=9).provenance() == {"depth": 3, "width": 9}
    assert _Settings(depth=4, width=9).provenance({"depth"}) == {"width": 9}


class _Whole(Section):
    inner: _Settings = _Settings()


def test_sections_within_a_section_are_known_by_the_same_rule() -> None:
    assert _Whole().provenance() == {"inner": {"depth": 3}}


@pytest.mark.parametrize("name", sorted(RunConfig.model_fields))
def test_every_other_setting_is_part_of_what_a_result_is_known_by(name: str) -> None:
    section = getattr(make_config("demo"), name)
    added = {
        field
        for field, info in type(section).model_fields.items()
        if info.json_schema_extra == {"later": True}
    }
    assert set(section.model_dump()) - set(section.provenance()) <= added
