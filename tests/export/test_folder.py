"""An export appears whole, touches nothing that is not its own, and is alone at its target."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from diffinf_core.export.dataset import read_export
from diffinf_core.export.folder import export_folder
from diffinf_core.records import DiffInfError
from diffinf_core.runs.locks import exclusive
from diffinf_core.runs.run import Run

ROOT = Path(__file__).parents[2]
_EXPORT = """
import os, signal, sys
from pathlib import Path
from diffinf_core.export.folder import export_folder
from diffinf_core.runs.run import Run
for event in export_folder(Run.open(Path(sys.argv[1])), Path(sys.argv[2])):
    print(event.done, flush=True)
    if len(sys.argv) > 3:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def export(run: Path, target: Path) -> None:
    """Export a run."""
    for _ in export_folder(Run.open(run), target):
        pass


def start(run: Path, target: Path, *more: str) -> subprocess.Popen[str]:
    """Export in a process of its own; with more arguments it is killed at its first event."""
    command = [sys.executable, "-c", _EXPORT, str(run), str(target), *more]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE)


def test_a_folder_beside_the_target_that_is_not_ours_is_never_touched(
    run_copy: Path, tmp_path: Path
) -> None:
    mine = tmp_path / ".out.export"
    mine.mkdir()
    (mine / "notes.txt").write_text("years of work")
    alike = tmp_path / ".out.part"
    alike.mkdir()
    export(run_copy, tmp_path / "out")
    assert (mine / "notes.txt").read_text() == "years of work" and alike.is_dir()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".out.export", ".out.part", "out", "run"]


def test_what_a_killed_export_left_goes_with_the_next_and_nothing_else(
    run_copy: Path, tmp_path: Path
) -> None:
    killed = start(run_copy, tmp_path / "out", "die")
    assert killed.stdout is not None
    killed.stdout.read()
    assert killed.wait() == -signal.SIGKILL
    (left,) = tmp_path.glob(".out.*.part")
    other = tmp_path / left.name.replace(".out.", ".other.")
    other.mkdir()  # of another target
    living = tmp_path / left.name.replace(f"-{killed.pid}.", f"-{os.getpid()}.")
    living.mkdir()
    export(run_copy, tmp_path / "out")
    assert not left.exists() and other.is_dir() and living.is_dir()
    read_export(tmp_path / "out").verify()


def test_two_exports_to_one_target_never_mix(run_copy: Path, tmp_path: Path) -> None:
    processes = [start(run_copy, tmp_path / "out") for _ in range(4)]
    for process in processes:
        process.communicate()
    done = [p for p in processes if p.returncode == 0]
    assert len(done) == 1
    read_export(tmp_path / "out").verify()
    assert not list(tmp_path.glob(".out*"))


def test_a_second_export_is_told_who_writes_the_first(run_copy: Path, tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / ".out.lock", "{holder}", keep=False),
        pytest.raises(DiffInfError, match=rf"Another export is writing .*out \(.*{os.getpid()}"),
    ):
        export(run_copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["", "stages", "stages/new", "edits/x", "review", "faces"])
def test_a_target_where_the_run_keeps_its_files_is_refused(run_copy: Path, name: str) -> None:
    target = run_copy / name
    before = sorted(run_copy.rglob("*"))
    with pytest.raises(DiffInfError, match=r"not for exports|is not empty"):
        export(run_copy, target)
    assert sorted(run_copy.rglob("*")) == before
    export(run_copy, run_copy / "export")


def test_a_picture_that_is_missing_leaves_nothing_behind(run_copy: Path, tmp_path: Path) -> None:
    picture = next(iter((run_copy / "faces").rglob("*.png")))
    events = export_folder(Run.open(run_copy), tmp_path / "out")
    names = {p.name for p in (run_copy / "faces").rglob("*.png")}
    for file in (run_copy / "faces").rglob("*.png"):
        file.unlink()
    assert picture.name in names
    with pytest.raises(DiffInfError, match="is missing; the export was not written"):
        list(events)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_a_cancelled_export_leaves_nothing_behind(run_copy: Path, tmp_path: Path) -> None:
    events = export_folder(Run.open(run_copy), tmp_path / "out")
    next(events)
    events.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]
