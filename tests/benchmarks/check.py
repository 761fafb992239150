"""How fast 'diffinf check' reads pictures, beside decoding them alone, and how much memory more of them take.

    python -m tests.benchmarks.check [--pictures 4000] [--rows 200000]

Drawn scenes of 128 x 128 pixels as JPEG, working size 128. ``bare`` decodes the same files in the same way,
in as many threads, and keeps nothing. Peak memory is that of a process of its own, once with the pictures and
once with ``rows`` rows that name hard links to them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from tests.benchmarks.pages import ROOT, put

RESULTS = Path(__file__).parent / "results" / "check.json"
SIZE = 128
_CHILD = """
import json, resource, sys, time
from diffinf_core.engine import check
from diffinf_core.config import preset_for
from diffinf_core.records import Progress
data = {"source": "folder", "path": sys.argv[1], "image_size": int(sys.argv[2])}
began = time.perf_counter()
checked = check(preset_for("demo", {"data": data})).result()
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "peak_mb": peak, "readable": checked.readable}))
"""
_BARE = """
import json, os, sys, time
from pathlib import Path
from diffinf_core.data.decode import decode
from diffinf_core.runs.workers import in_order
root, size = Path(sys.argv[1]), int(sys.argv[2])
files = sorted(p for p in root.iterdir() if p.suffix == ".jpg")
threads = os.cpu_count() or 1
began = time.perf_counter()
for _ in in_order(lambda p: decode(p, size), files, threads, 8 * threads, "bare"):
    pass
print(json.dumps({"seconds": time.perf_counter() - began}))
"""


def draw(root: Path, n: int) -> None:
    """Write n scenes of two classes and their table."""
    random = np.random.default_rng(0)
    rows = ["file,label"]
    for i in range(n):
        coarse = random.integers(0, 255, (9, 9, 3), dtype=np.uint8)
        scene = Image.fromarray(coarse).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        scene.save(root / f"{i:06d}.jpg", quality=90)
        rows.append(f"{i:06d}.jpg,{'ab'[i % 2]}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")


def link(root: Path, source: Path, n: int, pictures: int) -> None:
    """n rows that name hard links to the pictures."""
    root.mkdir()
    rows = ["file,label"]
    for i in range(n):
        os.link(source / f"{i % pictures:06d}.jpg", root / f"{i:06d}.jpg")
        rows.append(f"{i:06d}.jpg,{'ab'[i % 2]}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")


def child(code: str, root: Path) -> dict[str, float]:
    """Run a measurement in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", code, str(root), str(SIZE)]
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def words(result: dict[str, float]) -> str:
    """The result as the documentation says it."""
    return (
        f"By `python -m tests.benchmarks.check`, on {result['cores']} cores at a load of {result['load']}: "
        f"{result['images_per_second']:.0f} pictures of {SIZE} x {SIZE} pixels a second, "
        f"{result['part_of_bare_speed']:.2f} of the speed of decoding them alone; a peak of "
        f"{result['peak_mb']:,} MB with {result['pictures']:,} pictures, and {result['rows_peak_mb']:,} MB "
        f"with {result['rows']:,}."
    )


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--rows", type=int, default=200_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        pictures, rows = Path(scratch) / "pictures", Path(scratch) / "rows"
        pictures.mkdir()
        draw(pictures, given.pictures)
        child(_BARE, pictures)  # the files are in the cache of the disk from here on
        rounds = [(child(_BARE, pictures), child(_CHILD, pictures)) for _ in range(3)]
        bare = min(one["seconds"] for one, _ in rounds)
        checked = min((two for _, two in rounds), key=lambda two: two["seconds"])
        link(rows, pictures, given.rows, given.pictures)
        began = time.perf_counter()
        many = child(_CHILD, rows)
        seconds = time.perf_counter() - began
    result = {
        "pictures": given.pictures,
        "size": SIZE,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "images_per_second": round(given.pictures / checked["seconds"], 1),
        "bare_images_per_second": round(given.pictures / bare, 1),
        "part_of_bare_speed": round(bare / checked["seconds"], 3),
        "peak_mb": round(checked["peak_mb"]),
        "rows": given.rows,
        "rows_images_per_second": round(given.rows / seconds, 1),
        "rows_peak_mb": round(many["peak_mb"]),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    put(ROOT / "docs" / "data.md", "check", words(result))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
