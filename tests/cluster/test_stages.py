"""Influence and repair on three nodes: identical to what one process computes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from diffinf_core.correction.stage import REPAIR
from diffinf_core.engine import open_run
from diffinf_core.influence.scoring import GRADIENTS
from diffinf_core.influence.stage import INFLUENCE
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.run import Run

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
    torch.set_num_threads(1)  # as the workers have
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


def test_workers_that_no_node_has_room_for_are_refused(on_ray: Any, run_copy: Path) -> None:
    run = Run.open(run_copy)
    emptied(run)
    torch.set_num_threads(2)
    try:
        with pytest.raises(
            DiffInfError, match=r"needs 2 cores.*more than 1\. Set OMP_NUM_THREADS=1"
        ):
            open_run(run_copy).compute().result()
    finally:
        torch.set_num_threads(1)
