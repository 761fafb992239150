"""What a review must survive: a server killed again and again, and many reviewers at once.

    python -m tests.ui.endurance RUN

RUN is copied. The same is part of the tests, shorter.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sqlite3
import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from diffinf_core.engine import open_run
from tests.ui.browser import Server

NAMES = [f"reviewer{i:02d}" for i in range(20)]


def call(client: httpx.Client, verb: str, *given: Any) -> Any:
    """An endpoint of the app, once; raises httpx.HTTPError where there is no answer."""
    answer = client.post(f"gradio_api/run/{verb}", json={"data": list(given)})
    answer.raise_for_status()
    return answer.json()["data"][0]


def killed_session(run: Path, decisions: int, kills: int, seed: int = 0) -> dict[str, int]:
    """Decide over HTTP while the server is killed at random moments; nothing acknowledged may be lost."""
    rng = random.Random(seed)
    ids = list(open_run(run).queue["id"])
    server = Server(run)
    acknowledged: list[str] = []
    lost_answers = 0
    killer: threading.Thread | None = None
    left = kills
    try:
        for n in range(decisions):
            if (
                left
                and (killer is None or not killer.is_alive())
                and rng.random() < 2 * kills / decisions
            ):
                pause = rng.uniform(0, 0.15)

                def strike(pause: float = pause) -> None:
                    time.sleep(pause)
                    server.process.kill()

                killer = threading.Thread(target=strike)
                killer.start()
                left -= 1
            while True:
                try:
                    with httpx.Client(base_url=server.address, timeout=20) as client:
                        call(
                            client,
                            "decide",
                            rng.choice(ids),
                            rng.choice(("keep", "reject", "drop")),
                            "",
                            "",
                            str(n),
                        )
                    acknowledged.append(str(n))
                    break
                except httpx.HTTPError:
                    lost_answers += 1
                    assert killer is not None, "the server failed by itself"
                    killer.join()
                    server.process.join()
                    server.start()
        if killer is not None:
            killer.join()
    finally:
        server.kill()
    with sqlite3.connect(run / "review" / "journal.sqlite") as connection:
        written = [row[0] for row in connection.execute("select comment from journal order by seq")]
    missing = set(acknowledged) - set(written)
    assert not missing, f"acknowledged and lost: {sorted(missing)}"
    firsts = list(dict.fromkeys(written))
    assert firsts == acknowledged, "the order of the journal is the order of the decisions"
    return {"decisions": len(acknowledged), "kills": kills - left, "lost_answers": lost_answers}


def crowd(run: Path, reviewers: int, seconds: float, seed: int = 0) -> dict[str, float]:
    """Reviewers at once: each takes the next pair, looks, decides, sometimes takes it back."""
    words = {name: f"word of {name}" for name in NAMES[:reviewers]}
    server = Server(run, {"DIFFINF_LOGIN": ",".join(f"{n}:{w}" for n, w in words.items())})
    held: list[tuple[str, str, float, float]] = []
    errors: list[str] = []
    slowest: list[float] = []

    def logged_in(name: str) -> httpx.Client:
        client = httpx.Client(base_url=server.address, timeout=60)
        answer = client.post("login", data={"username": name, "password": words[name]})
        assert answer.status_code == 200, f"{name}: {answer.status_code}"
        return client

    def review(name: str, client: httpx.Client) -> None:
        rng = random.Random(f"{seed}{name}")
        try:
            with contextlib.closing(client):
                while time.monotonic() < end:
                    pair = call(client, "next")
                    began = time.monotonic()
                    if not pair:
                        call(client, "undo")
                        continue
                    time.sleep(rng.uniform(0.05, 0.4))
                    action = rng.choice(("accept", "keep", "reject"))
                    before = time.monotonic()
                    call(client, "decide", pair["id"], action, pair["version"], "", "")
                    # held until the decision was taken, not until its answer came
                    held.append((name, pair["id"], began, before))
                    slowest.append(time.monotonic() - before)
                    if rng.random() < 0.2:
                        call(client, "undo")
        except Exception as error:
            errors.append(f"{name}: {error!r}")

    try:
        # one after another: many at once from one address look like somebody who guesses
        threads = [threading.Thread(target=review, args=(n, logged_in(n))) for n in words]
        end = time.monotonic() + seconds
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        server.kill()
    assert not errors, errors[:3]
    by_sample: dict[str, list[tuple[float, float, str]]] = {}
    for name, sample, began, until in held:
        by_sample.setdefault(sample, []).append((began, until, name))
    collisions = 0
    for spans in by_sample.values():
        spans.sort()
        collisions += sum(b[0] < a[1] and a[2] != b[2] for a, b in pairwise(spans))
    assert collisions == 0, f"{collisions} pairs were with two reviewers at once"
    slowest.sort()
    return {
        "reviewers": len({h[0] for h in held}),
        "decisions": len(held),
        "collisions": collisions,
        "median_ms": 1000 * slowest[len(slowest) // 2],
        "p95_ms": 1000 * slowest[int(0.95 * len(slowest))],
    }


def main() -> None:
    """The long forms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, work in (
            ("killed", lambda run: killed_session(run, 500, 50)),
            ("crowd", lambda run: crowd(run, 20, 120)),
        ):
            copy = Path(folder) / name / "run"
            shutil.copytree(
                given.run, copy, ignore=shutil.ignore_patterns("ablation", "inversions", "review*")
            )
            print(name, work(copy), flush=True)


if __name__ == "__main__":
    main()
