"""Influence and repair on three nodes: identical to what one process computes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from diffinf_core.correction.stage import REPAIR
from diffinf_core.engine import open_run
from diffinf_core.influence.scoring import GRADIENTS
from diffinf_core.influence.stage import INFLUENCE
from diffinf_core.runs import executor
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.run import Run
from tests.cluster.tasks import wait_for
from tests.programs import ROOT

pytestmark = pytest.mark.slow


def emptied(run: Run) -> None:
    """Take back scores and edits; the next are computed in small slices."""
    for stage in (GRADIENTS, INFLUENCE, REPAIR):
        shutil.rmtree(stage.folder(run).path)
    for folder in ("edits", "inversions"):
        shutil.rmtree(run.root / folder, ignore_errors=True)
    write_json(GRADIENTS.folder(run) / "plan.json", {"slice_size": 16, "batch_size": 16})


def results(run: Run) -> dict[str, object]:
    """What must be the same: the bytes of scores and pictures, and records but for the seconds."""
    out: dict[str, object] = {
        "terms": (GRADIENTS.folder(run) / "terms.npy").read_bytes(),
        "scores": (INFLUENCE.folder(run) / "scores.csv").read_bytes(),
        "versions": read_json(REPAIR.folder(run) / "versions.json"),
    }
    for file in sorted((run.root / "edits").rglob("*.*")):
        name = str(file.relative_to(run.root))
        if file.suffix == ".png":
            out[name] = file.read_bytes()
        else:
            out[name] = {k: v for k, v in read_json(file).items() if k != "seconds"}
    return out


@pytest.fixture(scope="module")
def local(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The results of one process, with the same slices."""
    root = tmp_path_factory.mktemp("local") / "run"
    shutil.copytree(finished_run, root)
    emptied(Run.open(root))
    for _ in open_run(root).compute():
        pass
    return results(Run.open(root))


def test_three_nodes_give_the_bits_of_one_process(
    on_ray: Any, run_copy: Path, local: dict[str, object]
) -> None:
    run = Run.open(run_copy)
    emptied(run)
    notes = [event.note for event in open_run(run_copy).compute()]
    assert any("3 nodes" in note for note in notes)
    assert results(run) == local
    assert not list(REPAIR.folder(run).path.glob("batches-*"))


DRIVER = """
import sys
from pathlib import Path
from diffinf_core.engine import open_run
for _ in open_run(Path(sys.argv[1])).compute():
    pass
"""


def test_after_a_killed_driver_and_two_lost_nodes_the_bits_are_the_same(
    on_ray: Any, run_copy: Path, local: dict[str, object]
) -> None:
    """The driver is killed and a node lost while influence is computed, another node during the repair."""
    run = Run.open(run_copy)
    emptied(run)
    scored = GRADIENTS.folder(run).path
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(run_copy)], cwd=ROOT)
    wait_for(lambda: len(list(scored.glob("slice-*.npy"))) >= 2 or driver.poll() is not None)
    assert driver.poll() is None, "it is killed in the middle"
    driver.kill()
    driver.wait()
    assert not (scored / "done.json").exists()
    before = {f.name: f.stat().st_mtime_ns for f in scored.glob("slice-*.npy")}
    lost = []
    for event in open_run(run_copy).compute():
        middle = 0 < event.done < event.total
        if event.stage in ("influence", "repair") and middle and event.stage not in lost:
            if event.stage == "influence" and event.done == 16 * len(before):
                continue  # what is there already is the first event
            lost.append(event.stage)
            on_ray.remove_node(next(iter(on_ray.worker_nodes)), allow_graceful=False)
    assert lost == ["influence", "repair"] and not on_ray.worker_nodes
    after = {f.name: f.stat().st_mtime_ns for f in scored.glob("slice-*.npy")}
    assert before.items() <= after.items(), "finished slices are kept"
    assert results(run) == local


def test_arms_are_the_bits_of_one_process(
    on_ray: Any, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ("ray", "local"):
        shutil.copytree(finished_run, tmp_path / name)
        monkeypatch.setenv(executor.EXECUTOR, name)
        opened = open_run(tmp_path / name)
        notes = [event.note for event in opened.retrain(workers=1)]
        assert any("workers: " in note for note in notes) is (name == "ray")
        arms = sorted((tmp_path / name / "stages").glob("arm-*/test_probabilities.npy"))
        found.append({file.parent.name: file.read_bytes() for file in arms})
    assert len(found[0]) > 2 and found[0] == found[1]
