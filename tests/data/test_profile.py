"""What a source brings is asked of its profile, and nowhere else by the source's name."""

from __future__ import annotations

import ast
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from diffinf_core.config import DataConfig, RunConfig
from diffinf_core.data import profile as module
from diffinf_core.data.part import open_training
from diffinf_core.data.profile import SOURCES, profile, profile_of
from diffinf_core.data.rendered import faces
from diffinf_core.data.split import fold_of
from diffinf_core.runs.run import Run
from diffinf_core.weights.files import shipped

PACKAGE = Path(module.__file__).parents[1]


def asks_for_source(text: str, names: tuple[str, ...] = ("demo", "folder")) -> list[int]:
    """Lines in which code compares something called source with a name, or matches on it."""
    lines = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.Match):
            asked = [node.subject]
        else:
            continue
        about = any(ast.unparse(side).rpartition(".")[2] == "source" for side in asked)
        values = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
        if about and set(names) & set(map(str, values)):
            lines.append(node.lineno)
    return lines


def test_no_room_asks_for_the_name_of_the_source() -> None:
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0]
        if room == "config":
            continue  # it checks what came
        # the pages and the command line ask a user for a folder's path
        names = ("demo",) if room in ("ui", "cli") else ("demo", "folder")
        assert asks_for_source(file.read_text(), names) == [], file


@pytest.mark.parametrize(
    "line",
    [
        'run.config.data.source == "demo"',
        '"demo" != config.source',
        'source in ("demo",)',
        'if data.source == "folder": pass',
        'match data.source:\n    case "demo": pass',
    ],
)
def test_a_question_for_the_source_is_seen(line: str) -> None:
    assert asks_for_source(line)


def test_every_source_of_the_configuration_has_a_profile() -> None:
    schema = DataConfig.model_json_schema()["properties"]["source"]
    assert set(SOURCES) == set(schema["enum"])


def test_rendered_faces_bring_everything(tmp_path: Path) -> None:
    for attribute, other, classes in (
        ("expression", "age", faces.EXPRESSIONS),
        ("age", "expression", faces.AGES),
    ):
        found = profile_of(Run(tmp_path, RunConfig(data=DataConfig(attribute=attribute))))
        assert found.label_column == attribute and found.classes == classes
        assert found.test_columns == (other,) and {attribute, other} <= found.hidden
        assert found.judge is not None and found.judge.classes == classes
        assert found.truth_known and found.clean_test and found.group_column == "identity"
        assert found.folder is None and found.render is not None and found.generator
        for name in (found.generator, found.judge.weights):
            assert shipped(name).exists()
    with pytest.raises(FrozenInstanceError):
        found.name = "other"  # type: ignore[misc]


def test_the_configured_order_of_classes_wins() -> None:
    order = ("sad", "happy", "surprised", "neutral")
    assert profile(DataConfig(classes=order)).classes == order


def test_a_folder_brings_what_its_user_configured_and_nothing_else(tmp_path: Path) -> None:
    data = DataConfig(
        source="folder",
        path=tmp_path,
        labels="ages.csv",
        label_column="years",
        group_column="person",
        classes=("a", "b"),
    )
    found = profile(data)
    assert (found.folder, found.name) == (tmp_path, str(tmp_path))
    assert (found.labels, found.label_column, found.group_column) == ("ages.csv", "years", "person")
    assert found.classes == ("a", "b")
    assert not (found.truth_known or found.clean_test or found.hidden or found.test_columns)
    assert found.render is found.generator is found.judge is None and not found.perceptors


def test_folds_keep_the_groups_of_the_profile(finished_run: Path) -> None:
    train = open_training(Run.open(finished_run))
    assert train.group_column == "identity" and train.groups is not None
    folds = train.folds(3, 11)
    assert (folds == fold_of(len(train), 3, 11, train.table["identity"].tolist())).all()
    # every rendered face is another person, so whole persons are dealt out as single pictures are
    assert len(np.unique(train.groups)) == len(train)
    assert (folds == fold_of(len(train), 3, 11)).all()
