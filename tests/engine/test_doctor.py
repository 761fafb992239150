"""A run with a damaged file: nothing passes for a result, one sentence says what to do, and that works."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from diffinf_core.cli.app import app
from diffinf_core.config import change
from diffinf_core.engine import open_run
from diffinf_core.engine.doctor import diagnose, mend
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import write_png
from diffinf_core.runs.run import Run


def cut(file: Path) -> None:
    """Lose the second half of a file."""
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])


def emptied(file: Path) -> None:
    """Lose all of a file but its name."""
    file.write_bytes(b"")


def flipped(file: Path) -> None:
    """Change a byte in the middle of a file, whose size stays."""
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 0x55
    file.write_bytes(bytes(whole))


def edited(root: Path) -> dict[str, np.ndarray]:
    """Every stored picture, (S, S, 3), in levels."""
    files = sorted((root / "edits").rglob("*.png"))
    return {str(f.relative_to(root)): np.asarray(Image.open(f)).astype(int) for f in files}


def contents(root: Path) -> dict[str, str]:
    """The digest of every result of the stages of a run."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((root / "stages").rglob("*"))
        if path.suffix in (".csv", ".npy", ".yaml")
        or path.name in ("versions.json", "classes.json")
    }


def test_a_finished_run_is_as_it_was_written(finished_run: Path) -> None:
    found = diagnose(finished_run)
    assert not found.findings and not found.unverified and found.stages >= 6 and found.edits > 0
    with pytest.raises(DiffInfError, match="not a run folder"):
        diagnose(finished_run / "stages")


@pytest.mark.parametrize(
    "name,damage",
    [
        ("stages/data-*/samples.csv", cut),
        ("stages/data-*/images.npy", cut),
        ("stages/influence-*/scores.csv", Path.unlink),
        ("stages/repair-*/versions.json", emptied),
        ("stages/classifier-*/done.json", emptied),
    ],
)
def test_a_damaged_stage_is_named_by_every_command(
    run_copy: Path, name: str, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    file = next(run_copy.glob(name))
    damage(file)
    for command in (
        ["rank", str(run_copy)],
        ["report", str(run_copy)],
        ["run", "--out", str(run_copy)],
        ["export", str(run_copy), "--out", str(tmp_path / "out")],
    ):
        caught = CliRunner().invoke(app, command).exception
        assert isinstance(caught, DiffInfError), command
        assert str(file) in str(caught) and "--repair" in str(caught) and "\n" not in str(caught)
    assert not (tmp_path / "out").exists()
    assert [f.mendable for f in diagnose(run_copy).findings] == [True]


def test_all_that_can_be_is_computed_again(run_copy: Path) -> None:
    """Stages bit for bit; edits but for a level, as they are made in other batches than at first."""
    before, pictures = contents(run_copy), edited(run_copy)
    edits = sorted(run_copy.glob("edits/*/*/"))
    cut(next(run_copy.glob("stages/data-*/images.npy")))
    cut(next(run_copy.glob("stages/data-*/samples.csv")))
    next(run_copy.glob("stages/influence-*/scores.csv")).unlink()
    flipped(edits[0] / "edit.png")
    emptied(edits[1] / "edit.json")
    (edits[2] / "reconstruction.png").unlink()
    emptied(run_copy / "config.yaml")
    with pytest.raises(DiffInfError, match=r"config\.yaml is empty"):
        Run.open(run_copy)
    found = diagnose(run_copy)
    assert len(found.findings) == 7 and all(f.mendable for f in found.findings)
    assert mend(run_copy).result().findings == []
    after = contents(run_copy)
    assert after == before
    for name, picture in edited(run_copy).items():
        assert np.abs(picture - pictures[name]).max() <= 1
    open_run(run_copy).export(run_copy.parent / "out").result().verify()


def test_what_cannot_be_computed_again_is_said(run_copy: Path) -> None:
    opened = open_run(run_copy)
    sample = str(opened.queue.index[0])
    made = [e for e in opened.repair.edit(sample, {"w_id": 7.0}) if hasattr(e, "version")][-1]
    folder = run_copy / "edits" / sample / made.version
    picture = (folder / "edit.png").read_bytes()
    cut(folder / "edit.png")
    assert mend(run_copy).result().findings == [], "the settings of a reviewer's version are kept"
    assert (folder / "edit.png").read_bytes() == picture
    emptied(folder / "edit.json")
    assert [f.mendable for f in mend(run_copy).result().findings] == [False]
    result = CliRunner().invoke(app, ["doctor", str(run_copy)])
    assert "cannot be: " in result.stdout and isinstance(result.exception, DiffInfError)


def test_an_accepted_version_of_earlier_settings_is_never_removed(run_copy: Path) -> None:
    opened = open_run(run_copy)
    row = opened.queue.iloc[0]
    opened.review.decide(row["id"], "accept", "ann", version=row["version"])
    folder = run_copy / "edits" / row["id"] / row["version"]
    elsewhere = opened.pictures.edit(row["id"], row["version"]) ^ 1  # another processor's last bit
    write_png(folder / "edit.png", elsewhere)
    picture = (folder / "edit.png").read_bytes()
    run = Run.prepare(run_copy, change(opened.config, {"repair": {"w_id": 3.0}}))
    open_run(run_copy, run.config).compute().result()
    emptied(folder / "reconstruction.png")
    assert mend(run_copy).result().findings == [], "made again under the settings of its time"
    assert (folder / "edit.png").read_bytes() == picture
    emptied(folder / "edit.json")
    kept = {p.name for p in folder.iterdir()}
    found = mend(run_copy).result().findings
    assert [f.mendable for f in found] == [False] and kept == {p.name for p in folder.iterdir()}


@pytest.mark.parametrize("damage", [cut, emptied, Path.unlink])
def test_a_damaged_edit_is_neither_shown_nor_exported(
    run_copy: Path, damage: Callable[[Path], None]
) -> None:
    opened = open_run(run_copy)
    row = opened.queue.iloc[0]
    opened.review.decide(row["id"], "accept", "ann", version=row["version"])
    damage(run_copy / "edits" / row["id"] / row["version"] / "edit.png")
    with pytest.raises(DiffInfError):
        opened.pictures.png("edit", row["id"], row["version"])
    target = run_copy.parent / "out"
    with pytest.raises(DiffInfError, match=r"edit\.png"):
        opened.export(target).result()
    assert not target.exists()


def test_settings_and_an_edit_damaged_at_once_are_both_named(run_copy: Path) -> None:
    emptied(run_copy / "config.yaml")
    (run_copy / ".config.yaml").unlink(missing_ok=True)
    (edit, *_) = sorted((run_copy / "edits").glob("*/*/edit.json"))
    cut(edit)
    found = [finding.text for finding in diagnose(run_copy).findings]
    assert any("config.yaml is empty" in text for text in found)
    assert any(str(edit.parent) in text for text in found)
