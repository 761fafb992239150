"""Every fault of tests/soak.py at length; figures into results/soak.json and docs/reliability.md.

make soak
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import soak
from tests.ui.endurance import killed_session

RESULTS = Path(__file__).parent / "results" / "soak.json"
DOC = Path(__file__).parents[2] / "docs" / "reliability.md"
#: milliseconds within which every decision is on the disk beside 500 half-open connections
LIMIT_MS = 250
SIZES = (64, 256, 1_000, 2_000, 3_000, 4_000, 6_000, 9_000, 14_000, 60_000)


def measure(home: Path) -> dict[str, Any]:
    """All figures; each part asserts what is promised."""
    out: dict[str, Any] = {"cores": os.cpu_count()}
    run = home / "run"
    seconds = soak._done(soak.tiny(run))

    def copy(name: str) -> Path:
        target = home / name / "run"
        shutil.copytree(run, target)
        return target

    def took(name: str, figures: dict[str, Any] | None) -> None:
        out[name] = figures
        print(f"{time.monotonic() - began:6.0f} s  {name}: {figures}", flush=True)

    began = time.monotonic()
    took("half_open", soak.beside_half_open(copy("half"), 500, 60))
    assert out["half_open"]["slowest_ms"] < LIMIT_MS, out["half_open"]
    took("several", soak.several(copy("several"), 30))
    took("export", soak.kills_of_export(copy("export"), 30))
    fresh = home / "killed" / "run"
    took("run", soak.kills_of_work(fresh, soak.tiny(fresh), 30, max(2.0, seconds / 5)))
    took("repair", kills_of_repair(copy))
    took("full_disk", soak.full_disk(SIZES))
    took("review", killed_session(copy("review"), 500, 50))
    for name, figures in out.items():
        soak.promised(name, figures)
    out["seconds"] = round(time.monotonic() - began)
    return out


def kills_of_repair(copy: Callable[[str], Path]) -> dict[str, Any]:
    """Kills of a repair from its first edit on; how long one takes is measured on a copy."""
    measured, again = copy("measured"), copy("repair")
    for run in (measured, again):
        shutil.rmtree(run / "edits")
        for stage in (run / "stages").glob("repair-*"):
            shutil.rmtree(stage)
    seconds = soak._done(["repair", str(measured)])
    return soak.kills_of_work(again, ["repair", str(again)], 30, seconds / 4)


def main() -> None:
    """Measure, and write what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder))
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    put(found)


def put(found: dict[str, Any]) -> None:
    """Write the figures between the marks of the page."""
    rows = [("what", "how often", "result"), ("---", "---", "---"), *rows_of(found)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    head, _, rest = DOC.read_text().partition("<!-- soak: begin -->\n")
    _, _, tail = rest.partition("<!-- soak: end -->")
    DOC.write_text(f"{head}<!-- soak: begin -->\n{table}\n<!-- soak: end -->{tail}")


def rows_of(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What was done, how often, and what came of it."""
    review, disk, half = found["review"], found["full_disk"], found["half_open"]
    several, export = found["several"], found["export"]
    out = [
        (
            "decisions over HTTP, the server killed",
            f"{review['decisions']} decisions, {review['kills']} kills",
            "0 acknowledged ones lost, 0 out of order",
        )
    ]
    for name in ("run", "repair"):
        figures = found[name]
        often = f"{figures['kills']} kills, {figures['while_at_work']} of them at work"
        result = f"{figures['damaged_files']} damaged files, {figures['left_behind']} left behind"
        out.append((f"`diffinf {name}` killed", often, result))
    often = f"{export['kills']} kills, {export['while_at_work']} of them at work"
    out.append(
        ("`diffinf export` killed", often, f"{export['cut']} cut, {export['whole']} whole already")
    )
    if disk is None:
        out.append(("disk full", "not measured: mounting was not allowed", ""))
    else:
        result = f"{disk['refused_with_a_sentence']} refusals in a sentence, "
        result += f"{disk['damaged_files']} damaged files"
        out.append(("disk full in `run` and `export`", f"{disk['sizes']} sizes", result))
    often = f"{several['decisions']} decisions, {several['commands']} commands"
    out.append(("two servers and commands on one run", often, f"{several['lost']} lost"))
    names = {"median": "median_ms", "95th percentile": "p95_ms", "slowest": "slowest_ms"}
    result = ", ".join(f"{name} {half[key]:.0f} ms" for name, key in names.items())
    often = f"{half['decisions']} decisions beside them"
    out.append((f"{half['half_open']} half-open connections", often, result))
    return out


if __name__ == "__main__":
    main()
