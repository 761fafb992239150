"""What a Ray cluster costs beside the work, on this machine:

    python -m tests.benchmarks.cluster [--rounds 3]

Two workers on two cores against one, with the same slices of self-influence and the same batches of repair,
interleaved: the efficiency is one worker's time over twice the time of two. The overhead of a task is the
time of one that does nothing, as a fraction of the slice's. Wall time, on cores that the run's process and
Ray share; two bare processes say what the machine itself loses when both cores work.

Memory is what the run's process holds of its own, pages of mapped files apart, while it has 7,000 pictures
scored, and ten times as many.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch

from diffinf_core.classifier.network import Classifier, build_classifier
from diffinf_core.config import make_config
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.overlay import in_memory, map_array
from diffinf_core.data.part import Part
from diffinf_core.engine import open_run
from diffinf_core.influence.scoring import Scorer, score_gradients
from diffinf_core.records import Progress
from diffinf_core.runs import executor
from diffinf_core.runs.executor import Call, Done, ParallelMap, compute
from diffinf_core.runs.files import new_array
from diffinf_core.runs.run import Run, StageFolder
from diffinf_core.runs.workers import worker_pool
from tests.benchmarks.pages import RESULTS, ROOT, put

PAGE = ROOT / "docs" / "scale.md"
BATCH = 4
#: a run with enough batches for two workers
OVER: dict[str, Any] = {
    "data": {"demo_faces": 1200},
    "classifier": {"epochs": 4, "checkpoints": 4},
    "predictor": {"folds": 2, "epochs": 3},
    "influence": {"tau": 10},
    "repair": {"batch_size": BATCH},
}
SLICE, EMPTY, SCORED = 64, 200, 4096
#: pictures of the memory's measurement, and their side
SAMPLES, SIDE = (7_000, 70_000), 32


@dataclass(frozen=True)
class Nothing:
    """A task that returns what it is sent."""

    @contextmanager
    def open(self) -> Iterator[Call]:
        """Nothing to load."""
        yield lambda parcel: parcel


def pace(events: Iterator[Progress], name: str, workers: int) -> float:
    """Wall seconds per sample from the first result with all workers at work to the last one.

    Before that they start and load, which a long run does once.
    """
    times: list[tuple[float, int]] = []
    for event in events:
        if event.stage != name or f"workers: {workers} x" not in event.note:
            continue
        if not times or event.done > times[-1][1]:
            times.append((time.perf_counter(), event.done))
    # the first may be the load's own event, and the first result of each is slower
    (began, first), (ended, last) = times[2 * workers], times[-1]
    return (ended - began) / (last - first)


def repair_pace(root: Path, workers: int) -> float:
    """Seconds per edit of a run, all of whose edits are made anew."""
    run = Run.open(root)
    shutil.rmtree(REPAIR.folder(run).path)
    for folder in ("edits", "inversions"):
        shutil.rmtree(run.root / folder, ignore_errors=True)
    return pace(open_run(root).compute("repair"), "repair", workers)


def influence_pace(workers: int) -> float:
    """Seconds per picture under two checkpoints, in slices as a run makes them."""
    nets = [(build_classifier("resnet18", 3), 1e-3) for _ in range(2)]
    with scored(SCORED, 64, nets, 32) as events:
        return pace(events, "influence", workers)


def bare_work(pictures: int) -> float:
    """Seconds per picture of the same work without a map, in this process."""
    torch.set_num_threads(1)
    nets = [(build_classifier("resnet18", 3), 1e-3) for _ in range(2)]
    x, y = torch.rand(32, 3, 64, 64) * 2 - 1, torch.zeros(32, dtype=torch.int64)
    with Scorer(nets) as scorer:
        scorer.terms(x, y)
        began = time.perf_counter()
        for _ in range(0, pictures, 32):
            scorer.terms(x, y)
        return (time.perf_counter() - began) / pictures


def bare_pace(processes: int) -> float:
    """Seconds per picture of so many processes together, without Ray: what the machine has to give."""
    with worker_pool(processes) as pool:
        list(pool.map(bare_work, [32] * processes))  # they start and load
        return float(np.mean(list(pool.map(bare_work, [768] * processes)))) / processes


@contextmanager
def scored(
    n: int, side: int, nets: list[tuple[Classifier, float]], batch: int
) -> Iterator[Iterator[Progress]]:
    """The self-influence of ``n`` pictures of noise on the disk."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        with new_array(Path(folder, "images.npy"), (n, side, side, 3), np.uint8) as out:
            for start in range(0, n, 1000):
                out[start : start + 1000] = rng.integers(0, 255, out[start : start + 1000].shape)
        ids = np.char.zfill(np.arange(n).astype(str), 12)
        table = pd.DataFrame({"id": ids, "file": ids, "label": "a"})
        pictures = in_memory(map_array(Path(folder, "images.npy")))
        labels = np.zeros(n, np.int64)
        train = Part(ids, labels, ("a", "b", "c"), table, pictures, np.arange(n))
        stage = StageFolder(Path(folder, "stage"), "")
        config = make_config("demo").influence.model_copy(update={"batch_size": batch})
        yield iter(score_gradients(stage, train, nets, config))


def empty_task() -> float:
    """Seconds of a task that does nothing, after the first."""
    parallel = ParallelMap(iter, Nothing, lambda item: item, str)  # type: ignore[arg-type]
    times = [
        time.perf_counter() for event in compute(parallel, range(EMPTY)) if isinstance(event, Done)
    ]
    return (times[-1] - times[0]) / (len(times) - 1)


def own_memory() -> float:
    """Megabytes of this process that no file backs."""
    status = Path("/proc/self/status").read_text().splitlines()
    held = {line.split(":")[0]: line.split()[1] for line in status if line.startswith("Rss")}
    return (int(held["RssAnon"]) + int(held["RssShmem"])) / 1024


def memory(n: int) -> float:
    """Megabytes that this process grows by, at its peak, while workers score ``n`` pictures."""
    with scored(n, SIDE, [(build_classifier("small", 3), 1e-3)], 64) as events:
        before = peak = own_memory()
        for _ in events:
            peak = max(peak, own_memory())
    return peak - before


@contextmanager
def cluster(cores: int) -> Iterator[None]:
    """A Ray cluster of one node with so many cores, and a worker for each."""
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": cores, "object_store_memory": 160 * 2**20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=node)
    ray.init(made.address, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()
        made.shutdown()


def words(found: dict[str, Any]) -> str:
    """The figures for the page."""
    out = []
    for name, what in (("influence", f"slices of {SLICE}"), ("repair", f"batches of {BATCH}")):
        efficiency, beside = (100 * found[name][k] for k in ("efficiency", "overhead_per_task"))
        out.append(
            f"- **{name}**, {what}: two workers on {found['cores']} cores do {efficiency:.0f} % of twice "
            f"the work of one; a task costs {beside:.1f} % beside its work."
        )
    own = 100 * found["influence"]["bare_efficiency"]
    out.append(
        f"- The same self-influence in two bare processes, without Ray: {own:.0f} % of twice that of one."
    )
    grown = {int(n): value for n, value in found["memory"].items()}
    listed = ", ".join(
        f"{value:.0f} MB for {n:,} pictures" for n, value in grown.items() if n in SAMPLES
    )
    out.append(f"- **memory** that the run's process takes while others score: {listed}.")
    return "\n".join(out)


def main() -> None:
    """Print the figures and keep them."""
    parse = argparse.ArgumentParser()
    parse.add_argument("--rounds", type=int, default=3)
    rounds = parse.parse_args().rounds
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    found: dict[str, Any] = {"rounds": rounds, "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "run")
        for _ in open_run(root, make_config("demo", OVER)).compute():
            pass
        os.environ[executor.EXECUTOR] = "ray"
        taken: dict[str, dict[int, list[float]]] = {
            name: {1: [], 2: []} for name in ("influence", "repair")
        }
        bare: dict[int, list[float]] = {1: [], 2: []}
        empty = []
        for _ in range(rounds):
            for workers in (1, 2):
                bare[workers].append(bare_pace(workers))
                with cluster(workers):
                    taken["influence"][workers].append(influence_pace(workers))
                    taken["repair"][workers].append(repair_pace(root, workers))
                    empty += [empty_task()] if workers == 1 else []
    with cluster(2):
        for n in (1_000, *SAMPLES):  # the first brings what Ray holds once
            found["memory"] = {**found.get("memory", {}), str(n): memory(n)}
    for name, by in taken.items():
        one, two = median(by[1]), median(by[2])
        size = SLICE if name == "influence" else BATCH
        found[name] = {
            "seconds_per_sample": {"1": one, "2": two},
            "efficiency": one / (2 * two),
            "overhead_per_task": median(empty) / (one * size),
        }
    found["influence"]["bare_seconds_per_sample"] = {k: median(v) for k, v in bare.items()}
    found["influence"]["bare_efficiency"] = median(bare[1]) / (2 * median(bare[2]))
    found["load_average"] = round(os.getloadavg()[1], 1)
    (RESULTS / "cluster.json").write_text(json.dumps(found, indent=1) + "\n")
    put(PAGE, "cluster", words(found))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
