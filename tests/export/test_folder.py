"""An export appears whole, touches nothing that is not its own, and is alone at its target."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from diffinf_core.experiments.rounds import next_round
from diffinf_core.export import render
from diffinf_core.export.dataset import read_export
from diffinf_core.export.folder import export_folder
from diffinf_core.records import DiffInfError
from diffinf_core.runs.locks import exclusive
from diffinf_core.runs.run import Run
from tests.refined import made_up_run, plain, propose, sample_id, version_id, write_edit

ROOT = Path(__file__).parents[2]
_EXPORT = """
import os, signal, sys
from pathlib import Path
from diffinf_core.export.folder import export_folder
from diffinf_core.runs.run import Run
for event in export_folder(Run.open(Path(sys.argv[1])), Path(sys.argv[2])):
    print(event.note, flush=True)
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
    # named as ours, of a process that is gone, but without our mark
    alike = tmp_path / left.name.replace(".part", "x.part")
    alike.mkdir()
    (alike / "notes.txt").write_text("years of work")
    assert (left / ".diffinf-unfinished").is_file()
    for path in (other, living):
        (path / ".diffinf-unfinished").touch()
    export(run_copy, tmp_path / "out")
    assert not left.exists() and other.is_dir() and living.is_dir()
    assert (alike / "notes.txt").read_text() == "years of work"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "README.md", "images", "labels.csv", "manifest.json"
    ]  # fmt: skip
    read_export(tmp_path / "out").verify()


def test_two_exports_to_one_target_never_mix(run_copy: Path, tmp_path: Path) -> None:
    processes = [start(run_copy, tmp_path / "out") for _ in range(4)]
    said = [process.communicate()[0] for process in processes]
    done = [text for p, text in zip(processes, said, strict=True) if p.returncode == 0]
    # a later one may see that this very export is there
    wrote = [text for text in done if "writing pictures" in text]
    assert len(wrote) == 1 and all("nothing has changed" in t for t in done if t not in wrote)
    read_export(tmp_path / "out").verify()
    assert not list(tmp_path.glob(".out*"))


def test_a_second_export_is_told_who_writes_the_first(run_copy: Path, tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / ".out.diffinf-export.lock", "{holder}", keep=False),
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


def test_an_empty_target_and_a_link_to_one_are_filled(run_copy: Path, tmp_path: Path) -> None:
    (tmp_path / "empty {x}").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty {x}")
    (tmp_path / ".empty {x}.lock").write_text("another program's")
    export(run_copy, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    read_export(tmp_path / "empty {x}").verify()
    assert (tmp_path / ".empty {x}.lock").read_text() == "another program's"
    with pytest.raises(DiffInfError, match="is not empty"):
        list(export_folder(Run.open(run_copy), tmp_path / "link", "repaired"))


def test_an_empty_target_stays_where_the_export_fails(run_copy: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    events = export_folder(Run.open(run_copy), tmp_path / "out")
    next(events)
    events.close()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_target_that_is_taken_meanwhile_is_left_alone(run_copy: Path, tmp_path: Path) -> None:
    events = export_folder(Run.open(run_copy), tmp_path / "out")
    next(events)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("years of work")
    with pytest.raises(DiffInfError, match=r"Something else was written to .*out meanwhile"):
        list(events)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["notes.txt"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "run"]


def test_pictures_that_went_missing_are_counted(
    run_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = render.copy

    def lose(source: Path, target: Path) -> None:
        copy(source, target)
        for other in target.parent.iterdir():
            if other != target:
                other.unlink()

    monkeypatch.setattr(render, "copy", lose)
    with pytest.raises(DiffInfError, match=r"1 of \d+ pictures were written"):
        export(run_copy, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run"]


def test_a_round_exports_into_its_own_folder_and_no_other(tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run", ["happy", "sad"])
    write_edit(run, sample_id(2), version_id(1), plain(1, 1))
    propose(run, {sample_id(2): version_id(1)})
    made = next_round(run)
    assert made is not None
    other = made.root.with_name("2-00000000")
    other.mkdir()
    for target in (run.root / "stages" / "x", run.root / "rounds" / "..", other, other / "x"):
        with pytest.raises(DiffInfError, match=r"not for exports|is not empty"):
            list(export_folder(made, target))
    list(export_folder(made, made.root / "export"))
    read_export(made.root / "export").verify()


def contents(root: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_the_same_export_is_the_same_bytes_and_in_its_place_changes_nothing(tmp_path: Path) -> None:
    run = made_up_run(tmp_path / "run", ["happy", "sad"])
    write_edit(run, sample_id(2), version_id(1), plain(1, 1))
    propose(run, {sample_id(2): version_id(1)})
    for name in ("a", "b"):
        list(export_folder(run, tmp_path / name, "repaired"))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*")}
    (event,) = export_folder(run, tmp_path / "a", "repaired")
    assert event.note == "done already: nothing has changed"
    assert times == {p: p.stat().st_mtime_ns for p in (tmp_path / "a").rglob("*")}
    (tmp_path / "a" / "README.md").write_text("mine")
    with pytest.raises(DiffInfError, match=r"README\.md was changed after the export"):
        list(export_folder(run, tmp_path / "a", "repaired"))
    with pytest.raises(DiffInfError, match="is not empty"):
        list(export_folder(run, tmp_path / "b", "original"))
