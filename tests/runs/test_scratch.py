"""Temporary folders are private, and do not outlive the process that had them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from diffinf_core.runs.scratch import scratch_folder

_HOLD = """
import sys
from pathlib import Path
from diffinf_core.runs.scratch import scratch_folder
held = scratch_folder()
(Path(held.name) / "face.png").write_bytes(b"x")
print(held.name, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def held_by_another() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_private_and_goes_with_its_block(tmp_path: Path) -> None:
    with scratch_folder() as name, scratch_folder() as other:
        assert name != other and tmp_path in Path(name).parents
        for folder in (Path(name), Path(name).parent):
            assert folder.stat().st_mode & 0o077 == 0
    assert not Path(name).exists()


def test_what_a_killed_process_left_goes_with_the_next_and_what_others_hold_stays() -> None:
    living, its = held_by_another()
    killed, left = held_by_another()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert left.exists() and left.parent == its.parent
    with scratch_folder():
        assert not left.exists() and (its / "face.png").exists()
    living.communicate("")
    assert not its.exists()


def test_a_folder_that_others_could_have_made_is_not_used(tmp_path: Path) -> None:
    home = tmp_path / f"diffinf-{os.getuid()}"
    home.mkdir()
    home.chmod(0o777)
    with scratch_folder() as name:
        assert home not in Path(name).parents
    home.rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    home.symlink_to(elsewhere, target_is_directory=True)
    with scratch_folder() as name:
        assert elsewhere.resolve() not in Path(name).resolve().parents
        assert Path(name).stat().st_mode & 0o077 == 0
