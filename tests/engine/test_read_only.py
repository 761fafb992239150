"""A run that may only be read: everything is shown, exported elsewhere, and nothing is written."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffinf_core.engine import open_run

ROOT = Path(__file__).parents[2]
#: what a person does who may look and not touch, in a process of their own
LOOK = """
import sys
from pathlib import Path
from diffinf_core.engine import diagnose, open_run
from diffinf_core.records import DiffInfError
from diffinf_core.ui.app import serve
import httpx

root, elsewhere = map(Path, sys.argv[1:])

def refused(work):
    try:
        work()
    except DiffInfError as error:
        assert str(error).isprintable(), error
        return str(error)
    raise AssertionError("it was not refused")

run = open_run(root)
kept = {s: d.action for s, d in run.review.decisions().items()}
assert sorted(kept.values()) == ["accept", "drop"], kept
assert run.report()["review"]["accepted"] == 1 and len(run.queue) and len(run.ranking("el2n"))
assert not diagnose(root).findings
first = run.queue.index[-1]
assert "may only be read" in refused(lambda: run.review.decide(first, "keep", "eve"))
assert "may only be read" in refused(lambda: run.review.undo("ann"))
assert run.assignment.next_for("eve") is not None and run.assignment.held() == {}
run.assignment.release("eve")
assert run.pictures.png("original", first) and run.pictures.versions(first)
export = run.export(elsewhere / "out").result()
export.verify()
assert export.table["source"].tolist().count("repaired") == 1
assert "may only be read" in refused(lambda: run.compute().result())
assert "may only be read" in refused(lambda: run.export(root / "export").result())
server = serve(root, 0, block=False, token=False)
with httpx.Client(base_url=server.url, timeout=60) as client:
    assert client.get("/").status_code == 200
    queue = client.post("gradio_api/run/queue", json={"data": ["all", 0, 5]}).json()["data"][0]
    assert queue, queue
    call = {"data": [queue[-1]["id"], "keep", "", "", ""]}
    answer = client.post("gradio_api/run/decide", json=call)
    assert answer.status_code == 422 and "may only be read" in answer.text, answer.text
server.close()
print("all of it")
"""


@pytest.fixture
def closed(finished_run: Path) -> Iterator[Path]:
    """A reviewed run in a folder that may be read by all; whoever looks may not write."""
    home = Path(tempfile.mkdtemp(prefix="diffinf-read-only-"))
    home.chmod(0o755)
    run = home / "run"
    shutil.copytree(finished_run, run)
    opened = open_run(run)
    for sample, action in zip(opened.queue.index, ("accept", "drop"), strict=False):
        version = opened.queue.loc[sample, "version"] if action == "accept" else None
        opened.review.decide(sample, action, "ann", version=version)
    yield run
    opened.review.journal.close()
    for path in (home, *home.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    shutil.rmtree(home)


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run."""
    return {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}


def _alone(run: Path) -> list[str]:
    """What makes a command see the run on a file system that may only be read; skips where it cannot."""
    seen = ["unshare", "-m", "sh", "-c"]
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    try:
        subprocess.run([*seen, mount, str(run), "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may write everywhere and mount nothing")
    return [*seen, mount, str(run)]


@pytest.mark.parametrize("open_journal", [True, False])
def test_everything_is_read_and_nothing_is_written(closed: Path, open_journal: bool) -> None:
    """Also while somebody else has the journal open, whose last lines are in its log alone."""
    if not open_journal:
        import sqlite3

        file = closed / "review" / "journal.sqlite"
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if os.geteuid() != 0:
        for path in (closed, *closed.rglob("*")):
            path.chmod(path.stat().st_mode & ~0o222)
    before = contents(closed)
    elsewhere = closed.parent / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-c", LOOK, str(closed), str(elsewhere)]
    if os.geteuid() == 0:  # who may write whatever the permissions say
        command = [*_alone(closed), *command]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert "all of it" in done.stdout, done.stderr[-2000:]
    assert contents(closed) == before
