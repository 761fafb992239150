"""How long influence and repair take on more workers, and what they wait for:

    python -m tests.benchmarks.simulation [--gpu-speedup 20] [--bandwidth 1.25]

Times of whole tasks are measured on this machine: packing a slice or batch and storing what comes back (wall
time, as the disk takes part), computing it (processor time of one thread). A task's computation is fitted by
a + b n for n samples. Then the executor's policy is simulated with recorded times: one process packs and
stores, one link carries parcels, each worker has one task and one on its way.

How many cores a GPU stands for is not measured here: ``--gpu-speedup`` is by default what one H100 was in
the repair of photographs. The link's ``--bandwidth`` in GB/s is an assumption. The table goes to
``docs/scale.md``.
"""

from __future__ import annotations

import argparse
import heapq
import json
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch

from diffinf_core.classifier.network import build_classifier
from diffinf_core.config import make_config
from diffinf_core.correction.edits import NewEdit
from diffinf_core.correction.parallel import Batch, _pack
from diffinf_core.correction.repairer import Repairer
from diffinf_core.data.overlay import in_memory
from diffinf_core.data.part import Part
from diffinf_core.engine import open_run
from diffinf_core.influence.scoring import Scorer
from diffinf_core.influence.stage import ranking
from diffinf_core.runs.files import write_array
from tests.benchmarks.pages import RESULTS, ROOT, put

FILE, PAGE = RESULTS / "simulation.json", ROOT / "docs" / "scale.md"
GPUS = (1, 8, 64)
SAMPLES, CHECKPOINTS, EDITS = 70_000, 10, 7_000
SLICE, BATCH, SIDE = 64, 16, 128


@dataclass(frozen=True)
class Costs:
    """A task of ``size`` samples: seconds on the run's machine before and after, recorded seconds of
    computation, bytes on the link, and bytes of the networks that a worker gets once."""

    size: int
    pack: float
    store: float
    compute: list[float]
    parcel: int
    networks: int


@dataclass(frozen=True)
class Outcome:
    """Seconds in all, and the fractions of them in which each part was busy."""

    seconds: float
    head: float
    link: float
    workers: float

    @property
    def busiest(self) -> str:
        """What everything waits for."""
        parts = {"workers": self.workers, "link": self.link, "packing and storing": self.head}
        return max(parts, key=lambda name: parts[name])


def simulate(
    costs: Costs, tasks: int, workers: int, speedup: float, bandwidth: float, seed: int = 0
) -> Outcome:
    """The executor's policy with recorded times; all workers share ``bandwidth`` (bytes per second)."""
    draw = np.random.default_rng(seed)
    seconds = draw.choice(costs.compute, tasks) / speedup
    loading = costs.networks / bandwidth
    # (time, whether it is a result, order, worker): what the run's process turns to, in order of time
    events = [((w + 1) * loading, False, i, w) for i in range(2) for w in range(workers)]
    heapq.heapify(events)
    free, busy = [0.0] * workers, 0.0
    head = link = head_busy = link_busy = end = 0.0
    sent = 0
    while events:
        now, result, _, worker = heapq.heappop(events)
        if result:
            head = max(head, now) + costs.store
            head_busy += costs.store
            end = head
        elif sent < tasks:
            head = max(head, now) + costs.pack
            head_busy += costs.pack
            link = max(link, head) + costs.parcel / bandwidth
            link_busy += costs.parcel / bandwidth
            free[worker] = max(free[worker], link) + seconds[sent]
            busy += seconds[sent]
            sent += 1
            for is_result in (True, False):
                heapq.heappush(events, (free[worker], is_result, sent, worker))
    return Outcome(end, head_busy / end, link_busy / end, busy / end / workers)


# ---------------------------------------------------------------- measuring


def spent(work: Callable[[], object]) -> float:
    """Processor seconds of one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def line(sizes: list[int], seconds: list[float]) -> tuple[float, float]:
    """a and b of seconds = a + b size, least squares; a is at least 0."""
    b, a = np.polyfit(sizes, seconds, 1)
    return max(0.0, float(a)), float(b)


def recorded(sizes: list[int], seconds: list[float], size: int, factor: float) -> list[float]:
    """Seconds of tasks of ``size`` samples: the fitted line, with the spread of the measurements about it."""
    a, b = line(sizes, seconds)
    ratios = [s / (a + b * n) for n, s in zip(sizes, seconds, strict=True)]
    return [factor * (a + b * size) * ratio for ratio in ratios]


def drawn_part(n: int) -> Part:
    """Pictures of noise; what they show does not change what they cost."""
    images = np.random.default_rng(0).integers(0, 255, (n, SIDE, SIDE, 3), dtype=np.uint8)
    ids = np.arange(n).astype(str)
    table = pd.DataFrame({"id": ids, "file": ids, "label": "a"})
    labels = np.zeros(n, np.int64)
    return Part(ids, labels, ("a", "b", "c"), table, in_memory(images), np.arange(n))


def influence_costs(rounds: int) -> tuple[Costs, dict[str, Any]]:
    """ResNet-18 on pictures of 128 pixels under two checkpoints, scaled to ten."""
    nets = [(build_classifier("resnet18", 3), 1e-3) for _ in range(2)]
    part, sizes, seconds = drawn_part(SLICE), [], []
    with Scorer(nets) as scorer:
        scorer(part, np.arange(2), 2)
        for _ in range(rounds):
            for n in (2, 4, 8):
                sizes.append(n)
                seconds.append(spent(lambda n=n: scorer(part, np.arange(n), n)))
    parcel: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        rows, result = np.arange(SLICE), np.zeros((SLICE, CHECKPOINTS, 2))
        packs = [wall(lambda: parcel.append(pickle.dumps(part.taken(rows)))) for _ in range(20)]
        stores = [wall(lambda: write_array(Path(folder, "a.npy"), result)) for _ in range(20)]
    networks = sum(p.nbytes for p in nets[0][0].state_dict().values()) * CHECKPOINTS
    compute = recorded(sizes, seconds, SLICE, CHECKPOINTS / len(nets))
    a, b = line(sizes, seconds)
    costs = Costs(SLICE, median(packs), median(stores), compute, len(parcel[0]), networks)
    return costs, {"a": a, "b": b, "checkpoints": len(nets)}


def repair_costs(rounds: int) -> tuple[Costs, dict[str, Any]]:
    """The shipped generator on the demo's pictures of 64 pixels, with the demo's own settings."""
    over: dict[str, Any] = {
        "data": {"demo_faces": 240},
        "classifier": {"epochs": 2, "checkpoints": 2},
        "predictor": {"folds": 2, "epochs": 3},
        "influence": {"checkpoint_rule": "all", "tau": 20},
    }
    with tempfile.TemporaryDirectory() as folder:
        opened = open_run(Path(folder, "run"), make_config("demo", over))
        for _ in opened.compute("judge"):
            pass
        repairer = Repairer(opened.folder)
        config = opened.config.repair
        for _ in repairer.prepare(config):
            pass
        high = np.flatnonzero(ranking(opened.folder)["high"].to_numpy())
        sizes, seconds, packs, parcels, at = [], [], [], [], 0
        edits: list[NewEdit] = []
        for _ in range(rounds):
            for n in (1, 2, 4):
                batch, made = Batch(high[at : at + n], config), []
                at += n
                packs.append(
                    wall(lambda b=batch: parcels.append(pickle.dumps(_pack(repairer, b)))) / n
                )

                def edit(batch: Batch = batch, made: list[Any] = made) -> None:
                    work = repairer.edit(batch.positions, batch.config)
                    try:
                        while True:
                            next(work)
                    except StopIteration as end:
                        made.append(end.value)

                sizes.append(n)
                seconds.append(spent(edit))
                edits += made[0]
        stores = []
        for _ in range(10):
            shutil.rmtree(opened.folder.root / "edits", ignore_errors=True)
            stores.append(wall(lambda: repairer.publish(edits[:BATCH])))
    a, b = line(sizes, seconds)
    networks = sum(p.nbytes for p in repairer.generator.state_dict().values())
    compute = recorded(sizes, seconds, BATCH, 1.0)
    per_picture = int(np.mean([len(p) / n for p, n in zip(parcels, sizes, strict=True)]))
    costs = Costs(
        BATCH, BATCH * median(packs), median(stores), compute, BATCH * per_picture, networks
    )
    return costs, {"a": a, "b": b}


def wall(work: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def mean(values: list[float]) -> float:
    """Their mean."""
    return float(np.mean(values))


def measure(rounds: int) -> dict[str, Any]:
    """Both costs with their fits."""
    torch.set_num_threads(1)
    out: dict[str, Any] = {}
    for name, costs in (("influence", influence_costs), ("repair", repair_costs)):
        found, fit = costs(rounds)
        out[name] = {"costs": asdict(found), "fit": fit}
    return out


# ---------------------------------------------------------------- predicting


def predictions(found: dict[str, Any], speedup: float, bandwidth: float) -> list[dict[str, Any]]:
    """A row per stage and number of GPUs."""
    rows = []
    for name, total in (("influence", SAMPLES), ("repair", EDITS)):
        costs = Costs(**found[name]["costs"])
        for gpus in GPUS:
            outcome = simulate(costs, -(-total // costs.size), gpus, speedup, bandwidth * 1e9)
            rows.append({"stage": name, "gpus": gpus, **asdict(outcome), "waits": outcome.busiest})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The predictions in Markdown."""
    lines = [
        "| stage | GPUs | hours | workers busy | link busy | packing and storing | waits for |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        busy = " | ".join(f"{100 * r[k]:.1f} %" for k in ("workers", "link", "head"))
        lines.append(
            f"| {r['stage']} | {r['gpus']} | {r['seconds'] / 3600:.2f} | {busy} | {r['waits']} |"
        )
    return "\n".join(lines)


def words(found: dict[str, Any], speedup: float, bandwidth: float) -> str:
    """The measured costs in a sentence each, and where the run's machine is the limit."""
    house = json.loads((RESULTS / "house.json").read_text())
    decoding, cores = house["decoding 600 photographs of 640 x 480"][1], house["cores"]
    minutes = SAMPLES * decoding / 600 / 60
    out = [
        f"Assumed: a GPU is {speedup:g} of these cores, the link carries {bandwidth:g} GB/s.",
        "",
    ]
    for name, what in (("influence", "slice"), ("repair", "batch")):
        c = Costs(**found[name]["costs"])
        head = c.pack + c.store
        limit = mean(c.compute) / speedup / max(head, c.parcel / (bandwidth * 1e9))
        out.append(
            f"- **{name}**: a {what} of {c.size} takes {mean(c.compute):.1f} s of a core, "
            f"{1e3 * c.pack:.1f} ms to pack, {1e3 * c.store:.1f} ms to store, and {c.parcel / 1e6:.1f} MB "
            f"on the link; the run's machine feeds about {limit:,.0f} such GPUs."
        )
    out.append(
        f"- **decoding** comes before and is not distributed: {SAMPLES:,} photographs of 640 x 480 take "
        f"{minutes:.1f} minutes on {cores} cores."
    )
    return "\n".join(out)


def main() -> None:
    """Measure unless asked only to predict, and write the page."""
    parse = argparse.ArgumentParser()
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--gpu-speedup", type=float, default=20.0)
    parse.add_argument("--bandwidth", type=float, default=1.25, help="GB/s; 1.25 is 10 Gbit/s")
    parse.add_argument("--predict", action="store_true", help="from the stored measurements")
    args = parse.parse_args()
    found = json.loads(FILE.read_text())["measured"] if args.predict else measure(args.rounds)
    rows = predictions(found, args.gpu_speedup, args.bandwidth)
    FILE.write_text(json.dumps({"measured": found, "predicted": rows}, indent=1) + "\n")
    put(PAGE, "scale", f"{words(found, args.gpu_speedup, args.bandwidth)}\n\n{table(rows)}")


if __name__ == "__main__":
    main()
