"""What costs what at 70,000 samples: each item as it was before beside what it is now.

``python -m tests.benchmarks.house`` writes ``results/house.json``. "Before" are small copies of the old way;
both run interleaved, and the median counts.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffinf_core.classifier.network import build_classifier
from diffinf_core.classifier.training import read_ahead
from diffinf_core.correction.people import People
from diffinf_core.data.folder import decode
from diffinf_core.data.overlay import Pictures
from diffinf_core.data.part import Part, to_tensor
from diffinf_core.data.pictures import decode_all
from diffinf_core.runs.files import create_array, digest
from diffinf_core.runs.run import StageFolder

RESULTS = Path(__file__).parent / "results" / "house.json"
SAMPLES, EDITS, SOURCES = 70_000, 7_000, 600


def compared(before: Callable[[], object], now: Callable[[], object], rounds: int) -> list[float]:
    """Median seconds of either, interleaved, and their ratio."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for times, work in zip(seconds, (before, now), strict=True):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
    old, new = map(statistics.median, seconds)
    return [round(old, 5), round(new, 5), round(old / new, 1)]


def people() -> list[float]:
    """The other pictures of each edited sample's person."""
    rng = np.random.default_rng(0)
    names = np.array([f"person {k:06d}" for k in rng.integers(0, SAMPLES // 4, SAMPLES)])
    table = pd.DataFrame({"id": np.arange(SAMPLES).astype(str), "file": "", "who": names})
    pictures = Pictures(
        np.zeros((1, 8, 8, 3), np.uint8), np.zeros(0, np.int64), np.zeros((0, 8, 8, 3), np.uint8)
    )
    labels = np.zeros(SAMPLES, np.int64)
    part = Part(table["id"].to_numpy(str), labels, ("a",), table, pictures, labels, "who")
    someone = People(
        StageFolder(Path("nowhere"), ""), part, torch.nn.Identity(), torch.device("cpu")
    )
    edited = rng.integers(0, SAMPLES, EDITS // 70)  # a hundredth; both are linear in the edits

    def before() -> list[NDArray[np.int64]]:
        found = [np.flatnonzero(names == names[i]) for i in edited]
        return [rows[rows != i] for rows, i in zip(found, edited, strict=True)]

    def now() -> list[NDArray[np.int64]]:
        return [someone.others_of(int(i)) for i in edited]

    assert all((a == b).all() for a, b in zip(before(), now(), strict=True))
    return compared(before, now, 5)


def decoding(folder: Path) -> list[float]:
    """Photographs of 640 x 480 to 64 pixels."""
    rng = np.random.default_rng(0)
    files = []
    for i in range(SOURCES):
        noise = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        files.append(f"{i:04d}.jpg")
        Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(folder / files[-1])

    def before() -> None:
        with tempfile.TemporaryDirectory() as target:
            images = create_array(Path(target) / "images.npy", (SOURCES, 64, 64, 3), np.uint8)
            for i, name in enumerate(files):
                images[i] = decode(folder / name, 64)

    def now() -> None:
        with tempfile.TemporaryDirectory() as target:
            for _ in decode_all(folder, files, Path(target), 64):
                pass

    return compared(before, now, 5)


class _Mapped:
    """A training set in a memory map, as a run has it."""

    def __init__(self, file: Path, count: int) -> None:
        rng = np.random.default_rng(0)
        np.save(file, rng.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8))
        self._images = np.load(file, mmap_mode="r")
        self.labels = rng.integers(0, 4, count)

    def __len__(self) -> int:
        return len(self.labels)

    def tensors(self, rows: Sequence[int] | NDArray[np.int64]) -> Tensor:
        return to_tensor(np.array(self._images[np.asarray(rows)]))


def training(folder: Path) -> list[float]:
    """An epoch of the small classifier over 2,048 pictures, read when asked for and read ahead."""
    data = _Mapped(folder / "pictures.npy", 2048)
    net, where = build_classifier("small", 4), torch.device("cpu")
    net = net.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    batches = list(torch.randperm(len(data)).split(64))
    labels = torch.from_numpy(data.labels)

    def epoch(pictures: Callable[[], object]) -> None:
        for rows, x in zip(batches, pictures(), strict=True):  # type: ignore[call-overload]
            loss = torch.nn.functional.cross_entropy(net(x), labels[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

    return compared(
        lambda: epoch(lambda: (data.tensors(rows.numpy()) for rows in batches)),
        lambda: epoch(lambda: read_ahead(data, batches, where)),
        3,
    )


def states() -> list[float]:
    """What the map of the Explore page is named by: the state of every sample."""
    all_states = np.random.default_rng(0).integers(0, 7, SAMPLES).astype(np.uint8)
    return compared(lambda: digest(all_states.tolist()), lambda: digest(all_states.tobytes()), 15)


def main() -> None:
    """Measure everything and write it down."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "source").mkdir()
        found = {
            "samples": SAMPLES,
            "cores": os.cpu_count(),
            "columns": ["seconds before", "seconds now", "ratio"],
            "a person's other pictures, 100 edits": people(),
            "decoding 600 photographs of 640 x 480": decoding(folder / "source"),
            "an epoch over 2,048 pictures": training(folder),
            "naming the state of every sample": states(),
        }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
