"""Which score finds wrong labels: average precision and precision at 10 %, over seeds.

    python -m tests.benchmarks.estimators [--folder DIR] [--rates 0.2 0.3] [--seeds 3] [--jobs 2]

Without a folder the demo's faces are used. Labels of the training split are made wrong at each rate
under each seed, the classifier is trained on them, and every score is computed, those on request
too. Nothing of the truth reaches a score. Results are added to ``results/estimators.json`` under the
data set's name, and the tables of docs/influence.md are written again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import torch

from diffinf_core.config import ON_REQUEST, SIGNALS, change, make_config
from diffinf_core.data.truth import open_truth
from diffinf_core.engine import open_run
from diffinf_core.influence.checkpoints import checkpoint_epochs
from diffinf_core.influence.estimators import ESTIMATORS, quality
from diffinf_core.influence.stage import read_scores
from diffinf_core.runs.workers import worker_pool
from tests.benchmarks.pages import put

RESULTS = Path(__file__).parent / "results" / "estimators.json"
DOCS = Path(__file__).parents[2] / "docs" / "influence.md"
COMBINED = ("mean_loss+aum+el2n", "self_influence+mean_loss")
RULES = ("all", "early", "agreement")
TAU = 10.0


def one(task: tuple[str, str | None, float, int]) -> dict[str, Any]:
    """Every score under every checkpoint rule, for one data set, rate and seed."""
    out, folder, rate, seed = task
    torch.set_num_threads(1)
    over: dict[str, Any] = {
        "noise": {"rate": rate, "seed": seed},
        "classifier": {"seed": seed},
        "influence": {"seed": seed},
    }
    if folder is not None:
        over["data"] = {"source": "folder", "path": folder}
    config = make_config("demo", over)
    found: dict[str, Any] = {"rate": rate, "seed": seed, "rules": {}}
    for rule in RULES:
        names = list(SIGNALS) + list(COMBINED)
        asked = change(config, {"influence": {"checkpoint_rule": rule}})
        engine = open_run(Path(out), asked)
        for _ in engine.compute("influence"):
            pass
        if rule == "early":
            for name in ON_REQUEST:
                for _ in engine.score(name):
                    pass
            names += list(ON_REQUEST)
        truth = open_truth(engine.folder, "benchmark").training()
        assert truth is not None
        found["rules"][rule] = {
            "epochs": checkpoint_epochs(engine.folder),
            "quality": quality(read_scores(engine.folder), names, truth[1], TAU),
        }
        found["n"] = len(truth[1])
        found["dataset"] = engine.report()["dataset"]["classes"]
    return found


def _mean(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def table(name: str, rows: list[dict[str, Any]]) -> list[str]:
    """A data set's tables: every score under the default rule, and the rules beside one another."""
    rates = sorted({r["rate"] for r in rows})
    head = [f"{m}, {rate:.0%} wrong" for rate in rates for m in ("AP", "P@10 %")]
    seeds = len({r["seed"] for r in rows})
    lines = [
        f"**{name}**: {rows[0]['n']} training pictures, {seeds} seeds.",
        "",
        f"| score | {' | '.join(head)} |",
        "|---|" + "---|" * len(head),
    ]

    def values(rate: float, rule: str, score: str, key: str) -> list[float]:
        return [r["rules"][rule]["quality"][score][key] for r in rows if r["rate"] == rate]

    def best(score: str) -> float:
        return -statistics.mean(
            v for rate in rates for v in values(rate, "early", score, "average_precision")
        )

    # a score that came later is not in results of before
    measured = set.intersection(*(set(r["rules"]["early"]["quality"]) for r in rows))
    for score in sorted((s for s in (*ESTIMATORS, *COMBINED) if s in measured), key=best):
        cells = [
            _mean(values(rate, "early", score, key))
            for rate in rates
            for key in ("average_precision", "precision_at_tau")
        ]
        lines.append(f"| {score} | {' | '.join(cells)} |")
    lines += [
        "",
        "| checkpoint rule | "
        + " | ".join(
            f"{s} AP, {rate:.0%}" for rate in rates for s in ("self_influence", "mean_loss")
        )
        + " | last epoch used |",
        "|---|" + "---|" * (2 * len(rates) + 1),
    ]
    for rule in RULES:
        cells = [
            _mean(values(rate, rule, score, "average_precision"))
            for rate in rates
            for score in ("self_influence", "mean_loss")
        ]
        ends = sorted({r["rules"][rule]["epochs"][-1] for r in rows})
        last = f"{ends[0]}" if len(ends) == 1 else f"{ends[0]} to {ends[-1]}"
        lines.append(f"| {rule} | {' | '.join(cells)} | {last} |")
    return [*lines, ""]


def into_docs(found: dict[str, list[dict[str, Any]]]) -> None:
    """Put the tables between the markers of docs/influence.md."""
    lines = [line for name, rows in found.items() for line in table(name, rows)]
    put(DOCS, "estimators", "\n".join(lines))


def main() -> None:
    """Run what is missing, several at once, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--name", help="the data set in the tables; default: the folder's name")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.2, 0.3])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/estimators"))
    parser.add_argument("--docs-only", action="store_true")
    given = parser.parse_args()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not given.docs_only:
        name = given.name or (given.folder.name if given.folder else "demo faces")
        folder = str(given.folder.resolve()) if given.folder else None
        tasks = [
            (str(given.out / f"{name.replace(' ', '-')}-{rate}-{seed}"), folder, rate, seed)
            for seed in range(given.seeds)
            for rate in given.rates
        ]
        rows = []
        with worker_pool(given.jobs) as pool:
            for job in as_completed([pool.submit(one, t) for t in tasks]):
                row = job.result()
                rows.append(row)
                early = row["rules"]["early"]["quality"]
                shown = {k: round(v["average_precision"], 3) for k, v in early.items()}
                print(name, row["rate"], row["seed"], shown, flush=True)
        found[name] = sorted(rows, key=lambda r: (r["rate"], r["seed"]))
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    into_docs(found)


if __name__ == "__main__":
    main()
