"""Put the tables of a run's benchmark, and what its audit of subgroups warns of, into docs/results.md:

    diffinf demo --out runs/expression --no-app --no-retrain
    diffinf benchmark runs/expression --methods noisy,removal,repair
    python -m tests.benchmarks.rivals expression runs/expression

The place is a pair of comments with that name on the page. ``--brief`` leaves out groups, distances and the
audit; ``--tables`` is the folder that a benchmark was given by ``--out``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from diffinf_core.engine import open_run
from diffinf_core.report.benchmark import parts, summary
from diffinf_core.report.benchmark_rows import markdown_of
from tests.benchmarks.pages import ROOT, put


def main() -> None:
    """Read the stored benchmark of a run and write its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="place on the page, such as expression")
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--brief", action="store_true", help="the tables of rows alone")
    parser.add_argument(
        "--tables", type=Path, help="where the benchmark lies, by default the run's"
    )
    given = parser.parse_args()
    run = open_run(given.run)
    benchmark = run.benchmark.last(given.tables)
    if given.brief:
        shown = [summary(benchmark)]
        for title, lines, left in parts(benchmark):
            if title.startswith("tau"):
                shown += [f"**{title[0].upper()}{title[1:]}**", markdown_of(lines), left]
        put(ROOT / "docs" / "results.md", given.name, "\n\n".join(filter(None, shown)))
        return
    audit = [
        f"Subgroup audit of the training split: {text}" for text in run.compare.audit().disparities
    ]
    text = "\n\n".join([run.benchmark.markdown(given.tables).strip(), *audit])
    put(ROOT / "docs" / "results.md", given.name, text)


if __name__ == "__main__":
    main()
