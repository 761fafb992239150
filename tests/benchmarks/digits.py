"""The methods on pictures that a package ships: scikit-learn's 1,797 handwritten digits, on a CPU in minutes:

    python -m tests.benchmarks.digits [--rate 0.4] [--methods noisy,elr,coteaching]

Labels are redrawn from all classes (inclusive), as in the published tables of CIFAR-10. A third of the digits
is the test set, with clean labels; a tenth of the others, with noisy ones, is validation. The table goes to
``docs/baselines.md``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from diffinf_core.baselines import Method, Recipe, Task, make_method
from diffinf_core.classifier.network import build_classifier
from diffinf_core.data.noise import add_inclusive_noise
from diffinf_core.experiments.benchmark import Row, benchmark_results, run_benchmark
from diffinf_core.report.benchmark_rows import to_markdown
from tests.baselines.blobs import Points
from tests.benchmarks.pages import ROOT, put

PAGE = ROOT / "docs" / "baselines.md"
_SIDE, _SEEDS = 32, (0, 1, 2)
_RECIPE = Recipe(epochs=40, learning_rate=1e-3, schedule="cosine")


def network(classes: int) -> nn.Module:
    """The product's small network."""
    return build_classifier("small", classes, None)


@dataclass(frozen=True)
class Digits:
    """A benchmark's problem."""

    rate: float

    @property
    def classes(self) -> Sequence[str]:
        """The ten digits."""
        return tuple(map(str, range(10)))

    @property
    def recipe(self) -> Recipe:
        """The same for every row."""
        return _RECIPE

    def key(self, method: Method) -> str:
        """The noise."""
        return str(self.rate)

    def _parts(self) -> tuple[Points, Points, Points, NDArray[np.bool_]]:
        found = load_digits()
        x = torch.from_numpy(found.images).float()[:, None] / 8 - 1
        x = F.interpolate(x, size=_SIDE, mode="bilinear", align_corners=False).expand(-1, 3, -1, -1)
        order = np.random.default_rng(0).permutation(len(x))
        test, rest = np.split(order, [len(x) // 3])
        noisy, wrong = add_inclusive_noise(found.target[rest], 10, self.rate, 0)
        cut = len(rest) // 10
        parts = [
            Points(x[rows].contiguous(), labels.astype(np.int64))
            for rows, labels in (
                (rest[cut:], noisy[cut:]), (rest[:cut], noisy[:cut]), (test, found.target[test]),
            )
        ]  # fmt: skip
        return parts[0], parts[1], parts[2], wrong[cut:]

    def task(self, seed: int, method: Method) -> Task:
        """The training under a seed."""
        train, validation, _, _ = self._parts()
        return Task(
            data=train, classes=10, network=network, recipe=_RECIPE, seed=seed,
            validation=validation, noise_rate=self.rate,
        )  # fmt: skip

    def test(self) -> Points:
        """Clean."""
        return self._parts()[2]

    def groups(self) -> Mapping[tuple[str, str], NDArray[np.bool_]]:
        """None."""
        return {}

    def wrong(self) -> NDArray[np.bool_]:
        """Which training labels are wrong."""
        return self._parts()[3]


def main() -> None:
    """Train, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=0.4)
    parser.add_argument("--methods", default="noisy,elr,small_loss,coteaching")
    given = parser.parse_args()
    problem, rows = Digits(given.rate), [Row(make_method(n)) for n in given.methods.split(",")]
    with tempfile.TemporaryDirectory() as name:
        for event in run_benchmark(Path(name), problem, rows, _SEEDS):
            print(event.done, event.total, event.note, flush=True)
        found = benchmark_results(Path(name), problem, rows, _SEEDS)
    wrong = problem.wrong()
    text = (
        f"{len(wrong):,} training digits, {wrong.mean():.0%} of their labels wrong (rate {given.rate:g}, "
        f"inclusive), {len(problem.test())} test digits; {_RECIPE.epochs} epochs of Adam at "
        f"{_RECIPE.learning_rate:g} (cosine), last epoch, {len(_SEEDS)} seeds:"
    )
    put(PAGE, "digits", f"{text}\n\n{to_markdown(found)}")


if __name__ == "__main__":
    main()
