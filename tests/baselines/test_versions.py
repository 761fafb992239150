"""Trainings of a method are kept under its version: changed code never stands beside what older code made."""

from __future__ import annotations

import json

import pytest

from diffinf_core.baselines import CONTROLS, METHODS
from tests.baselines.versions import RECORD, present, sources

COMMAND = "python -m tests.baselines.versions"


@pytest.mark.parametrize("name", [*METHODS, *CONTROLS])
def test_changed_code_has_another_version(name: str) -> None:
    recorded, now = json.loads(RECORD.read_text()).get(name), present()[name]
    assert recorded is not None, f"record the method {name!r}: {COMMAND}"
    assert now == recorded, (
        f"The code behind {name!r} changed. Raise its version if it gives other results, or that of every "
        f"method if the shared training does; record it: {COMMAND}."
    )


def test_the_shared_training_and_the_method_count() -> None:
    names = {file.rsplit("/", 1)[-1] for file in sources(METHODS["elr_plus"])}
    assert {"elr_plus.py", "training.py", "recipe.py", "network.py"} <= names
    assert not names & {"promix.py", "registry.py", "stage.py"}
