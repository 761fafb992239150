"""Files and folders appear whole or not at all, and hold what was written."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from diffinf_core.config import RunConfig
from diffinf_core.records import DiffInfError
from diffinf_core.runs import writer
from diffinf_core.runs.files import (
    digest,
    file_digest,
    new_array,
    publish_folder,
    read_json,
    read_tensors,
    remove_orphans,
    write_array,
    write_file,
    write_json,
    write_png,
    write_table,
    write_tensors,
    write_text,
)
from diffinf_core.runs.run import Run
from diffinf_core.runs.writer import ABANDONED, host_token
from tests.runs.children import child, names_in, sentence

# ---------------------------------------------------------------- atomic files


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, OSError, GeneratorExit])
def test_a_writer_that_fails_half_way_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    def half(file: BinaryIO) -> None:
        file.write(b"half of the n")
        file.flush()
        raise failure("stop")

    target = tmp_path / "a" / "file.txt"
    write_text(target, "old")
    with pytest.raises(failure):
        write_file(target, half)
    assert target.read_text() == "old"
    assert names_in(target.parent) == ["file.txt"]
    with pytest.raises(failure):
        write_file(target.with_name("new.txt"), half)
    assert names_in(target.parent) == ["file.txt"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence_and_costs_no_old_file(tmp_path: Path, code: int) -> None:
    def full(file: BinaryIO) -> None:
        file.write(b"x")
        raise OSError(code, os.strerror(code))

    target = tmp_path / "file.txt"
    write_text(target, "old")
    with pytest.raises(DiffInfError, match="disk is full") as error:
        write_file(target, full)
    assert str(target) in sentence(error)
    assert names_in(tmp_path) == ["file.txt"] and target.read_text() == "old"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_fills_up_under_weights_is_the_same_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch.save reports a failed write as something else."""

    def on_full(dir: Path, prefix: str, suffix: str) -> tuple[int, str]:
        return os.open("/dev/full", os.O_WRONLY), str(tmp_path / f"{prefix}0{suffix}")

    monkeypatch.setattr("diffinf_core.runs.files.tempfile.mkstemp", on_full)
    with pytest.raises(DiffInfError, match="disk is full"):
        write_tensors(tmp_path / "net.pt", {"a": torch.zeros(300_000)})


def test_a_reader_never_sees_a_file_that_is_being_written(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "old")
    seen = []

    def slow(file: BinaryIO) -> None:
        for piece in (b"n", b"e", b"w"):
            file.write(piece)
            file.flush()
            seen.append(target.read_text())

    write_file(target, slow)
    assert seen == ["old"] * 3 and target.read_text() == "new"


def test_a_file_that_is_not_finished_hides_from_globs_and_sits_in_the_same_folder(
    tmp_path: Path,
) -> None:
    names: list[str] = []
    write_file(tmp_path / "file.txt", lambda file: names.extend(names_in(tmp_path)))
    (name,) = names
    assert name.startswith(".") and name != "file.txt"


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "old")
    code = """
import os, signal, sys
from pathlib import Path
from diffinf_core.runs.files import write_file
def die(file):
    file.write(b"half"); file.flush(); os.kill(os.getpid(), signal.SIGKILL)
write_file(Path(sys.argv[1]), die)
"""
    killed = child(code, target)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == ["file.txt"]


def test_a_written_file_may_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    write_text(tmp_path / "ours", "x")
    plain, ours = (stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("plain", "ours"))
    assert ours == plain


# ---------------------------------------------------------------- formats


def test_json_comes_back_and_nan_is_refused_without_touching_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    value = {"a": [1, 2.5, None, "ü"], "b": {"c": True}}
    write_json(file, value)
    assert read_json(file) == value
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError):
            write_json(file, {"a": bad})
    assert read_json(file) == value


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe\x00", b"{'a': 1}", None])
def test_broken_json_is_one_sentence_with_the_file(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "broken.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DiffInfError) as error:
        read_json(file)
    assert str(file) in sentence(error)


def test_arrays_tables_and_tensors_come_back_exactly(tmp_path: Path) -> None:
    array = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    write_array(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
    table = pd.DataFrame({"id": ["007", "a,b"], "x": [0.1 + 0.2, 1e-300]})
    write_table(tmp_path / "t.csv", table)
    back = pd.read_csv(tmp_path / "t.csv", dtype={"id": str}, float_precision="round_trip")
    pd.testing.assert_frame_equal(back, table, check_exact=True)
    state = {"net": {"w": torch.randn(2, 3)}, "epoch": 4}
    write_tensors(tmp_path / "s.pt", state)
    found = read_tensors(tmp_path / "s.pt")
    assert found["epoch"] == 4 and torch.equal(found["net"]["w"], state["net"]["w"])


def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_array(tmp_path / "a.npy", np.array([object()]))
    assert names_in(tmp_path) == []


class Trap:
    """Unpickling this leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.mark,)


def test_a_weight_file_never_runs_code(tmp_path: Path) -> None:
    torch.save({"net": Trap(tmp_path / "ran")}, tmp_path / "evil.pt")
    (tmp_path / "text.pt").write_text("not weights")
    for name in ("evil.pt", "text.pt", "missing.pt"):
        with pytest.raises(DiffInfError) as error:
            read_tensors(tmp_path / name)
        assert name in sentence(error)
    assert not (tmp_path / "ran").exists()


def test_a_png_is_lossless_and_keeps_its_notes(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    write_png(tmp_path / "a.png", image, {"Synthetic": "yes"})
    with Image.open(tmp_path / "a.png") as found:
        np.testing.assert_array_equal(np.asarray(found), image)
        assert found.text["Synthetic"] == "yes"


def test_a_digest_depends_on_content_and_boundaries_but_not_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    parts = [(), ("a",), ("a", "b"), ("ab",), ("b", "a"), (1,), ("1",), (b"1", b"2"), (b"12",)]
    assert len({digest(*p) for p in parts}) == len(parts)
    assert len(digest("x")) == 16 and int(digest("x"), 16) >= 0


def test_a_file_digest_is_sha_256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_digest(tmp_path / "abc") == known


# ---------------------------------------------------------------- folders


def test_a_published_folder_appears_whole_and_readable(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"

    def build(folder: Path) -> None:
        assert not target.exists() and folder.parent == target.parent
        (folder / "sub").mkdir()
        (folder / "sub" / "a.txt").write_text("a")

    publish_folder(target, build)
    assert (target / "sub" / "a.txt").read_text() == "a"
    assert stat.S_IMODE(target.stat().st_mode) == 0o755
    assert names_in(target.parent) == ["out"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_build_that_fails_publishes_nothing(tmp_path: Path, failure: type[BaseException]) -> None:
    def build(folder: Path) -> None:
        (folder / "a.txt").write_text("a")
        raise failure

    with pytest.raises(failure):
        publish_folder(tmp_path / "out", build)
    assert names_in(tmp_path) == []


def test_the_first_to_publish_a_folder_wins(tmp_path: Path) -> None:
    target = tmp_path / "out"
    publish_folder(target, lambda folder: (folder / "a.txt").write_text("first") and None)
    publish_folder(target, lambda folder: (folder / "a.txt").write_text("second") and None)
    assert (target / "a.txt").read_text() == "first"
    assert names_in(tmp_path) == ["out"]


def test_a_file_in_the_way_of_a_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OSError):
        publish_folder(tmp_path / "out", lambda folder: None)
    assert (tmp_path / "out").read_text() == "mine" and names_in(tmp_path) == ["out"]


def test_what_a_killed_writer_left_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from diffinf_core.runs import files as store\n"
        "root = Path(sys.argv[1])\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "(store.write_file if sys.argv[2] == 'file' else store.publish_folder)(root / 'a' / sys.argv[2], die)"
    )
    for kind in ("file", "folder"):
        subprocess.run([sys.executable, "-c", code, str(tmp_path), kind])
    left = [p.name for p in tmp_path.rglob(".*.part")]
    assert len(left) == 2, left
    mine = tmp_path / "a" / f".x.{host_token()}-{os.getpid()}.abc.part"
    mine.write_text("being written")
    elsewhere = tmp_path / "a" / ".x.0123abcd-1.abc.part"
    elsewhere.write_text("of another host, where process 1 lives")
    earlier = tmp_path / "a" / ".x.4194303.abc.part"
    earlier.write_text("of a version that did not name hosts")
    foreign = tmp_path / "a" / ".somebody.part"
    foreign.write_text("not ours to judge")
    run = Run.prepare(tmp_path / "run", RunConfig()).store()
    shutil.move(tmp_path / "a", run.root / "stages")
    with run.lock():
        pass
    assert {p.name for p in run.root.rglob(".*.part")} == {
        mine.name, elsewhere.name, earlier.name, foreign.name
    }  # fmt: skip
    abandoned = time.time() - ABANDONED - 60
    for left_over in (elsewhere, earlier, foreign):
        os.utime(run.root / "stages" / left_over.name, (abandoned, abandoned))
    with run.lock():
        pass
    assert {p.name for p in run.root.rglob(".*.part")} == {mine.name, foreign.name}


def test_two_hosts_never_delete_each_others_unfinished_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of this number is long dead here, and lives on the other host."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    ours = tmp_path / f".a.{host_token()}-{dead.pid}.x.part"
    ours.write_text("")
    monkeypatch.setattr(writer, "host_token", lambda: "ffffffff")
    remove_orphans(tmp_path)
    assert ours.exists()
    theirs = tmp_path / f".a.ffffffff-{dead.pid}.x.part"
    theirs.write_text("")
    monkeypatch.undo()
    remove_orphans(tmp_path)
    assert theirs.exists() and not ours.exists()


def test_a_new_array_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "a.npy"
    with pytest.raises(ZeroDivisionError), new_array(target, (4, 2), np.uint8) as out:
        out[:] = 1 / 0
    assert list(tmp_path.iterdir()) == []
    with new_array(target, (4, 2), np.uint8) as out:
        out[:] = 7
    assert (np.load(target) == 7).all()
    with new_array(tmp_path / "none.npy", (0, 2, 2), np.uint8):
        pass
    assert np.load(tmp_path / "none.npy").shape == (0, 2, 2)


def test_a_disk_without_room_for_an_array_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with (
        pytest.raises(DiffInfError, match="disk is full while writing"),
        new_array(tmp_path / "a.npy", (4, 2), np.uint8),
    ):
        pytest.fail("there is no room")
    assert list(tmp_path.iterdir()) == []
