"""A process is connected to Ray for a map, or as long as it is held, and no longer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import ROOT

pytestmark = pytest.mark.slow

#: two maps by Ray on this machine, and two under one connection
TWICE = """
import sys
from pathlib import Path
import ray
from diffinf_core.runs.executor import Done, compute, held
from tests.cluster.tasks import squares

def once(name):
    folder = Path(sys.argv[1], name)
    folder.mkdir()
    found = [e.result for e in compute(squares(folder), [("", 3), ("", 4)]) if isinstance(e, Done)]
    assert sorted(found) == [9, 16], found
    return ray.is_initialized()

if __name__ == "__main__":
    print(once("a"), once("b"))
    with held():
        print(ray.is_initialized(), once("c"), once("d"))
    print(ray.is_initialized())
"""


def test_between_maps_there_is_no_connection_unless_it_is_held(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    program = tmp_path / "twice.py"
    program.write_text(TWICE)
    environment = {
        **os.environ, "DIFFINF_EXECUTOR": "ray", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    environment.pop("DIFFINF_ADDRESS", None)
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:3] == ["False False", "False True True", "False"]
