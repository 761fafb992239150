"""Which score finds the wrong labels of a run, and how many are left among those that a generator trusts.

    python -m tests.benchmarks.trust NAME RUN [--covariate COLUMN ...]

The run's labels were made wrong on purpose. Every score that it has is compared; labels are trusted as
``train-generator`` does, with and without ``feature_confidence``. Results are added to
``results/trust.json`` and the tables of docs/influence.md are written again; without arguments only that.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sklearn.metrics import average_precision_score, roc_auc_score

from diffinf_core.config import ON_REQUEST, SIGNALS
from diffinf_core.data.part import open_training
from diffinf_core.data.truth import open_truth
from diffinf_core.diffusion.conditions import TRUST_SCORES, covariate, trusted
from diffinf_core.influence.estimators import top_tau
from diffinf_core.influence.stage import read_scores, request
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run
from tests.benchmarks.pages import RESULTS, ROOT, put

_FILE, _PAGE = RESULTS / "trust.json", ROOT / "docs" / "influence.md"
_TAU = 10.0


def measure(run: Run, columns: list[str]) -> dict[str, Any]:
    """Every score's figures for finding wrong labels, and what is trusted by each choice of scores."""
    train, truth = open_training(run), open_truth(run, "benchmark").training()
    if truth is None:
        raise DiffInfError(f"Nobody knows which labels of {run.root} are wrong.")
    wrong = truth[1]
    for _ in request("feature_confidence").compute(run):
        pass
    table = read_scores(run)
    scores = {
        name: {
            "average_precision": float(average_precision_score(wrong, table[name])),
            "precision": float(wrong[top_tau(table[name].to_numpy(), _TAU)].mean()),
            "auroc": float(roc_auc_score(wrong, table[name])),
        }
        for name in SIGNALS + ON_REQUEST
        if name in table
    }
    kept = tuple(covariate(train.table, column) for column in columns)
    trust = {}
    for among in (TRUST_SCORES, TRUST_SCORES[1:]):
        found = trusted(run, train, None, kept, among)
        trust[found.score] = {
            name: [int((found.trusted & of).sum()), int((found.trusted & of & wrong).sum())]
            for name, of in ((c, train.labels == k) for k, c in enumerate(train.classes))
        }
    wrong_by_class = {
        c: [int((train.labels == k).sum()), int(wrong[train.labels == k].sum())]
        for k, c in enumerate(train.classes)
    }
    return {
        "n": len(train),
        "side": train.size,
        "rate": run.config.noise.rate,
        "scores": scores,
        "trust": trust,
        "all": wrong_by_class,
    }


def tables(found: dict[str, Any]) -> str:
    """The tables of docs/influence.md."""
    out: list[str] = []
    for name, of in found.items():
        out += [
            f"**{name}**: {of['n']} training pictures of {of['side']} pixels, {of['rate']:.0%} wrong, one "
            "run.",
            "",
            f"| score | AP | P@{_TAU:g} % | AUROC |",
            "|---|---|---|---|",
        ]
        best = sorted(of["scores"].items(), key=lambda s: -s[1]["average_precision"])
        out += [
            f"| {score} | {v['average_precision']:.2f} | {v['precision']:.2f} | {v['auroc']:.2f} |"
            for score, v in best
        ]
        classes = list(of["all"])
        out += [
            "",
            f"| labels trusted by | {' | '.join(classes)} |",
            "|---" * (len(classes) + 1) + "|",
        ]
        for score, by_class in [("all labels", of["all"]), *of["trust"].items()]:
            cells = [f"{n}, {bad} wrong" for n, bad in (by_class[c] for c in classes)]
            out.append(f"| {score} | {' | '.join(cells)} |")
        out.append("")
    return "\n".join(out).strip()


def main() -> None:
    """Measure a run, or write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("name", nargs="?")
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--covariate", action="append", default=[])
    given = parser.parse_args()
    found = json.loads(_FILE.read_text()) if _FILE.exists() else {}
    if given.run is not None:
        found[given.name] = measure(Run.open(given.run), given.covariate)
        _FILE.write_text(json.dumps(found, indent=1) + "\n")
    put(_PAGE, "trust", tables(found))


if __name__ == "__main__":
    main()
