"""One holder at a time, on one host and on several that share a folder."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import pytest

from diffinf_core.records import DiffInfError
from diffinf_core.runs import locks, writer
from diffinf_core.runs.locks import SILENT, exclusive


def test_the_refusal_of_a_lock_says_who_holds_it(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock", "Busy{holder}."):
        with (
            pytest.raises(DiffInfError, match=rf"^Busy \(.*process {os.getpid()} on .* since 2"),
            exclusive(tmp_path / "lock", "Busy{holder}."),
        ):
            pytest.fail("two hold one lock")
        assert (tmp_path / "lock").exists()
    with exclusive(tmp_path / "lock", "Busy{holder}.", keep=False):
        pass
    assert not (tmp_path / "lock").exists()


def left_by(file: Path, boot: str, silent: float) -> bytes:
    """A lock that its holder has not given back and last touched ``silent`` seconds ago."""
    held = {
        "host": "elsewhere",
        "boot": boot,
        "pid": os.getpid(),
        "command": "diffinf run",
        "since": "1",
    }
    file.write_text(json.dumps(held))
    then = time.time() - silent
    os.utime(file, (then, then))
    return file.read_bytes()


def test_a_lock_of_another_host_counts_although_its_process_is_none_here(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    before = left_by(file, "another boot", SILENT / 2)
    refused = pytest.raises(DiffInfError, match=r"diffinf run, process \d+ on elsewhere since")
    with refused, exclusive(file, "Busy{holder}."):
        pytest.fail("two hosts hold one lock")
    assert file.read_bytes() == before, "it stays the other's"
    left_by(file, "another boot", SILENT + 60)
    with exclusive(file, "Busy{holder}."):
        assert json.loads(file.read_text())["pid"] == os.getpid()
    assert file.read_bytes() == b"", "given back"


def test_a_lock_that_a_dead_process_of_this_host_left_is_free_at_once(tmp_path: Path) -> None:
    left_by(tmp_path / "lock", writer.boot_id(), 0)
    with exclusive(tmp_path / "lock", "Busy{holder}."):
        pass


def test_a_refused_lock_is_free_again_on_this_host(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    left_by(file, "another boot", 0)
    for _ in range(2):
        with pytest.raises(DiffInfError), exclusive(file, "Busy{holder}."):
            pytest.fail("two hosts hold one lock")
    file.write_text("")
    with exclusive(file, "Busy{holder}."):
        pass


def test_a_held_lock_is_touched_until_it_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched = threading.Event()
    monkeypatch.setattr(locks, "_BEAT", 0.001)
    monkeypatch.setattr(os, "utime", lambda handle: touched.set())
    before = threading.active_count()
    with exclusive(tmp_path / "lock", "Busy{holder}."):
        assert touched.wait(30)
    assert threading.active_count() == before


@pytest.mark.parametrize("kind", ["symlink", "hard link", "folder"])
def test_a_lock_is_a_file_of_its_own(tmp_path: Path, kind: str) -> None:
    """A link in its place would have another file emptied."""
    victim, lock = tmp_path / "victim", tmp_path / "lock"
    victim.write_text("precious")
    if kind == "symlink":
        lock.symlink_to(victim)
    elif kind == "hard link":
        lock.hardlink_to(victim)
    else:
        lock.mkdir()
    with pytest.raises(DiffInfError, match="remove it"), exclusive(lock, "Busy."):
        pytest.fail("a lock that is a link")
    assert victim.read_text() == "precious"
