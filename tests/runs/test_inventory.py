"""A complete stage says what it consists of, so that nothing gone or cut passes for a result."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffinf_core.records import DiffInfError
from diffinf_core.runs.inventory import complete_stages, damage_of, refuse_damaged
from diffinf_core.runs.run import StageFolder


@pytest.fixture
def stage(tmp_path: Path) -> StageFolder:
    """A complete stage of two files."""
    folder = tmp_path / "stages" / "data-0"
    (folder / "truth").mkdir(parents=True)
    (folder / "samples.csv").write_text("id,label\na,x\nb,y\n")
    (folder / "truth" / "truth.csv").write_text("id\na\n")
    (folder / ".x.csv.0-1.abc.part").write_text("of another process")
    made = StageFolder(folder, "0")
    made.finish({"n": 2}, [1])
    return made


def test_a_stage_is_as_it_was_written(stage: StageFolder, tmp_path: Path) -> None:
    assert not list(damage_of(stage.path, digests=True)) and stage.figures == {"n": 2}
    (stage / "rows.json").write_text("{}")  # made later from what is there
    refuse_damaged(tmp_path)
    assert complete_stages(tmp_path) == [stage.path] and not complete_stages(tmp_path / "none")


@pytest.mark.parametrize("name", ["samples.csv", "truth/truth.csv"])
@pytest.mark.parametrize("kind", ["gone", "empty", "cut", "same size"])
def test_every_damage_is_named(stage: StageFolder, tmp_path: Path, name: str, kind: str) -> None:
    file = stage / name
    whole = file.read_bytes()
    if kind == "gone":
        file.unlink()
    else:
        changed = {"empty": b"", "cut": whole[:-2], "same size": whole[:-2] + b"z\n"}[kind]
        file.write_bytes(changed)
    by_size, by_digest = list(damage_of(stage.path)), list(damage_of(stage.path, digests=True))
    assert [d.file for d in by_digest] == [file]
    if kind == "same size":
        assert not by_size
        refuse_damaged(tmp_path)
        return
    with pytest.raises(DiffInfError) as caught:
        refuse_damaged(tmp_path)
    assert str(file) in str(caught.value) and "diffinf doctor" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": [1]}', '{"files": {"a": 1}}'])
def test_a_mark_that_cannot_be_read_is_damage(stage: StageFolder, text: str) -> None:
    (stage / "done.json").write_text(text)
    assert [d.file.name for d in damage_of(stage.path)] == ["done.json"]


def test_a_stage_of_an_earlier_version_is_taken_as_it_is(stage: StageFolder) -> None:
    (stage / "done.json").write_text('{"n": 2}')
    (stage / "samples.csv").unlink()
    assert not list(damage_of(stage.path, digests=True))
