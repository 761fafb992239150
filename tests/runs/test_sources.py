"""Changed code never reuses stale results: who changes a stage's code says what it means for results."""

from __future__ import annotations

import ast
import json

import pytest

from diffinf_core.engine.pipeline import PIPELINE, every_stage
from diffinf_core.runs.stages import Stage
from tests.runs.sources import RECORD, files_of, module_of, source_hash, without_words


def named(stages: tuple[Stage, ...]) -> dict[str, Stage]:
    """Stages by name; a family stands for all its members."""
    return {stage.name: stage for stage in stages}


@pytest.mark.parametrize("name", sorted(named(every_stage())))
def test_changed_code_has_another_version(name: str) -> None:
    stage = named(every_stage())[name]
    recorded = json.loads(RECORD.read_text()).get(name)
    assert recorded is not None, f"record the stage {name!r}: python -m tests.runs.sources"
    same = recorded["source"] == source_hash(stage)
    if stage.version == recorded["version"]:
        assert same, (
            f"The code behind the stage {name!r} changed and its version did not. Raise version= in "
            f"{module_of(stage).__name__}, or leave it where results are bit-identical, and record the "
            "sources: python -m tests.runs.sources"
        )
    assert stage.version >= recorded["version"], "a version is never used twice"
    assert stage.version == recorded["version"], "record the sources: python -m tests.runs.sources"


def test_nothing_is_recorded_that_is_not_there() -> None:
    assert set(json.loads(RECORD.read_text())) == set(named(every_stage()))


def test_the_pipeline_is_in_the_order_of_its_inputs() -> None:
    before: list[Stage] = []
    for stage in PIPELINE:
        assert all(above in before for above in stage.inputs)
        before.append(stage)
    names = [stage.name for stage in PIPELINE]
    assert len(set(names)) == len(names)


def test_the_sources_of_a_stage_are_its_room_and_those_it_names() -> None:
    repair = named(every_stage())["repair"]
    rooms = {file.parts[file.parts.index("diffinf_core") + 1] for file in files_of(repair)}
    assert rooms == {"correction", "diffusion"}
    names = {file.name for file in files_of(repair)}
    assert {"guidance.py", "sampling.py", "network.py"} <= names


def test_words_and_layout_do_not_count_and_code_does() -> None:
    def of(text: str) -> str:
        return without_words(ast.parse(text))

    first = of('"""A."""\ndef f(x):\n    """B."""\n    return x + 1\n')
    assert first == of('"""Z."""\n\n\ndef f(x):  # why\n    return (x + 1)\n')
    assert first != of("def f(x):\n    return x + 2\n")
