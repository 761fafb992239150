"""The ablation of docs/repair.md, from one command:

    python -m tests.benchmarks.ablation [--out runs/bench] [--seeds 3] [--images 24]

``diffinf ablate`` on the demo's expressions, with other tau and other label noise beside the plan.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from diffinf_core.config import make_config
from diffinf_core.engine import open_run
from diffinf_core.report.ablation import markdown
from tests.benchmarks.demo import drive
from tests.benchmarks.pages import REPAIR, RESULTS, put

FILE = RESULTS / "ablation.json"
#: settings that the plan leaves alone, because they train everything anew
WIDER = ({"influence.tau": [5, 20]}, {"noise.rate": [0.1, 0.4]})


def main() -> None:
    """Measure, store, render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/bench"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=24)
    given = parser.parse_args()
    torch.set_num_threads(1)
    run = open_run(given.out, make_config("demo"))
    found, parts = {}, []
    for name, vary in (("plan", None), ("tau", WIDER[0]), ("noise", WIDER[1])):
        drive(run.ablation.run(vary, seeds=given.seeds, images=given.images))
        table = run.ablation.table()
        found[name] = json.loads(table.to_json(orient="records"))
        parts.append(markdown(table))
        n, seeds = int(table["n"].iloc[0]), int(table["seeds"].iloc[0])
    FILE.write_text(json.dumps(found, indent=1) + "\n")
    over = (
        "one seed"
        if seeds == 1
        else f"{seeds} seeds (other wrong labels, other weights), mean ± sd"
    )
    # one table: the wider settings are rows like the others
    rows = [parts[0], *("\n".join(part.splitlines()[2:]) for part in parts[1:])]
    put(
        REPAIR,
        "ablation",
        f"{n // seeds} mislabelled high-influence images per seed, {over}.\n\n" + "\n".join(rows),
    )


if __name__ == "__main__":
    main()
