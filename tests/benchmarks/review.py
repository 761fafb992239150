"""How quick the review is in a real browser, on loopback:

    python -m tests.benchmarks.review [--run runs/bench] [--decisions 100]

For each of many decisions by key: until the decision is on the page (it is durable by then, because the
page draws what the journal says), and until every picture of the next pair is painted. Beside them the
floor: the same browser fetching a picture of the app. Medians and 95th percentiles, in milliseconds, go to
``results/review.json`` and into docs/review.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from diffinf_core.config import make_config
from diffinf_core.engine import open_run
from tests.benchmarks.demo import drive
from tests.benchmarks.pages import RESULTS, ROOT, put
from tests.install_browser import own_chromium, system_chromium
from tests.ui.browser import ARGUMENTS, Server, open_page
from tests.ui.conftest import Browser

FILE = RESULTS / "review.json"
DOC = ROOT / "docs" / "review.md"
#: press a key; resolve with [ms until the head changed, ms until all pictures are decoded and painted]
_STEP = """async key => {
  const place = () => document.querySelector('#review-head .di-place')?.textContent;
  const before = place(), began = performance.now();
  document.body.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
  while (place() === before) await new Promise(requestAnimationFrame);
  const decided = performance.now() - began;
  await Promise.all([...document.querySelectorAll('#review-pair img')].map(i => i.decode()));
  await new Promise(requestAnimationFrame);
  return [decided, performance.now() - began];
}"""
_FLOOR = """async () => {
  const source = document.querySelector('#review-pair img').src + '?' + Math.random();
  const began = performance.now();
  await (await fetch(source)).blob();
  return performance.now() - began;
}"""


def _figures(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median_ms": statistics.median(ordered),
        "p95_ms": ordered[min(len(ordered) - 1, round(0.95 * len(ordered)))],
        "n": len(ordered),
    }


def measure(run: Path, decisions: int) -> dict[str, Any]:
    """Decide with keys in a copy of the run."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        copy = Path(folder) / "run"
        shutil.copytree(
            run, copy, ignore=shutil.ignore_patterns("ablation", "inversions", "review*")
        )
        server = Server(copy)
        browser = p.chromium.launch(
            executable_path=system_chromium() or own_chromium(), args=ARGUMENTS
        )
        try:
            page = open_page(Browser(browser), server)
            floor = [page.evaluate(_FLOOR) for _ in range(20)]
            steps = []
            for i in range(decisions):
                steps.append(page.evaluate(_STEP, "akr"[i % 3]))
                page.wait_for_timeout(
                    150
                )  # a person looks at the pair; the next one is fetched meanwhile
            standing = len(open_run(copy).review.decisions())
        finally:
            browser.close()
            server.kill()
    assert standing == decisions, f"{standing} of {decisions} decisions are on disk"
    return {
        "pairs": len(open_run(run).queue),
        "decision": _figures([s[0] for s in steps]),
        "next_pair": _figures([s[1] for s in steps]),
        "floor": _figures(floor),
    }


def table(found: dict[str, Any]) -> str:
    """The page's table."""
    names = {
        "decision": "decision on the page, durable",
        "next_pair": "next pair painted",
        "floor": "one picture fetched, the floor",
    }
    rows = [
        f"| {text} | {found[key]['median_ms']:.0f} ms | {found[key]['p95_ms']:.0f} ms |"
        for key, text in names.items()
    ]
    head = f"| {found['decision']['n']} decisions of {found['pairs']} pairs | median | 95th percentile |"
    return "\n".join([head, "|---|---|---|", *rows])


def main() -> None:
    """Measure, store, render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/bench"))
    parser.add_argument("--decisions", type=int, default=100)
    given = parser.parse_args()
    drive(open_run(given.run, make_config("demo")).compute())
    found = measure(given.run, given.decisions)
    FILE.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))
    put(DOC, "review", table(found))


if __name__ == "__main__":
    main()
