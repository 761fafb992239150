"""Peak memory and time of check, data stage, export and verify over many rows, each in a process of its own.

``python -m tests.benchmarks.scale [ROWS [FORMAT ...]]`` makes ROWS pictures, runs the commands of the command
line on them, and writes ``results/scale.json`` and the table in docs/performance.md. Memory is the process's
highest resident set as the kernel counts it, pages of mapped files among them.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.benchmarks.pages import RESULTS, ROOT, put

ROWS, SIDE, WORKING = 200_000, 16, 32
FORMATS = ("csv", "huggingface", "coco")
#: megabytes that every command must stay within
LIMIT = 1_500
CLASSES = ("young", "middle", "old")
_BELOW = 1_000


def write_data(folder: Path, rows: int) -> None:
    """Noise pictures in folders of a thousand, and a table with columns of its own."""

    def write(part: int) -> list[str]:
        rng = np.random.default_rng([1, part])
        below = folder / f"{part:04d}"
        below.mkdir(parents=True)
        lines = []
        for i in range(part * _BELOW, min(rows, (part + 1) * _BELOW)):
            name = f"{part:04d}/{i:07d}.png"
            pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name, compress_level=1)
            label = CLASSES[int(rng.integers(len(CLASSES)))]
            lines.append(f"{name},{label},{rng.integers(0, 90)},note {i % 7}\n")
        return lines

    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        open(folder.parent / "labels.csv", "w") as table,
    ):
        table.write("file,label,age,note\n")
        for lines in pool.map(write, range(-(-rows // _BELOW))):
            table.writelines(lines)
    (folder.parent / "labels.csv").rename(folder / "labels.csv")


def measured(words: Sequence[str]) -> dict[str, Any]:
    """Run a command to its end: wall seconds, processor seconds, and peak memory in megabytes.

    Raises RuntimeError with what it wrote where it fails.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, "-m", "diffinf_core.cli", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        out = [(os.POSIX_SPAWN_DUP2, said.fileno(), number) for number in (1, 2)]
        child = os.posix_spawn(sys.executable, command, environment, file_actions=out)
        _, status, used = os.wait4(child, 0)
        said.seek(0)
        text = said.read()
    if status:
        raise RuntimeError(f"diffinf {' '.join(words)}: {text[-2000:]}")
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return {
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": round(used.ru_maxrss / unit),
    }


def commands(home: Path, formats: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """What is measured, in order."""
    data, run, out = (str(home / name) for name in ("data", "run", "out"))
    size = ["--set", f"data.image_size={WORKING}"]
    yield "check", ["check", data, *size]
    yield "run --until data", ["run", data, "--out", run, "--until", "data", *size]
    for form in formats:
        target = f"{out}-{form}"
        yield f"export {form}", ["export", run, target, "--format", form, "--splits", "all"]
        yield f"verify {form}", ["verify", target]


def measure(rows: int, formats: Sequence[str] = FORMATS) -> dict[str, Any]:
    """All figures at a number of rows."""
    found: dict[str, Any] = {"rows": rows, "side": SIDE, "working": WORKING, "commands": {}}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write_data(home / "data", rows)
        for name, words in commands(home, formats):
            found["commands"][name] = measured(words)
            print(name, found["commands"][name], flush=True)
    return found


def as_table(found: dict[str, Any]) -> str:
    """The figures as a table."""
    rows = [
        f"| `{name}` | {figures['peak_mib']:,} MiB | {figures['cpu_seconds']:,.0f} s |"
        for name, figures in found["commands"].items()
    ]
    head = f"| {found['rows']:,} rows | peak memory | processor time |"
    return "\n".join([head, "|---|---|---|", *rows])


def main() -> None:
    """Measure and write."""
    rows, *formats = sys.argv[1:] or [str(ROWS)]
    found = measure(int(rows), formats or FORMATS)
    (RESULTS / "scale.json").write_text(json.dumps(found, indent=1) + "\n")
    put(ROOT / "docs" / "performance.md", "scale", as_table(found))
    over = [n for n, figures in found["commands"].items() if figures["peak_mib"] > LIMIT]
    if over:
        raise SystemExit(f"more than {LIMIT} MiB: {', '.join(over)}")


if __name__ == "__main__":
    main()
