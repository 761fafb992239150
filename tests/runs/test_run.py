"""The folder of a run: its stages, its configuration, its lock."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffinf_core.config import make_config
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import (
    write_text,
)
from diffinf_core.runs.run import CONFIG_FILE, Run, StageFolder
from tests.runs.children import child, names_in, sentence


def test_a_stage_is_found_again_by_its_configuration_and_by_nothing_else(tmp_path: Path) -> None:
    run = Run.prepare(tmp_path / "run", make_config()).store()
    first = run.stage("rank", {"tau": 10, "rule": "all"}, "before")
    assert not first.done and first.figures == {}
    write_text(first / "x.txt", "x")
    assert not first.done, "files alone do not finish a stage"
    first.finish({"n": 3})
    again = Run.open(tmp_path / "run").stage("rank", {"rule": "all", "tau": 10}, "before")
    assert again.done and again.figures == {"n": 3} and again.key == first.key
    assert (again / "x.txt").read_text() == "x"
    others = [
        run.stage("rank", {"tau": 11, "rule": "all"}, "before"),
        run.stage("rank", {"tau": 10, "rule": "all"}, "other"),
        run.stage("other", {"tau": 10, "rule": "all"}, "before"),
    ]
    assert len({first.path, *(s.path for s in others)}) == 4
    assert not any(s.done for s in others)
    assert first.path.parent == run.root / "stages" and first.path.name == f"rank-{first.key}"


def test_a_damaged_mark_of_a_finished_stage_is_one_sentence(tmp_path: Path) -> None:
    stage = StageFolder(tmp_path, "k")
    (tmp_path / "done.json").write_text('{"n":')
    with pytest.raises(DiffInfError) as error:
        _ = stage.figures
    assert "done.json" in sentence(error)


# ---------------------------------------------------------------- a run


def test_a_run_keeps_its_configuration(tmp_path: Path) -> None:
    config = make_config("demo", {"influence": {"tau": 12}})
    Run.prepare(tmp_path / "new" / "run", config).store()
    assert Run.open(tmp_path / "new" / "run").config == config


@pytest.mark.parametrize(
    "section,key,old,new",
    [("data", "seed", 7, 8), ("split", "val_share", 0.1, 0.3), ("noise", "rate", 0.2, 0.4)],
)
def test_a_run_refuses_another_data_set_and_says_what_differs(
    tmp_path: Path, section: str, key: str, old: object, new: object
) -> None:
    run = Run.prepare(tmp_path, make_config()).store()
    other = make_config("demo", {section: {key: new}})
    Run.prepare(tmp_path, other)  # nothing is read yet, so these are taken
    run.stage("data", "read").finish()
    before = (tmp_path / CONFIG_FILE).read_text()
    with pytest.raises(DiffInfError) as error:
        Run.prepare(tmp_path, other).store()
    text = sentence(error)
    assert f"{section}.{key}" in text and repr(old) in text and repr(new) in text
    assert (tmp_path / CONFIG_FILE).read_text() == before


def test_a_run_takes_over_any_other_change(tmp_path: Path) -> None:
    Run.prepare(tmp_path, make_config()).store()
    changed = make_config("demo", {"influence": {"tau": 33}})
    Run.prepare(tmp_path, changed).store()
    assert Run.open(tmp_path).config == changed


def test_a_folder_that_is_no_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for config in (None, make_config()):
        with pytest.raises(DiffInfError, match="not a run folder") as error:
            (Run.open(tmp_path) if config is None else Run.prepare(tmp_path, config))
        assert str(tmp_path) in sentence(error)
    with pytest.raises(DiffInfError, match="is a file"):
        Run.prepare(tmp_path / "thesis.txt", make_config()).store()
    assert names_in(tmp_path) == ["thesis.txt"]


def test_hidden_files_do_not_make_a_folder_used(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_text("")
    assert Run.prepare(tmp_path, make_config()).store().root == tmp_path


def test_a_damaged_configuration_is_one_sentence_with_the_file(tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).write_text("noise: {rate: 7}\n")
    with pytest.raises(DiffInfError) as error:
        Run.open(tmp_path)
    assert str(tmp_path / CONFIG_FILE) in sentence(error)


# ---------------------------------------------------------------- the lock

_HOLD = """
import signal, sys
from pathlib import Path
from diffinf_core.config import RunConfig
from diffinf_core.config.presets import make_config
from diffinf_core.runs.run import Run
with Run(Path(sys.argv[1]), make_config()).lock():
    print("held", flush=True)
    signal.pause()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of ``tmp_path``."""
    process = child(_HOLD, tmp_path)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_lock_keeps_a_second_process_out_until_the_first_is_killed(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    run = Run(tmp_path, make_config())
    with pytest.raises(DiffInfError, match="Another process") as error, run.lock():
        pass
    assert str(tmp_path) in sentence(error)
    holder.kill()
    holder.wait()
    with run.lock():
        pass


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    run = Run(tmp_path / "new", make_config())
    with pytest.raises(ZeroDivisionError), run.lock():
        _ = 1 / 0
    with run.lock(), pytest.raises(DiffInfError), run.lock():
        pass


_RENDER = """
import multiprocessing, sys
from pathlib import Path
from diffinf_core.config import RunConfig
from diffinf_core.config.presets import make_config
from diffinf_core.data.rendered.demo import write_demo_faces
from diffinf_core.runs.run import Run
root = Path(sys.argv[1])
with Run(root, make_config()).lock():
    for event in write_demo_faces(root / "faces", 5000, 0, 32, workers=2):
        print(*[p.pid for p in multiprocessing.active_children()], flush=True)
"""


def test_a_run_killed_while_rendering_can_be_started_again(tmp_path: Path) -> None:
    process = child(_RENDER, tmp_path)
    assert process.stdout is not None
    workers = [int(pid) for pid in process.stdout.readline().split()]
    process.kill()
    process.wait()
    process.stdout.close()
    assert workers
    try:
        with Run(tmp_path, make_config()).lock():  # which its workers do not hold
            pass
    finally:
        for pid in workers:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
