"""The ablation of docs/repair.md, from one command:

    python -m tests.benchmarks.ablation [--out runs/bench] [--seeds 3]

The same as ``diffinf ablate`` on the demo, for its expressions and with two variants for its ages.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from diffinf_core.config import make_config
from diffinf_core.engine import Engine
from diffinf_core.report.ablation import markdown
from tests.benchmarks.demo import drive

RESULTS = Path(__file__).parent / "results" / "ablation.json"
DOC = Path(__file__).parents[2] / "docs" / "repair.md"
BEGIN, END = "<!-- ablation: begin -->", "<!-- ablation: end -->"


def write_page(text: str) -> None:
    """Put the table between the markers."""
    page = DOC.read_text()
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    DOC.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}")


def main() -> None:
    """Measure, store, render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=48)
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = Engine(given.out, make_config("demo"))
    drive(run.ablate(seeds=given.seeds, images=given.images))
    table = run.ablation()
    RESULTS.write_text(json.dumps(json.loads(table.to_json(orient="records")), indent=1) + "\n")
    n, seeds = int(table["n"].iloc[0]), int(table["seeds"].iloc[0])
    over = (
        "one seed"
        if seeds == 1
        else f"{seeds} seeds (other wrong labels, other weights), mean ± sd"
    )
    write_page(
        f"{n // seeds} mislabelled high-influence images per seed, {over}.\n\n{markdown(table)}"
    )


if __name__ == "__main__":
    main()
