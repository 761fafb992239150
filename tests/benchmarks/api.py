"""What the public door costs beside the machinery behind it, and what importing the package costs.

    python -m tests.benchmarks.api

Each round scores the same samples three times in turn: with :class:`GradientNorms` on stacked tensors,
with ``di.self_influence`` on a map-style data set of single samples, and with a plain forward and
backward pass per batch. The figure is the median over rounds of the ratio within a round, self-check and
set-up included, with the quartiles beside it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch.nn import functional as F

import diffinf_core as di
from diffinf_core.influence.gradients import GradientNorms

RESULTS = Path(__file__).parent / "results" / "api.json"
ROUNDS, SAMPLES, BATCH = 25, 128, 32


def ways() -> dict[str, Callable[[], object]]:
    """The same samples: by the internal path, by the public one, and a plain training step."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10).eval()
    x, y = torch.randn(SAMPLES, 3, 32, 32), torch.arange(SAMPLES) % 10
    dataset = torch.utils.data.TensorDataset(x, y)
    batches = list(zip(x.split(BATCH), y.split(BATCH), strict=True))

    def internal() -> None:
        with GradientNorms(model) as norms:
            for part, labels in batches:
                norms(part, labels)

    def plain() -> None:
        for part, labels in batches:
            loss = F.cross_entropy(model(part), labels)
            torch.autograd.grad(loss, list(model.parameters()))

    return {
        "internal": internal,
        "public": lambda: di.self_influence(model, dataset, batch_size=BATCH).result(),
        "plain": plain,
    }


def measure() -> dict[str, list[float]]:
    """Ratios within a round: lower quartile, median, upper quartile."""
    work = ways()
    ratios: dict[str, list[float]] = {"public_over_internal": [], "public_over_plain": []}
    for round_ in range(ROUNDS + 1):
        seconds = {}
        for name, way in work.items():
            began = time.perf_counter()
            way()
            seconds[name] = time.perf_counter() - began
        if round_:  # the first round warms up
            ratios["public_over_internal"].append(seconds["public"] / seconds["internal"])
            ratios["public_over_plain"].append(seconds["public"] / seconds["plain"])
    return {
        name: [round(v, 3) for v in statistics.quantiles(values, n=4)]
        for name, values in ratios.items()
    }


def import_seconds() -> float:
    """Seconds of ``import diffinf_core`` and its list of names, median of five processes."""
    program = (
        "import time; began = time.perf_counter(); import diffinf_core as di; di.__all__; "
        "print(time.perf_counter() - began)"
    )
    times = [
        float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                             check=True).stdout)
        for _ in range(5)
    ]  # fmt: skip
    return round(statistics.median(times), 4)


def main() -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    found = {
        "network": "torchvision ResNet-18",
        "size": 32,
        "samples": SAMPLES,
        "batch": BATCH,
        "rounds": ROUNDS,
        "threads": 1,
        "torch": torch.__version__,
        **measure(),
        "import_seconds": import_seconds(),
    }
    print(found)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
