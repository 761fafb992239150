"""What each method of docs/baselines.md costs, relative to plain training:

    python -m tests.benchmarks.baselines

256 pictures of 64 pixels, three classes, 30 % wrong labels, the demo's network, ten epochs, both
views; processor seconds on one thread.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from diffinf_core.baselines import METHODS, Recipe, Task, make_method
from diffinf_core.baselines.views import strong_view, weak_view
from diffinf_core.classifier.network import build_classifier
from diffinf_core.data.noise import add_symmetric_noise
from tests.baselines.blobs import Points, train
from tests.benchmarks.pages import RESULTS, ROOT, put

N, SIZE, CLASSES = 256, 64, 3


def task() -> Task:
    """Pictures whose colour gives their class away."""
    y = np.arange(N) % CLASSES
    x = 0.5 * torch.randn(N, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    x[torch.arange(N), torch.from_numpy(y)] += 0.3
    noisy, wrong = add_symmetric_noise(y, CLASSES, 0.3, 0)
    data = Points(x.clamp(-1, 1), noisy)
    return Task(
        data,
        CLASSES,
        lambda classes: build_classifier("small", classes),
        Recipe(epochs=10, learning_rate=1e-3),
        weak=weak_view,
        strong=strong_view,
        noise_rate=0.3,
        ranking=wrong.astype(float),
        refined=data,
    )


def main() -> None:
    """Measure, store, render."""
    torch.set_num_threads(1)
    seconds = {}
    for name in METHODS:
        with TemporaryDirectory() as folder:
            method = make_method(name)
            train(method, task(), Path(folder))
            seconds[name] = method.seconds(Path(folder))
        print(f"{name}: {seconds[name]:.1f} s, {seconds[name] / seconds['noisy']:.2f}x", flush=True)
    (RESULTS / "baselines.json").write_text(json.dumps(seconds, indent=1) + "\n")
    lines = ["| method | name | passes | measured |", "|---|---|---|---|"]
    for name, kind in METHODS.items():
        measured = seconds[name] / seconds["noisy"]
        lines.append(f"| {kind.title} | `{name}` | {kind.cost:.1f} | {measured:.1f} |")
    put(ROOT / "docs" / "baselines.md", "cost", "\n".join(lines))


if __name__ == "__main__":
    main()
