"""What a Ray cluster costs beside the work, on this machine:

    python -m tests.benchmarks.cluster [--rounds 3]

Two workers on two cores against one, with the same slices of self-influence and the same batches of repair,
interleaved: the efficiency is one worker's time over twice the time of two. The overhead of a task is the
time of one that does nothing, as a fraction of the slice's. Wall time: on cores that other work shares the
efficiency is too low, so the load of the machine stands beside it.
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

from diffinf_core.config import make_config
from diffinf_core.correction.stage import REPAIR
from diffinf_core.engine import open_run
from diffinf_core.influence.scoring import GRADIENTS
from diffinf_core.influence.stage import INFLUENCE
from diffinf_core.runs import executor
from diffinf_core.runs.executor import Call, Done, ParallelMap, compute
from diffinf_core.runs.files import write_json
from diffinf_core.runs.run import Run
from tests.benchmarks.pages import RESULTS

#: a run with enough slices and batches for two workers
OVER: dict[str, Any] = {
    "data": {"demo_faces": 480},
    "classifier": {"epochs": 4, "checkpoints": 4},
    "predictor": {"folds": 2, "epochs": 3},
    "influence": {"checkpoint_rule": "all", "tau": 20},
    "repair": {"batch_size": 4},
}
SLICE, EMPTY = 32, 200
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


def seconds(root: Path, name: str) -> float:
    """Wall seconds from the first result of a stage to its last, and per result but for the first.

    Workers start and load before the first one, which a long run does once.
    """
    run = Run.open(root)
    forget(run, name)
    times, done = [], -1
    for event in open_run(root).compute(name):
        if event.stage == name and event.done > done > -1 and event.total > 1:
            times.append((time.perf_counter(), event.done))
        done = max(done, event.done) if event.stage == name and event.total > 1 else done
    (began, first), (ended, last) = times[0], times[-1]
    return (ended - began) / (last - first)


def empty_task() -> float:
    """Seconds of a task that does nothing, after the first."""
    parallel = ParallelMap(iter, Nothing, lambda item: item, str)  # type: ignore[arg-type]
    times = [
        time.perf_counter() for event in compute(parallel, range(EMPTY)) if isinstance(event, Done)
    ]
    return (times[-1] - times[0]) / (len(times) - 1)


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
                        taken[name][workers].append(seconds(root, name))
                    empty += [empty_task()] if workers == 1 else []
    for name, by in taken.items():
        one, two = median(by[1]), median(by[2])
        size = SLICE if name == "influence" else OVER["repair"]["batch_size"]
        found[name] = {
            "seconds_per_sample": {"1": one, "2": two},
            "efficiency": one / (2 * two),
            "overhead_per_task": median(empty) / (one * size),
        }
    found["load_average"] = round(os.getloadavg()[1], 1)
    (RESULTS / "cluster.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
