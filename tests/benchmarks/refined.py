"""What edits cost a training and a round at 70,000 samples, against what they cost before.

    python -m tests.benchmarks.refined [--n 70000] [--edits 7000]

Pictures of noise at 64 x 64, drawn and not computed. ``epoch``: reading every edited picture once, in a new
random order each time, as a training does. Before, they came through a cache of the last 4,096 decoded
pictures; now they are decoded once into a memory map (``decode_once``, which all arms and seeds share).
``round``: writing the pictures of the next round. Before, that was a copy of all; now it is an overlay of
those that changed. What stood before is written out here. Times are of the processor, which other work on
the machine does not stretch: waiting for the disk is not in them, the bytes written stand beside.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffinf_core.config import make_config
from diffinf_core.correction.edits import edit_folder, edited_pictures
from diffinf_core.data.overlay import PICTURES, open_pictures, read_picture, write_overlay
from diffinf_core.records import RefinedSample, Sample
from diffinf_core.review.refine import refine
from diffinf_core.runs.run import Run
from tests.benchmarks.pages import ROOT, put

RESULTS = Path(__file__).parent / "results" / "refined.json"
SIDE, CACHE, BATCH, ROWS, TURNS = 64, 4096, 64, 1024, 3
#: edits whose pictures differ; the others are links to them, so that setting up does not take a minute
DRAWN = 500


def drawn_run(root: Path, n: int, edits: int) -> tuple[Run, list[Path]]:
    """A run folder with n pictures and, of every tenth or so, an edit; the folders of the edits."""
    run = Run.prepare(root, make_config("demo")).store()
    rng = np.random.default_rng(0)
    (root / "data").mkdir()
    images = np.lib.format.open_memmap(root / "data" / PICTURES, "w+", np.uint8, (n, SIDE, SIDE, 3))
    for start in range(0, n, ROWS):
        some = images[start : start + ROWS]
        some[:] = rng.integers(0, 256, some.shape, np.uint8)
    images.flush()
    folders: list[Path] = []
    for i in range(edits):
        folder = edit_folder(run, f"{i:012x}", f"{i:016x}")
        folder.mkdir(parents=True)
        if i < DRAWN:
            # neighbouring pixels alike, as in a photograph, so that the PNG has a photograph's size
            coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
            smooth = np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE)), np.int16)
            noisy = smooth + rng.integers(-8, 9, smooth.shape)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / "edit.png")
        else:
            os.link(folders[i % DRAWN] / "edit.png", folder / "edit.png")
        folders.append(folder)
    return run, folders


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds of some work, the system's for it included."""
    before = time.process_time()
    work()
    return time.process_time() - before


def epochs(run: Run, folders: list[Path]) -> dict[str, float]:
    """Processor seconds of an epoch's edited pictures, and the share that missed the cache before."""

    @lru_cache(maxsize=CACHE)
    def decoded(path: str) -> NDArray[np.uint8]:
        return read_picture(Path(path))

    files = [str(folder / "edit.png") for folder in folders]
    decode_once = seconds(lambda: edited_pictures(run, folders, SIDE))
    mapped = edited_pictures(run, folders, SIDE)
    rng = np.random.default_rng(1)
    batch = np.empty((BATCH, SIDE, SIDE, 3), np.uint8)

    def cached(order: NDArray[np.int64]) -> None:
        for start in range(0, len(order), BATCH):
            for i, row in enumerate(order[start : start + BATCH].tolist()):
                batch[i] = decoded(files[row])

    def from_map(order: NDArray[np.int64]) -> None:
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            batch[: len(rows)] = mapped[rows]

    cached(rng.permutation(len(files)))  # the first epoch decodes everything in either case
    warm = decoded.cache_info()
    before, now = [], []
    for _ in range(TURNS):
        order = rng.permutation(len(files))
        before.append(seconds(lambda order=order: cached(order)))
        now.append(seconds(lambda order=order: from_map(order)))
    info = decoded.cache_info()
    asked = info.hits + info.misses - warm.hits - warm.misses
    return {
        "cache_missed": round((info.misses - warm.misses) / asked, 3),
        "before": round(statistics.median(before), 4),
        "now": round(statistics.median(now), 4),
        "decode_once": round(decode_once, 4),
        "map_mib": round(mapped.nbytes / 2**20, 1),
    }


def rounds(root: Path, folders: list[Path], n: int) -> dict[str, float]:
    """Processor seconds and MiB of the pictures of a next round, as a copy of all and as an overlay."""
    below = open_pictures(root / "data", root / "data")
    rows = np.random.default_rng(2).choice(n, len(folders), replace=False).tolist()
    edits = {row: folder / "edit.png" for row, folder in zip(rows, folders, strict=True)}

    def copy_of_all() -> None:
        copy = np.lib.format.open_memmap(root / "copy.npy", "w+", np.uint8, (n, SIDE, SIDE, 3))
        for start in range(0, n, ROWS):
            copy[start : start + ROWS] = below.base[start : start + ROWS]
        for row, file in edits.items():
            copy[row] = read_picture(file)
        copy.flush()
        with open(root / "copy.npy", "rb") as written:
            os.fsync(written.fileno())

    overlay = root / "overlay"
    before = seconds(copy_of_all)
    now = seconds(lambda: write_overlay(overlay, below, edits, []))
    everything = np.load(root / "copy.npy", mmap_mode="r")
    pictures = open_pictures(overlay, root / "data")
    for start in range(0, n, ROWS):
        some = np.arange(start, min(start + ROWS, n))
        assert (pictures.read(some) == everything[some]).all(), "the overlay differs from the copy"
    size = sum(file.stat().st_size for file in overlay.iterdir())
    return {
        "before": round(before, 4),
        "now": round(now, 4),
        "before_mib": round((root / "copy.npy").stat().st_size / 2**20, 1),
        "now_mib": round(size / 2**20, 1),
    }


def refining(folders: list[Path], n: int) -> float:
    """Processor seconds of :func:`refine` itself."""
    training = [Sample(f"{i:012x}", f"{i}.png", "happy", 0) for i in range(n)]
    proposed = {folder.parent.name: folder.name for folder in folders}

    def work() -> list[RefinedSample]:
        found = refine(training, ("happy",), proposed, {}, lambda s, v: Path(s, v), "repaired")
        return list(found.kept)

    return round(seconds(work), 4)


def table(found: dict[str, Any]) -> str:
    """The results as a table of docs/performance.md."""
    epoch, round_, ratios = found["epoch"], found["round"], found["ratios"]
    once = f"{epoch['decode_once']:.2f} s once"
    seconds = [f"{round_[when]:.2f} s" for when in ("before", "now")]
    sizes = [f"{round_[when]:.0f} MiB" for when in ("before_mib", "now_mib")]
    rows = [
        ["edited pictures, read in one epoch", f"{epoch['before']:.2f} s", f"{epoch['now']:.3f} s"],
        ["the same over ten epochs, decoding included", f"{10 * epoch['before']:.1f} s", once],
        ["pictures of a round, written", *seconds],
        ["the same on the disk", *sizes],
    ]
    for row, name in zip(rows, ("epoch", "ten_epochs", "round_seconds", "round_mib"), strict=True):
        row.append(str(ratios[name]))
    head = f"| {found['samples']:,} samples, {found['edits']:,} edits | before | now | ratio |"
    return "\n".join([head, "|---|---|---|---|", *("| " + " | ".join(row) + " |" for row in rows)])


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=70_000)
    parser.add_argument("--edits", type=int, default=7_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run, folders = drawn_run(Path(folder), given.n, given.edits)
        epoch, round_ = epochs(run, folders), rounds(run.root, folders, given.n)
    out: dict[str, Any] = {
        "samples": given.n,
        "edits": given.edits,
        "side": SIDE,
        "epoch": epoch,
        "round": round_,
        "refine_seconds": refining(folders, given.n),
        "ratios": {
            "epoch": round(epoch["before"] / epoch["now"], 1),
            "ten_epochs": round(
                10 * epoch["before"] / (epoch["decode_once"] + 10 * epoch["now"]), 1
            ),
            "round_seconds": round(round_["before"] / round_["now"], 2),
            "round_mib": round(round_["before_mib"] / round_["now_mib"], 1),
        },
    }
    RESULTS.write_text(json.dumps(out, indent=1) + "\n")
    put(ROOT / "docs" / "performance.md", "refined", table(out))
    print(table(out))


if __name__ == "__main__":
    main()
