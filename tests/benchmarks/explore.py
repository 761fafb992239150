"""How long the Explore page takes with 70,000 training samples, on the server and in a browser.

    python -m tests.benchmarks.explore [--n 70000] [--no-browser]

The run is made up: its stages' files are written directly, with drawn scores, coordinates and
pictures of noise, so that nothing is trained. ``first_page`` is the time from a click on the tab until
the first page of the table stands, ``map`` the time from that click until every point is drawn, both
with everything read from disk for the first time. Beside them stands the processor time behind both,
of the server and of the page's own thread, which other work on the machine does not stretch; what the
browser computes elsewhere, such as WebGL without a graphics card, is not in it.
Near-duplicates are looked for among pictures that share their
coarse layout, as portraits do, with 500 planted pairs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diffinf_core.classifier.stage import CLASSIFIER
from diffinf_core.config import make_config
from diffinf_core.data.alike import near_duplicates
from diffinf_core.data.ingest import DATA
from diffinf_core.engine import View, open_run
from diffinf_core.influence.embedding import SLICE, embedding, principal_axes
from diffinf_core.influence.stage import INFLUENCE
from diffinf_core.runs.files import write_array, write_json, write_table
from diffinf_core.runs.run import Run
from diffinf_core.ui.explore import data as explore_data
from tests.benchmarks.pages import ROOT, put

RESULTS = Path(__file__).parent / "results" / "explore.json"
DOC = ROOT / "docs" / "review.md"
CLASSES = ("happy", "neutral", "sad", "surprised")
SIZE, WIDTH, ROUNDS = 32, 64, 5
SCORES = ("self_influence", "last_layer", "mean_loss", "aum", "el2n", "forgetting")


def made_up_run(root: Path, n: int) -> Run:
    """A ranked run of n training samples with a map, whose files were drawn and not computed."""
    over = {
        "data": {"source": "folder", "path": str(root / "pictures"), "image_size": SIZE},
        "influence": {"checkpoint_rule": "all"},
    }
    run, draw = (
        Run.prepare(root / "run", make_config("demo", over)).store(),
        np.random.default_rng(0),
    )
    ids = [f"{i * 2654435761 % 16**12:012x}" for i in range(n)]
    columns = {
        "id": ids,
        "file": [f"images/{i:06d}.jpg" for i in range(n)],
        "label": draw.choice(CLASSES, n),
        "split": "train",
        "sex": draw.choice(("female", "male"), n),
        "region": draw.choice([f"region {k}" for k in range(12)], n),
    }
    data = DATA.folder(run)
    write_table(data / "samples.csv", pd.DataFrame(columns))
    write_json(data / "classes.json", list(CLASSES))
    images = np.lib.format.open_memmap(data / "images.npy", "w+", np.uint8, (n, SIZE, SIZE, 3))
    for start in range(0, n, SLICE):
        some = images[start : start + SLICE]
        some[:] = draw.integers(0, 256, some.shape, np.uint8)
    images.flush()
    data.finish({"n": n, "n_train": n, "classes": list(CLASSES), "noise_rate": None})
    curve = [
        {"epoch": e, "train_loss": 1 / e, "train_agreement": 1 - 1 / (e + 1), "val_loss": 1 / e,
         "val_accuracy": 1 - 1 / (e + 1), "learning_rate": 1e-3}
        for e in range(1, run.config.classifier.epochs + 1)
    ]  # fmt: skip
    write_json(CLASSIFIER.folder(run) / "history.json", curve)
    CLASSIFIER.folder(run).finish({"start": "nowhere"})
    scores = {name: draw.lognormal(0, 1, n) for name in SCORES}
    scores["aum"] = draw.normal(0, 1, n)
    write_table(INFLUENCE.folder(run) / "scores.csv", pd.DataFrame({"id": ids, **scores}))
    INFLUENCE.folder(run).finish({"checkpoint_epochs": [24], "n": n})
    centres = draw.normal(0, 3, (len(CLASSES), 2))
    at = pd.Categorical(columns["label"], CLASSES).codes
    points = centres[at] + draw.normal(0, 1, (n, 2))
    write_array(embedding("pca").folder(run) / "coordinates.npy", points.astype(np.float32))
    embedding("pca").folder(run).finish({"method": "pca", "share": [0.5, 0.3]})
    return run


def seconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median time of some work."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return round(statistics.median(times), 3)


def on_the_server(run: Run) -> dict[str, Any]:
    """Seconds of what the page asks for, first with nothing read, then with everything read."""
    engine = open_run(run.root)
    found = {"read_samples": seconds(engine.explore.samples, 1)}
    found["map_payload"] = seconds(lambda: explore_data.points(engine, "pca"))
    payload = json.dumps(explore_data.points(engine, "pca"))
    found["map_payload_mib"] = round(len(payload) / 2**20, 2)
    found["page_by_rank"] = seconds(lambda: engine.explore.view(View()))
    found["page_by_score"] = seconds(lambda: engine.explore.view(View(sort="aum", descending=True)))
    found["page_by_text"] = seconds(lambda: engine.explore.view(View(text="0123", sort="file")))
    found["subgroups"] = seconds(engine.explore.subgroups)
    found["disagreement"] = seconds(lambda: engine.explore.scores.disagreement("mean_loss", "aum"))
    found["ranking_plots"] = seconds(engine.explore.scores.plots, 1)
    return found


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium without a graphics card: WebGL is computed by the processor."""
    from playwright.sync_api import sync_playwright

    from tests.install_browser import own_chromium, system_chromium

    with sync_playwright() as p:
        path = system_chromium() or own_chromium()
        there = p.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield there
        there.close()


def until(page: Any, act: Callable[[], object], holds: str) -> float:
    """Seconds from an action until a JavaScript condition holds."""
    began = time.perf_counter()
    act()
    page.wait_for_function(holds, timeout=60_000, polling=20)
    return round(time.perf_counter() - began, 2)


def server_cpu(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def page_cpu(session: Any) -> float:
    """Processor seconds of the page's own thread so far."""
    metrics = session.send("Performance.getMetrics")["metrics"]
    return next(m["value"] for m in metrics if m["name"] == "TaskDuration")


def in_the_browser(run: Run) -> dict[str, Any]:
    """Seconds that a person waits; ``lasso`` includes drawing it in twenty movements."""
    from tests.ui.browser import NO_TOUR, Server
    from tests.ui.explore.window import lasso

    server = Server(run.root)
    table = "document.querySelector('#explore-table tbody tr')"
    map_stands = "document.querySelector('.di-map[data-ready]')"
    count = "document.querySelector('#table-count').innerText"
    first = "document.querySelector('#explore-table tbody .di-file-name').innerText"
    try:
        with browser() as chromium:
            page = chromium.new_page(viewport={"width": 1440, "height": 950})
            page.add_init_script(NO_TOUR)
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(f"http://127.0.0.1:{server.port}/")
            page.wait_for_selector("#run-start")
            page.wait_for_function("window.Plotly", timeout=60_000)
            page.wait_for_timeout(1000)
            tab = page.get_by_role("tab", name="Explore")
            before_cpu = server_cpu(server.process.pid), page_cpu(session)
            began = time.perf_counter()
            out = {"first_page": until(page, tab.click, table)}
            page.wait_for_function(map_stands, timeout=60_000, polling=20)
            out["map"] = round(time.perf_counter() - began, 2)
            out["map_cpu_server"] = round(server_cpu(server.process.pid) - before_cpu[0], 2)
            out["map_cpu_page"] = round(page_cpu(session) - before_cpu[1], 2)
            before = page.evaluate(first)
            out["sort"] = until(
                page, lambda: page.click("[data-di-sort=aum]"), f"{first} !== {before!r}"
            )
            out["filter"] = until(
                page,
                lambda: page.fill("#table-text textarea, #table-text input", "00012"),
                f"!{count}.includes('{len(open_run(run.root).training):,}')",
            )
            out["colour"] = until(
                page,
                lambda: page.select_option("#map-colour", "region"),
                "diMap.plot().data.length === 12 && diMap.plot().querySelector('.nsewdrag')",
            )
            page.wait_for_timeout(3000)
            chosen = "document.querySelector('[data-di-count]').innerText"
            out["lasso"] = until(page, lambda: lasso(page), f"{chosen} !== '0'")
            out["lasso_selected"] = int(page.evaluate(chosen).replace(",", ""))
            page.click("#explore-clear")
            page.fill("#table-text textarea, #table-text input", "")
            page.wait_for_function(f"{count}.includes('{len(open_run(run.root).training):,}')")
            seen = (
                "[...document.querySelectorAll('.di-cell img')].filter((i) => i.complete && "
                "i.naturalWidth).length >= 20"
            )
            out["grid"] = until(page, lambda: page.check("#explore-mode input[value=grid]"), seen)
            words = "document.getElementById('grid-words').textContent"
            every = page.evaluate(words)
            out["lasso_to_grid"] = until(
                page, lambda: lasso(page), f"{words} !== {every!r} && {seen}"
            )
            page.click("#explore-clear")
            page.uncheck("#table-only input")
            page.wait_for_function(f"{words} === {every!r}")
            page.focus("#grid-cells")
            out["select_all"] = until(
                page,
                lambda: page.keyboard.press("Control+a"),
                f"diExplore.size() === {len(open_run(run.root).training)}",
            )
    finally:
        server.kill()
    return out


def projection(folder: Path, n: int) -> dict[str, float]:
    """Seconds and growth of memory of the exact projection of n features."""
    draw = np.random.default_rng(1)
    files = []
    for start in range(0, n, SLICE):
        files.append(folder / f"slice-{start:08d}.npy")
        np.save(files[-1], draw.normal(size=(min(SLICE, n - start), WIDTH)).astype(np.float32))
    return {"features": WIDTH, "seconds": seconds(lambda: principal_axes(files), 1)}


def duplicates(n: int) -> dict[str, float]:
    """Seconds of the search among n thumbnails that share their coarse layout."""
    from scipy.fft import idctn

    draw = np.random.default_rng(2)
    layout, grey = draw.normal(size=(8, 8)), np.empty((n, 32, 32), np.uint8)
    for start in range(0, n, SLICE):
        rows = min(SLICE, n - start)
        low = np.zeros((rows, 32, 32))
        low[:, :8, :8] = layout + 0.8 * draw.normal(size=(rows, 8, 8))
        grey[start : start + rows] = np.clip(
            128 + 200 * idctn(low, axes=(1, 2), norm="ortho"), 0, 255
        )
    grey[-500:] = grey[:500]
    began = time.perf_counter()
    *_, (_, _, pairs) = near_duplicates(grey)
    planted = set(zip(range(500), range(n - 500, n), strict=True))
    found = set(zip(pairs["first"], pairs["second"], strict=True))
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "pairs": len(found),
        "planted_found": len(planted & found),
    }


def table(found: dict[str, Any]) -> str:
    """The page's table."""
    seconds_ = found["seconds_in_the_browser"]
    names = {
        "first_page": "first page of the table, from the click on the tab",
        "map": "every point of the map drawn, from the same click",
        "sort": "sorted by another score",
        "filter": "filtered by file name",
        "colour": "map in other colours",
        "lasso": f"{seconds_['lasso_selected']:,} points selected by lasso, drawing included",
        "grid": "grid of thumbnails, from its choice until twenty pictures are painted",
        "lasso_to_grid": "the same points as a grid, drawing included",
        "select_all": "all selected in the grid by Ctrl+A",
    }
    rows = [f"| {text} | {seconds_[key]:.2f} s |" for key, text in names.items()]
    return "\n".join([f"| {found['n']:,} training samples | |", "|---|---|", *rows])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=70_000)
    parser.add_argument("--no-browser", action="store_true")
    given = parser.parse_args()
    root = Path(tempfile.mkdtemp())
    try:
        run = made_up_run(root, given.n)
        found: dict[str, Any] = {"n": given.n, "seconds_on_the_server": on_the_server(run)}
        print(found, flush=True)
        if not given.no_browser:
            found["seconds_in_the_browser"] = in_the_browser(run)
            print(found["seconds_in_the_browser"], flush=True)
        found["load_average"] = round(os.getloadavg()[0], 1)
        found["projection"] = projection(root, given.n)
        found["duplicates"] = duplicates(given.n)
        print(found["projection"], found["duplicates"], flush=True)
    finally:
        shutil.rmtree(root)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    if not given.no_browser:
        put(DOC, "explore", table(found))


if __name__ == "__main__":
    main()
