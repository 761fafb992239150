"""Several processes on one review: kills, writers, claims."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from diffinf_core.records import Choice
from diffinf_core.review.database import LINES
from diffinf_core.review.journal import Journal
from diffinf_core.review.leases import Leases
from tests.review.places import Place

ROOT = Path(__file__).parents[2]
_OPEN = """
import sys, time
from pathlib import Path
from diffinf_core.records import Choice
from diffinf_core.review.journal import Journal
from diffinf_core.review.leases import Leases
kind, where, run, who, count = sys.argv[1:]
journal = Journal(Path(where) if kind == "sqlite" else where, ("happy", "sad"), run)
print("open", flush=True)
sys.stdin.readline()
"""
_WRITE = """
for i in range(int(count)):
    journal.decide(f"s{i % 7}", "keep", who, comment=str(i))
    print(i, flush=True)
"""
_BATCHES = """
for i in range(int(count)):
    journal.decide_many([Choice(f"s{k}", "keep", comment=str(i)) for k in range(5)], who)
    journal.undo(who)
    journal.redo(who)
    print(i, flush=True)
"""
_CLAIM = """
leases, samples = Leases(journal.database), [f"s{i}" for i in range(40)]
mine = []
while (sample := leases.claim(who, [s for s in samples if s not in mine], at_most=100)):
    mine.append(sample)
    time.sleep(0.002)  # a lock is not always given in turn
print(" ".join(mine), flush=True)
"""


def process(place: Place, who: str, count: int, what: str) -> subprocess.Popen[str]:
    """A process that has the journal open and waits for a line to begin."""
    return subprocess.Popen(
        [sys.executable, "-c", _OPEN + what, *place.arguments, who, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def start(*processes: subprocess.Popen[str]) -> None:
    """Let them begin together."""
    for one in processes:
        assert one.stdout is not None and one.stdout.readline() == "open\n"
    for one in processes:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()


def kill_after(one: subprocess.Popen[str], lines: int) -> int:
    """Kill a process once it has said so many lines; how many it said in all."""
    assert one.stdout is not None
    for _ in range(lines):
        assert one.stdout.readline()
    one.send_signal(signal.SIGKILL)
    # Not `communicate`, which reads the pipe itself and misses what `readline` has buffered.
    rest = one.stdout.read().split()
    one.wait()
    return int(rest[-1]) + 1 if rest else lines


def test_a_kill_loses_no_decision_that_was_acknowledged(place: Place, journal: Journal) -> None:
    journal.decide("s0", "drop", "bob")
    writer = process(place, "ann", 100_000, _WRITE)
    start(writer)
    acknowledged = kill_after(writer, 25)
    comments = [row[7] for row in place.rows() if row[2] == "ann"]
    assert len(comments) in (acknowledged, acknowledged + 1)
    assert comments == [str(i) for i in range(len(comments))]
    # The other process and a new one go on with it.
    assert journal.undo("ann") == [f"s{(len(comments) - 1) % 7}"]
    again = place.journal()
    again.decide("s9", "keep", "bob")
    assert again.decisions() == journal.decisions()
    again.close()


def test_a_kill_leaves_no_half_of_a_batch(place: Place, journal: Journal) -> None:
    writer = process(place, "ann", 100_000, _BATCHES)
    start(writer)
    acknowledged = kill_after(writer, 10)
    rows = [row for row in place.rows() if row[3] == "keep"]
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row[-1]] = sizes.get(row[-1], 0) + 1
    assert set(sizes.values()) == {5} and len(sizes) in (acknowledged, acknowledged + 1)
    stands = {d.comment for d in journal.decisions().values()}
    assert len(stands) == 1 and len(journal.decisions()) == 5


def test_two_processes_write_without_losing_a_line(place: Place, journal: Journal) -> None:
    both = [process(place, who, 60, _WRITE) for who in ("ann", "bob")]
    start(*both)
    seen: list[int] = []
    while any(one.poll() is None for one in both):
        found = len(journal.decisions())  # somebody reads all the while
        seen.append(found)
    for one in both:
        one.communicate(timeout=60)
        assert one.returncode == 0
    rows = place.rows()
    assert len(rows) == 120 and seen == sorted(seen)
    for who in ("ann", "bob"):
        assert [row[7] for row in rows if row[2] == who] == [str(i) for i in range(60)]
    fresh = place.journal()
    assert list(fresh.decisions().items()) == list(journal.decisions().items())
    fresh.close()


def test_threads_share_a_journal(place: Place, journal: Journal) -> None:
    def work(who: str) -> None:
        for i in range(15):
            journal.decide(f"s{i}", "keep", who)
            assert f"s{i}" in journal.decisions()

    threads = [threading.Thread(target=work, args=(f"r{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(place.rows()) == 60 and len(journal.decisions()) == 15


def test_lines_become_visible_in_the_order_of_their_numbers(place: Place, journal: Journal) -> None:
    """A line that is written but not committed holds up the next one, so no reader jumps over it."""
    other, numbers = place.journal(), []
    row = {"time": "t", "reviewer": "ann", "action": "keep", "sample": "s1", "comment": ""}
    late = threading.Thread(target=lambda: numbers.append(other.decide("s2", "keep", "bob")))
    with journal.database.write("The line") as connection:
        connection.execute(LINES.insert().values({**row, "run": place.run}))
        late.start()
        time.sleep(0.3)
        assert late.is_alive() and not numbers and place.journal().decisions() == {}
    late.join()
    assert list(journal.decisions()) == ["s1", "s2"] == list(other.decisions())
    assert [r[0] for r in place.rows()][1:] == numbers
    other.close()


def test_two_processes_never_hold_the_same_sample(place: Place, journal: Journal) -> None:
    both = [process(place, who, 0, _CLAIM) for who in ("ann", "bob")]
    start(*both)
    mine = [one.communicate(timeout=60)[0].split() for one in both]
    assert sorted(mine[0] + mine[1]) == sorted(f"s{i}" for i in range(40))
    assert mine[0] and mine[1], "both got some"
    held = Leases(journal.database).held()
    assert held == {**dict.fromkeys(mine[0], "ann"), **dict.fromkeys(mine[1], "bob")}


def test_threads_never_hold_the_same_sample(journal: Journal) -> None:
    leases, samples = Leases(journal.database), [f"s{i}" for i in range(4)]
    got: list[str | None] = []
    threads = [
        threading.Thread(target=lambda k=k: got.append(leases.claim(f"r{k}", samples)))
        for k in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(filter(None, got)) == samples and got.count(None) == 2


def test_a_look_at_the_file_gives_up_no_lock_on_it(tmp_path: Path) -> None:
    """POSIX locks go when a process closes any handle of the file: whoever looks must not open it."""
    file = tmp_path / "journal.sqlite"
    journal = Journal(file, ("happy", "sad"))
    journal.decide("a", "keep", "ann")
    other = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=0); c.execute('BEGIN IMMEDIATE')"
    store = journal.database._file
    assert store is not None
    with journal.database.write("The decision") as connection:
        journal._append(connection, [journal._row(Choice("b", "keep"), "ann", "decide")])
        assert store.holds(store.to_write()[1]) and store.unchanged()
        found = subprocess.run(
            [sys.executable, "-c", other, str(file)], capture_output=True, text=True
        )
    assert "database is locked" in found.stderr
