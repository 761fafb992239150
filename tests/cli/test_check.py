"""The verb check: the settings of run, a report, and an exit code that says whether a run would begin."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from diffinf_core.cli import main
from tests.data.test_copies import scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty scenes in folders of two classes, one of them twice."""
    for i in range(20):
        target = tmp_path / "faces" / "ab"[i % 2] / f"{i:02d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        scene(i % 19).save(target)
    return tmp_path / "faces"


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["diffinf", "check", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_report_is_written_whether_or_not_a_run_would_begin(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = folder.parent / "check.html"
    assert run(monkeypatch, f"folders:{folder}", "--report", str(page)) == 0
    assert "A run can begin: 20 readable pictures in 2 classes" in page.read_text()
    said = capsys.readouterr()
    assert "Taken for one folder per class." in said.out and "a: 10 (" in said.out
    assert "Equal files: 2." in said.out and "Copies with different labels: 1." in said.out
    (folder / "a" / "broken.png").write_bytes(b"no")
    assert run(monkeypatch, str(folder), "--report", str(page)) == 2
    assert "A run refuses this data set for 1 problem" in page.read_text()
    said = capsys.readouterr()
    assert "bad: a/broken.png: not a readable picture" in said.out
    assert said.err.strip().splitlines()[-1].endswith("has 1 problem, listed above.")


def test_settings_are_those_of_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a" / "broken.png").write_bytes(b"no")
    words = ("--skip-bad", "--set", "data.image_size=128", "--set", "split.copies=anywhere")
    monkeypatch.setenv("DIFFINF_WEIGHTS", str(folder.parent / "weights"))
    named = ("--set", "generator.first_stage=taef2")
    assert run(monkeypatch, str(folder), "--preset", "photographs", *words, *named) == 0
    said = capsys.readouterr().out
    assert "No generator can be trained for the repair. The first stage taef2 is not in" in said
    assert "Unreadable pictures: 1. A run leaves them out" in said
    assert "Pictures smaller than 128 pixels: 20." in said
    assert "--set split.copies=together keeps them in one" in said
    assert run(monkeypatch, str(folder), "--classes", "a,b,c", "--labels", "other.csv") == 2
    assert "holds no table other.csv" in capsys.readouterr().err
