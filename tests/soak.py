"""Faults, again and again: kills, a full disk, several servers, half-open connections.

Each function does one kind of harm, asserts what docs/reliability.md promises, and returns figures. The tests
run them in short; ``make soak`` at length.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from diffinf_core.engine import diagnose, open_run
from diffinf_core.export.dataset import read_export
from diffinf_core.records import DiffInfError
from tests.forks import FORKS, ROOT, diffinf, run_command
from tests.ui.browser import Server
from tests.ui.endurance import call

_Words = Sequence[str]
#: settings of a run of some seconds, small enough for thirty kills
TINY = (
    "data.demo_faces=240", "split.val_share=0.2", "split.test_share=0.2", "classifier.epochs=3",
    "classifier.checkpoints=3", "influence.tau=8", "predictor.folds=2", "predictor.epochs=5",
    "repair.steps=3", "repair.batch_size=4",
)  # fmt: skip


def tiny(out: Path) -> list[str]:
    """The command of a tiny run."""
    return ["run", "--out", str(out), *(word for pair in TINY for word in ("--set", pair))]


def _done(words: _Words) -> float:
    """Run a command to its end, which must be a good one; the seconds it took."""
    began = time.monotonic()
    done = diffinf(*words, limit=900)
    assert done.returncode == 0, done.stderr[-600:]
    return time.monotonic() - began


def _killed(words: _Words, after: float) -> bool:
    """Start a command and kill it after some seconds; whether it was still at work."""
    with tempfile.TemporaryDirectory() as folder:
        process = FORKS.Process(target=run_command, args=(words, ROOT, Path(folder)))
        process.start()
        process.join(after)
        working = process.is_alive()
        process.kill()
        process.join()
        return working


def promised(name: str, figures: Any) -> None:
    """Fail where something was damaged, cut, lost or left behind, or no kill struck at work."""
    if not isinstance(figures, dict):
        return
    for bad in ("damaged_files", "left_behind", "cut", "lost"):
        assert figures.get(bad, 0) == 0, (name, figures)
    assert figures.get("while_at_work", 1) >= 1, (name, figures)


def kills_of_work(
    root: Path, words: _Words, kills: int, longest: float, seed: int = 0
) -> dict[str, Any]:
    """Kill a command within ``longest`` seconds and let it go on; at the end the run is whole."""
    rng, struck = random.Random(seed), 0
    for _ in range(kills):
        struck += _killed(words, rng.uniform(0.05, longest))
    _done(words)
    damaged = diagnose(root).findings
    left = [p.name for p in root.rglob(".*.part")]
    return {
        "kills": kills,
        "while_at_work": struck,
        "damaged_files": len(damaged),
        "left_behind": len(left),
    }


def kills_of_export(run: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Kill exports at random moments of the time that one takes: the target is whole or not there."""
    rng, struck, whole, cut = random.Random(seed), 0, 0, 0
    target = run.parent / "exported"
    words = ["export", str(run), "--out", str(target)]
    for _ in range(2):  # the first command waits until the libraries are in memory
        seconds = _done(words)
        shutil.rmtree(target)
    for _ in range(kills):
        struck += _killed(words, rng.uniform(0.05, seconds))
        if target.exists():
            try:
                read_export(target).verify()
                whole += 1
            except DiffInfError:
                cut += 1
            shutil.rmtree(target)
    _done(words)
    read_export(target).verify()
    left = [p.name for p in run.parent.iterdir() if p.name.startswith(".exported.") and p.is_dir()]
    shutil.rmtree(target)
    return {
        "kills": kills,
        "while_at_work": struck,
        "whole": whole,
        "cut": cut,
        "left_behind": len(left),
    }


# ---------------------------------------------------------------- a full disk


@contextlib.contextmanager
def small_disk(kilobytes: int) -> Iterator[Path | None]:
    """A file system of that size; None where this user may not mount one."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder]
        mounted = (
            shutil.which("mount") and subprocess.run(command, capture_output=True).returncode == 0
        )
        if not mounted:
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def full_disk(sizes: Sequence[int]) -> dict[str, Any] | None:
    """Compute and export on a disk that is full at each of these sizes, in kilobytes; None without a disk.

    Each time the command ends in its sentence and what is there is whole; with enough room it goes on.
    """
    refused = damaged = 0
    with small_disk(sizes[0]) as disk:
        if disk is None:
            return None
        run, target = disk / "run", disk / "out"
        for size in sizes:
            subprocess.run(["mount", "-o", f"remount,size={size}k", str(disk)], check=True)
            done = diffinf(*tiny(run), limit=900)
            if done.returncode == 0:
                break
            _one_sentence(done)
            refused += 1
            if (run / "config.yaml").exists():
                damaged += len(diagnose(run).findings)
        for size in sizes[::3]:
            used = sum(p.stat().st_blocks * 512 for p in disk.rglob("*") if p.is_file()) // 1024
            subprocess.run(
                ["mount", "-o", f"remount,size={used + size // 20}k", str(disk)], check=True
            )
            done = diffinf("export", str(run), "--out", str(target), limit=300)
            if done.returncode == 0:
                read_export(target).verify()
                shutil.rmtree(target)
            else:
                _one_sentence(done)
                assert not target.exists()
                refused += 1
        subprocess.run(["mount", "-o", f"remount,size={4 * sizes[-1]}k", str(disk)], check=True)
        _done(tiny(run))
        _done(["export", str(run), "--out", str(target)])
        read_export(target).verify()
        damaged += len(diagnose(run).findings)
    return {"sizes": len(sizes), "refused_with_a_sentence": refused, "damaged_files": damaged}


def _one_sentence(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr[-800:]
    assert "disk is full" in done.stderr, done.stderr[-400:]


# ---------------------------------------------------------------- many at once


def several(run: Path, decisions: int) -> dict[str, Any]:
    """Two servers at once and commands on one run: every acknowledged decision is seen by all."""
    ids = list(open_run(run).queue["id"])
    servers = [Server(run), Server(run)]

    def decide(of: int) -> dict[str, str]:
        """Every other sample, again and again; the last comment on each that was acknowledged."""
        own, last = ids[of::2], {}
        with httpx.Client(base_url=servers[of].address, timeout=60) as client:
            for i in range(decisions // 2):
                sample, comment = own[i % len(own)], f"server {of}, {i}"
                call(client, "decide", sample, "keep", "", "", comment)
                last[sample] = comment
        return last

    commands = 0
    try:
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(decide, of) for of in range(2)]
            while commands < 3 or not all(one.done() for one in both):
                _done(["report", str(run)])
                commands += 1
            written = both[0].result() | both[1].result()
        shown = []
        for server in servers:
            with httpx.Client(base_url=server.address, timeout=60) as client:
                shown.append({d["comment"] for d in call(client, "decisions")})
    finally:
        for server in servers:
            server.kill()
    standing = {d.sample: d.comment for d in open_run(run).review.decisions().values()}
    assert shown[0] == shown[1] == set(standing.values()), "both servers and a new reader agree"
    lost = sum(standing.get(sample) != comment for sample, comment in written.items())
    return {"servers": 2, "commands": commands, "decisions": decisions // 2 * 2, "lost": lost}


def beside_half_open(run: Path, connections: int, decisions: int) -> dict[str, Any]:
    """A reviewer who decides while many connections never finish their request."""
    ids = list(open_run(run).queue["id"])
    server = Server(run)
    taken: list[float] = []
    waiting: list[socket.socket] = []
    try:
        with httpx.Client(base_url=server.address, timeout=60) as client:
            call(client, "decide", ids[0], "keep", "", "", "first")  # what is read once is read
            for i in range(connections):
                stream = socket.create_connection(("127.0.0.1", server.port), timeout=30)
                stream.sendall(
                    b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Le" if i % 2 else b"G"
                )
                waiting.append(stream)
            for i in range(decisions):
                began = time.monotonic()
                call(client, "decide", ids[i % len(ids)], "keep", "", "", str(i))
                taken.append(1000 * (time.monotonic() - began))
    finally:
        for stream in waiting:
            stream.close()
        server.kill()
    taken.sort()
    return {
        "half_open": connections,
        "decisions": decisions,
        "median_ms": round(taken[len(taken) // 2], 1),
        "p95_ms": round(taken[int(0.95 * len(taken))], 1),
        "slowest_ms": round(taken[-1], 1),
    }
