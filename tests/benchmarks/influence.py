"""Cost of exact self-influence as a multiple of a plain forward + backward, beside its peers.

    python -m tests.benchmarks.influence [--no-stream | --only-stream | --device cuda]

Each round times every method once on the same batch, in turn, so that a drift of the machine hits all
alike; the figure is the median over rounds of the ratio within a round. Peers: one backward pass
per sample, torch.func's vmap of grad, and Captum's TracInCP in both modes. Captum's sample-wise mode
leaves BatchNorm out, so its score is another one; its fast form sees the last layer alone. Peak
memory is that of a process that runs one method, beside one that only loads the network.
``--no-stream`` leaves out the scoring of 70,000 samples under ten checkpoints, with a kill in it;
``--only-stream`` adds that to figures that are there.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.classifier.network import build_classifier
from diffinf_core.influence.gradients import GradientNorms, gradient_norms_by_vmap
from diffinf_core.influence.scoring import Scorer
from diffinf_core.runs.run import StageFolder
from diffinf_core.runs.slices import map_slices
from tests.benchmarks.pages import put

RESULTS = Path(__file__).parent / "results" / "influence.json"
DOCS = Path(__file__).parents[2] / "docs" / "influence.md"
ROUNDS = 7
CASES = (("small", 64, 64), ("resnet18", 64, 32), ("resnet18", 128, 16))
METHODS = {
    "ours": "ours, exact",
    "naive": "one backward pass per sample",
    "vmap": "torch.func, vmap of grad",
    "captum": "Captum TracInCP",
    "captum_sample_wise": "Captum TracInCP, sample-wise (no BatchNorm)",
    "captum_fast": "Captum TracInCPFast (last layer only)",
}
#: the peers that give the same score
EXACT = ("naive", "vmap", "captum")
STREAM_N, STREAM_T = 70_000, 10


def captum_tracer(model: nn.Module, x: Tensor, y: Tensor, mode: str) -> Callable[[], object]:
    """Captum's self-influence of a batch at the weights as they are."""
    from captum.influence import TracInCP, TracInCPFast

    data = torch.utils.data.TensorDataset(x, y)
    shared: dict[str, Any] = {
        "checkpoints": ["as it is"],
        "checkpoints_load_func": lambda model, path: 1.0,
        "batch_size": len(x),
    }
    if mode == "captum_fast":
        loss = nn.CrossEntropyLoss(reduction="sum")
        layer = next(
            n for n, m in reversed(list(model.named_modules())) if isinstance(m, nn.Linear)
        )
        tracer: Any = TracInCPFast(model, model.get_submodule(layer), data, loss_fn=loss, **shared)
    else:
        per_batch = mode == "captum_sample_wise"
        loss = nn.CrossEntropyLoss(reduction="sum" if per_batch else "none")
        tracer = TracInCP(
            model, data, loss_fn=loss, sample_wise_grads_per_batch=per_batch, **shared
        )
    return lambda: tracer.self_influence((x, y))


#: where the ratios are measured; memory, cost and stream are of the processor
device = torch.device("cpu")


def now() -> float:
    """The time when everything asked for is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def methods(name: str, size: int, batch: int) -> dict[str, Callable[[], object]]:
    """Every method on one network and one batch."""
    torch.manual_seed(0)
    model = build_classifier(name, 4).eval().to(device, memory_format=torch.channels_last)
    x = torch.randn(batch, 3, size, size).to(device, memory_format=torch.channels_last)
    y = torch.randint(0, 4, (batch,)).to(device)
    norms = GradientNorms(model, check=False).__enter__()

    def plain() -> None:
        F.cross_entropy(model(x), y).backward()
        model.zero_grad()

    def naive() -> None:
        for i in range(batch):
            loss = F.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
            grads = torch.autograd.grad(loss, list(model.parameters()))
            sum(float(g.square().sum()) for g in grads)

    out: dict[str, Callable[[], object]] = {
        "plain": plain,
        "ours": lambda: norms(x, y),
        "naive": naive,
        "vmap": lambda: gradient_norms_by_vmap(model, x, y),
    }
    for mode in ("captum", "captum_sample_wise", "captum_fast"):
        out[mode] = captum_tracer(model, x, y, mode)
    return out


def measure(name: str, size: int, batch: int) -> dict[str, object]:
    """Median ratios for one network and picture size."""
    work = methods(name, size, batch)
    ratios: dict[str, list[float]] = {k: [] for k in work}
    for round_ in range(ROUNDS + 1):
        seconds = {}
        for key, method in work.items():
            began = now()
            method()
            seconds[key] = now() - began
        if round_:  # the first round warms up
            for key in work:
                ratios[key].append(seconds[key] / seconds["plain"])
    medians = {k: round(statistics.median(v), 3) for k, v in ratios.items() if k != "plain"}
    print(name, size, medians, flush=True)
    return {"network": name, "size": size, "batch": batch, "times_plain": medians}


def _own_peak() -> float:
    """Largest resident memory of this process so far, in MiB."""
    # Not getrusage: its figure starts with what the parent held when this process was made.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def memory(name: str, size: int, batch: int) -> dict[str, object]:
    """Peak MiB of each method above a process that only built the network, each in its own process."""
    found = {}
    for method in ("nothing", "plain", *METHODS):
        command = [sys.executable, "-m", "tests.benchmarks.influence", "--memory", method, name]
        line = subprocess.run(
            [*command, str(size), str(batch)], capture_output=True, text=True, check=True
        ).stdout
        found[method] = float(line.split()[-1])
    floor = found.pop("nothing")
    mib = {k: round(v - floor) for k, v in found.items()}
    print(name, size, "MiB", mib, flush=True)
    return {"network": name, "size": size, "batch": batch, "mib": mib}


class Drawn:
    """A training split of any length whose pictures are drawn when they are read."""

    def __init__(self, n: int, size: int) -> None:
        self.size = size
        self.labels = np.arange(n) % 4
        self.ids = np.arange(n).astype(str)

    def tensors(self, positions: Any) -> Tensor:
        draw = torch.Generator().manual_seed(int(positions[0]))
        return torch.randn(len(positions), 3, self.size, self.size, generator=draw)


def cost() -> list[dict[str, float]]:
    """Milliseconds per sample and checkpoint for several N and T: flat where the cost is linear."""
    out = []
    for n, t in ((128, 1), (512, 1), (2048, 1), (512, 2), (512, 4), (512, 8)):
        nets = [(build_classifier("small", 4), 1e-3) for _ in range(t)]
        train: Any = Drawn(n, 64)
        with Scorer(nets) as scorer:
            scorer(train, np.arange(64), 64)  # the self-check, once
            began = time.perf_counter()
            scorer(train, np.arange(n), 64)
        ms = 1000 * (time.perf_counter() - began) / (n * t)
        out.append({"n": n, "checkpoints": t, "ms_per_sample_and_checkpoint": round(ms, 3)})
    print(out, flush=True)
    return out


def score_stream(folder: Path) -> None:
    """Score what is missing of 70,000 samples under ten checkpoints; prints its growth in memory."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    nets = [(build_classifier("small", 4), 1e-3) for _ in range(STREAM_T)]
    train: Any = Drawn(STREAM_N, 32)
    stage = StageFolder(folder, "stream")
    with Scorer(nets) as scorer:
        scorer(train, np.arange(64), 64)
        before = _own_peak()
        for _ in map_slices(
            stage,
            STREAM_N,
            64,
            lambda rows: scorer(train, rows, 64),
            "influence",
            lambda: "scoring",
        ):
            pass
    print(round(_own_peak() - before, 1))


def stream() -> dict[str, object]:
    """Kill the scoring after half a minute, resume, and see what was lost and what it took."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.benchmarks.influence", "--score-stream", folder]
        began = time.perf_counter()
        first = subprocess.Popen(command)
        time.sleep(30)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        files = sorted(Path(folder).glob("slice-*.npy"))
        lost = time.time() - files[-1].stat().st_mtime
        kept = {f: f.stat().st_mtime_ns for f in files}
        second = subprocess.run(command, capture_output=True, text=True, check=True)
        redone = sum(f.stat().st_mtime_ns != stamp for f, stamp in kept.items())
        found = {
            "n": STREAM_N,
            "checkpoints": STREAM_T,
            "size": 32,
            "seconds": round(time.perf_counter() - began),
            "slices_kept": len(kept),
            "slices_redone": redone,
            "seconds_lost_at_kill": round(lost, 2),
            "growth_mib": float(second.stdout.split()[-1]),
        }
    print(found, flush=True)
    return found


def block(found: dict[str, Any]) -> str:
    """The tables of the docs."""
    lines = [
        "| method, times a plain forward + backward | "
        + " | ".join(f"{r['network']}, {r['size']} px" for r in found["rows"])
        + " | peak MiB |",
        "|---|" + "---|" * (len(found["rows"]) + 1),
        "| plain forward + backward | "
        + " | ".join("1" for _ in found["rows"])
        + f" | {found['memory']['mib']['plain']} |",
    ]
    for key, title in METHODS.items():
        cells = [f"{r['times_plain'][key]:.2f}" for r in found["rows"]]
        lines.append(f"| {title} | {' | '.join(cells)} | {found['memory']['mib'][key]} |")
    m = found["memory"]
    faster = [
        min(r["times_plain"][k] for k in EXACT) / r["times_plain"]["ours"] for r in found["rows"]
    ]
    libraries = [
        min(r["times_plain"][k] for k in EXACT if k != "naive") / r["times_plain"]["ours"]
        for r in found["rows"]
    ]
    lines += [
        "",
        f"Ours is {min(faster):.1f} to {max(faster):.1f} times faster than the fastest exact method "
        f"here, and {min(libraries):.1f} to {max(libraries):.1f} times faster than the fastest exact "
        "library. An exact score needs the forward pass and the gradients of the activations, about "
        "0.6 of a plain step for ResNet-18, so a factor of five over one backward pass per sample is "
        "not to be had there.",
        "",
        f"Peak memory: {m['network']} at {m['size']} pixels, batch {m['batch']}, above a process "
        f"that holds the network. torch {found['torch']}, one thread, {found['rounds']} rounds, "
        "median.",
        "",
        "| samples | checkpoints | ms per sample and checkpoint |",
        "|---|---|---|",
        *(
            f"| {r['n']} | {r['checkpoints']} | {r['ms_per_sample_and_checkpoint']:.2f} |"
            for r in found["cost"]
        ),
    ]
    s = found.get("stream")
    if s:
        lines += [
            "",
            f"{s['n']:,} samples under {s['checkpoints']} checkpoints ({s['size']} pixels, small "
            f"network) took {s['seconds'] / 60:.0f} minutes on one core; memory grew by "
            f"{s['growth_mib']:.0f} MiB after the first pass. Killed after 30 seconds and started again, "
            f"{s['slices_kept']} finished slices were kept, {s['slices_redone']} redone, and "
            f"{s['seconds_lost_at_kill']:.1f} seconds of work lost.",
        ]
    return "\n".join(lines)


def into_docs(found: dict[str, Any]) -> None:
    """Put the tables between the markers of docs/influence.md."""
    put(DOCS, "cost", block(found))


def main() -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-stream", action="store_true")
    parser.add_argument("--only-stream", action="store_true")
    parser.add_argument("--docs-only", action="store_true")
    parser.add_argument("--device", default="cpu", help="cuda prints the ratios of a GPU")
    parser.add_argument("--memory", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--score-stream", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        method, name, size, batch = given.memory
        work = methods(name, int(size), int(batch))
        if method != "nothing":
            work[method]()
            work[method]()
        print(_own_peak())
        return
    if given.score_stream:
        score_stream(given.score_stream)
        return
    if given.docs_only:
        into_docs(json.loads(RESULTS.read_text()))
        return
    if given.device != "cpu":
        global device
        device = torch.device(given.device)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        for name, size, batch in CASES:
            measure(name, size, 8 * batch)
        return
    found: dict[str, Any] = {"torch": torch.__version__, "threads": 1, "rounds": ROUNDS}
    if given.only_stream:
        found = json.loads(RESULTS.read_text())
    else:
        found["rows"] = [measure(*case) for case in CASES]
        found["memory"] = memory("resnet18", 64, 32)
        found["cost"] = cost()
    if not given.no_stream:
        found["stream"] = stream()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    into_docs(found)


if __name__ == "__main__":
    main()
