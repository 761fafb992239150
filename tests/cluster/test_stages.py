"""Influence and repair on three nodes: identical to what one process computes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from diffinf_core.correction.cross_fitted import FOLDS, cross_fit
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.part import open_training
from diffinf_core.engine import open_run
from diffinf_core.experiments import elsewhere
from diffinf_core.experiments.suite import BenchmarkSettings
from diffinf_core.influence.confidence import CONFIDENCE
from diffinf_core.influence.embedding import FEATURES
from diffinf_core.influence.scoring import GRADIENTS
from diffinf_core.influence.stage import INFLUENCE
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs import executor
from diffinf_core.runs.executor import ItemsFailed
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.run import Run, StageFolder
from tests.cluster.tasks import Dies, Refuses
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


DRIVER = """
import sys
from pathlib import Path
from diffinf_core.engine import open_run
for event in open_run(Path(sys.argv[1])).compute():
    print(event.stage, event.done, flush=True)
"""


def test_after_a_killed_driver_and_two_lost_nodes_the_bits_are_the_same(
    on_ray: Any, run_copy: Path, local: dict[str, object]
) -> None:
    """The driver is killed and a node lost while influence is computed, another node during the repair."""
    run = Run.open(run_copy)
    emptied(run)
    scored = GRADIENTS.folder(run).path
    command = [sys.executable, "-c", DRIVER, str(run_copy)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        for line in driver.stdout:
            if line.startswith("influence") and int(line.split()[1]) >= 32:
                break
        assert driver.poll() is None, "it is killed in the middle"
        driver.kill()
    assert not (scored / "done.json").exists()
    before = {f.name: f.stat().st_mtime_ns for f in scored.glob("slice-*.npy")}
    assert len(before) >= 2
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


#: computes something of a run's folder; the files of a pattern are then the same, and so many
Work = Callable[[Path], Iterable[Progress]]
Both = Callable[[Work, str], int]


@pytest.fixture
def both(on_ray: Any, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Both:
    """Computes something of two copies of a run, on the cluster and in this process."""

    def compute(work: Work, pattern: str) -> int:
        found = []
        for name in ("ray", "local"):
            root = tmp_path / name
            if not root.exists():
                shutil.copytree(finished_run, root)
            monkeypatch.setenv(executor.EXECUTOR, name)
            notes = [event.note for event in work(root)]
            assert any("workers: " in note for note in notes) is (name == "ray")
            files = [file for file in root.glob(pattern) if file.is_file()]
            found.append({str(file.relative_to(root)): file.read_bytes() for file in files})
        assert found[0] == found[1]
        return len(found[0])

    return compute


def test_arms_are_the_bits_of_one_process(both: Both) -> None:
    made = both(
        lambda root: open_run(root).retrain(workers=1), "stages/arm-*/test_probabilities.npy"
    )
    assert made > 2


def test_rivals_are_the_bits_of_one_process(both: Both) -> None:
    """Plain, on edited pictures, on fewer pictures, and with trainings of their own that judge first."""
    methods = ("noisy", "repair", "cleanlab", "random_removal", "loss_removal")
    settings = BenchmarkSettings(methods, seeds=2)
    made = both(
        lambda root: open_run(root).benchmark.run(settings), "benchmark/trainings/*/*/test_*.npy"
    )
    assert made == 5 * 2 * 2, "methods, seeds, and choices of an epoch"


def test_a_row_that_cannot_be_trained_keeps_no_other_from_it(
    on_ray: Any, run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One refuses on its worker, one dies there each time; the others are measured, and it is said which."""
    sent = elsewhere._sent

    def broken(name: str, *rest: Any) -> Any:
        made = sent(name, *rest)
        if name.startswith("removal"):
            return replace(made, method=Dies())
        if name.startswith("elr,"):
            return replace(made, method=Refuses())
        return made

    monkeypatch.setattr(elsewhere, "_sent", broken)
    opened = open_run(run_copy)
    settings = BenchmarkSettings(("noisy", "elr", "removal"), seeds=1)
    with pytest.raises(ItemsFailed, match="removal, seed 0: failed 3 times"):
        opened.benchmark.run(settings).result()
    for table in opened.benchmark.last().tables:
        assert [row.name for row in table.results] == ["noisy"]
        assert any("left out: It does not go" in text for text in table.unfinished)


def test_folds_and_features_are_the_bits_of_one_process(both: Both) -> None:
    for stage in (CONFIDENCE, FEATURES):
        made = both(
            lambda root, stage=stage: stage.compute(Run.open(root)), f"stages/{stage.name}-*/*.npy"
        )
        assert made


def test_a_judge_is_the_bits_of_one_process(both: Both) -> None:
    def work(root: Path) -> Iterator[Progress]:
        stage = StageFolder(root / "own", "")
        yield from cross_fit(stage, open_training(Run.open(root)))

    assert both(work, "own/fold-*.pt") == FOLDS


def test_an_ablation_is_that_of_one_process(both: Both) -> None:
    vary = {"repair.guidance": [1.0, 2.0]}
    made = both(lambda root: open_run(root).ablation.run(vary, images=3), "ablation/**/edit.png")
    assert made == 4, "two cells of two pictures"


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
