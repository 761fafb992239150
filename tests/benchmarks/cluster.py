"""What a Ray cluster costs beside the work, on this machine:

    python -m tests.benchmarks.cluster [--rounds 3]

Two workers on two cores against one, with the same slices of self-influence and the same batches of repair,
interleaved: the efficiency is one worker's time over twice the time of two. The overhead of a task is the
time of one that does nothing, as a fraction of the slice's. Wall time: on cores that other work shares the
efficiency is too low, so the load of the machine stands beside it.

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

from diffinf_core.classifier.network import build_classifier
from diffinf_core.config import make_config
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.overlay import in_memory, map_array
from diffinf_core.data.part import Part
from diffinf_core.engine import open_run
from diffinf_core.influence.scoring import GRADIENTS, score_gradients
from diffinf_core.influence.stage import INFLUENCE
from diffinf_core.runs import executor
from diffinf_core.runs.executor import Call, Done, ParallelMap, compute
from diffinf_core.runs.files import new_array, write_json
from diffinf_core.runs.run import Run, StageFolder
from tests.benchmarks.pages import RESULTS, ROOT, put

PAGE = ROOT / "docs" / "scale.md"
BATCH = 4
#: a run with enough slices and batches for two workers
OVER: dict[str, Any] = {
    "data": {"demo_faces": 1200},
    "classifier": {"architecture": "resnet18", "epochs": 2, "checkpoints": 2},
    "predictor": {"folds": 2, "epochs": 3},
    "influence": {"checkpoint_rule": "all", "tau": 10},
    "repair": {"batch_size": BATCH},
}
SLICE, EMPTY = 16, 200
#: pictures of the memory's measurement, and their side
SAMPLES, SIDE = (7_000, 70_000), 32
STAGES = {"influence": (GRADIENTS, INFLUENCE), "repair": (REPAIR,)}


@dataclass(frozen=True)
class Nothing:
    """A task that returns what it is sent."""

    @contextmanager
    def open(self) -> Iterator[Call]:
        """Nothing to load."""
        yield lambda parcel: parcel


def forget(run: Run, name: str) -> None:
    """Take back what a stage computed."""
    for stage in STAGES[name]:
        shutil.rmtree(stage.folder(run).path)
    if name == "influence":
        plan = {"slice_size": SLICE, "batch_size": SLICE}
        write_json(GRADIENTS.folder(run) / "plan.json", plan)
    else:
        for folder in ("edits", "inversions"):
            shutil.rmtree(run.root / folder, ignore_errors=True)


def seconds(root: Path, name: str, workers: int) -> float:
    """Wall seconds per sample from the first result with all workers at work to the last one.

    Before that they start and load, which a long run does once.
    """
    run = Run.open(root)
    forget(run, name)
    times: list[tuple[float, int]] = []
    for event in open_run(root).compute(name):
        if event.stage != name or f"workers: {workers} x" not in event.note:
            continue
        if not times or event.done > times[-1][1]:
            times.append((time.perf_counter(), event.done))
    (began, first), (ended, last) = times[1], times[-1]  # the first may be the load's own event
    return (ended - began) / (last - first)


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
    net, rng = build_classifier("small", 3), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        with new_array(Path(folder, "images.npy"), (n, SIDE, SIDE, 3), np.uint8) as out:
            for start in range(0, n, 1000):
                out[start : start + 1000] = rng.integers(0, 255, out[start : start + 1000].shape)
        ids = np.char.zfill(np.arange(n).astype(str), 12)
        table = pd.DataFrame({"id": ids, "file": ids, "label": "a"})
        pictures = in_memory(map_array(Path(folder, "images.npy")))
        labels = np.zeros(n, np.int64)
        train = Part(ids, labels, ("a", "b", "c"), table, pictures, np.arange(n))
        stage = StageFolder(Path(folder, "stage"), "")
        config = make_config("demo").influence.model_copy(update={"batch_size": 64})
        before = peak = own_memory()
        for _ in score_gradients(stage, train, [(net, 1e-3)], config):
            peak = max(peak, own_memory())
    return peak - before


@contextmanager
def cluster(nodes: int) -> Iterator[None]:
    """A Ray cluster of nodes with one core each."""
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    for _ in range(nodes - 1):
        made.add_node(**node)
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
        taken: dict[str, dict[int, list[float]]] = {name: {1: [], 2: []} for name in STAGES}
        empty = []
        for _ in range(rounds):
            for workers in (1, 2):
                with cluster(workers):
                    for name in STAGES:
                        taken[name][workers].append(seconds(root, name, workers))
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
    found["load_average"] = round(os.getloadavg()[1], 1)
    (RESULTS / "cluster.json").write_text(json.dumps(found, indent=1) + "\n")
    put(PAGE, "cluster", words(found))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
