"""Cost of exact self-influence as a multiple of a plain forward + backward, interleaved.

    python -m tests.benchmarks.influence

Each round times every method once on the same batch, in turn, so that a drift of the machine hits all
alike; the figure is the median over rounds of the ratio within a round. Peers: one backward pass
per sample, and torch.func's vmap of grad.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

from diffinf_core.classifier.network import build_classifier
from diffinf_core.influence.gradients import GradientNorms, gradient_norms_by_vmap

RESULTS = Path(__file__).parent / "results" / "influence.json"
ROUNDS = 7


def measure(name: str, size: int, batch: int) -> dict[str, object]:
    """Median ratios for one network and picture size."""
    torch.manual_seed(0)
    model = build_classifier(name, 4).eval()
    x, y = torch.randn(batch, 3, size, size), torch.randint(0, 4, (batch,))

    def plain() -> None:
        F.cross_entropy(model(x), y).backward()
        model.zero_grad()

    def naive() -> None:
        for i in range(batch):
            loss = F.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
            grads = torch.autograd.grad(loss, list(model.parameters()))
            sum(float(g.square().sum()) for g in grads)

    with GradientNorms(model, check=False) as norms:
        methods: dict[str, Callable[[], object]] = {
            "plain": plain,
            "ours": lambda: norms(x, y),
            "naive": naive,
            "vmap": lambda: gradient_norms_by_vmap(model, x, y),
        }
        ratios: dict[str, list[float]] = {k: [] for k in methods}
        for round_ in range(ROUNDS + 1):
            seconds = {}
            for key, method in methods.items():
                began = time.perf_counter()
                method()
                seconds[key] = time.perf_counter() - began
            if round_:  # the first round warms up
                for key in methods:
                    ratios[key].append(seconds[key] / seconds["plain"])
    medians = {k: round(statistics.median(v), 3) for k, v in ratios.items() if k != "plain"}
    return {"network": name, "size": size, "batch": batch, "times_plain": medians}


def main() -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    rows = [measure("small", 64, 64), measure("resnet18", 64, 16), measure("resnet18", 128, 8)]
    for row in rows:
        print(row)
    RESULTS.parent.mkdir(exist_ok=True)
    found = {"torch": torch.__version__, "threads": 1, "rounds": ROUNDS, "rows": rows}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
