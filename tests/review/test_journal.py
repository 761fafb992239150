"""The journal: append-only, undone and redone like an editor's history, and safe from kills."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from diffinf_core.records import ACTIONS, DiffInfError
from diffinf_core.review.journal import MAX_COMMENT, Journal

ROOT = Path(__file__).parents[2]
CLASSES = ("happy", "sad")


def lines(file: Path) -> list[tuple[Any, ...]]:
    """The journal as it is on disk, read without the class under test."""
    with sqlite3.connect(file) as connection:
        rows = connection.execute("SELECT * FROM journal ORDER BY seq").fetchall()
    connection.close()
    return rows


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "review" / "journal.sqlite", CLASSES)


def standing(journal: Journal) -> dict[str, str]:
    """Sample to action."""
    return {sample: d.action for sample, d in journal.decisions().items()}


# ---------------------------------------------------------------- decisions


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_of_the_closed_set_is_kept_with_what_it_needs(
    journal: Journal, action: str
) -> None:
    journal.decide("s1", action, "ann", version="v1", new_label="sad", comment="why")
    decision = journal.decisions()["s1"]
    assert (decision.sample, decision.action, decision.reviewer) == ("s1", action, "ann")
    assert decision.comment == "why"
    assert decision.version == ("v1" if action == "accept" else None)
    assert decision.new_label == ("sad" if action == "relabel" else None)
    assert datetime.fromisoformat(decision.time).tzinfo is not None


@pytest.mark.parametrize(
    "action,more,part",
    [
        ("delete", {}, "'delete'"),
        ("undo", {}, "'undo'"),
        ("redo", {}, "'redo'"),
        ("", {}, "''"),
        ("ACCEPT", {"version": "v"}, "'ACCEPT'"),
        ("accept", {}, "version"),
        ("accept", {"version": ""}, "version"),
        ("relabel", {}, "None is not a class"),
        ("relabel", {"new_label": "angry"}, "'angry' is not a class; choose one of happy, sad"),
    ],
)
def test_anything_else_is_refused_in_one_sentence_and_writes_nothing(
    journal: Journal, action: str, more: dict[str, str], part: str
) -> None:
    with pytest.raises(DiffInfError) as caught:
        journal.decide("s1", action, "ann", **more)
    assert part in str(caught.value) and str(caught.value).endswith(".")
    assert journal.decisions() == {} and lines(journal.file) == []


def test_the_latest_decision_on_a_sample_stands_whoever_made_it(journal: Journal) -> None:
    journal.decide("s1", "keep", "ann")
    journal.decide("s2", "drop", "ann")
    journal.decide("s1", "reject", "bob")
    assert standing(journal) == {"s2": "drop", "s1": "reject"}
    assert list(journal.decisions()) == ["s2", "s1"], "in the order they were made"
    journal.undo("bob")
    assert standing(journal) == {"s1": "keep", "s2": "drop"}


def test_line_numbers_rise_and_nothing_is_ever_rewritten(journal: Journal) -> None:
    numbers = [journal.decide("s1", "keep", "ann"), journal.decide("s1", "drop", "ann")]
    before = lines(journal.file)
    journal.undo("ann")
    journal.redo("ann")
    numbers.append(journal.decide("s1", "keep", "ann"))
    assert numbers == sorted(set(numbers))
    after = lines(journal.file)
    assert after[: len(before)] == before and len(after) == len(before) + 3


def test_undo_and_redo_touch_only_ones_own_decisions(journal: Journal) -> None:
    journal.decide("s1", "keep", "ann")
    journal.decide("s2", "drop", "bob")
    assert journal.undo("ann") == "s1" and journal.undo("ann") is None
    assert standing(journal) == {"s2": "drop"}
    assert journal.redo("bob") is None and journal.redo("ann") == "s1"
    assert journal.undo("nobody") is None and len(lines(journal.file)) == 4


def test_a_new_decision_ends_what_could_be_redone(journal: Journal) -> None:
    journal.decide("s1", "keep", "ann")
    journal.undo("ann")
    journal.decide("s2", "drop", "ann")
    assert journal.redo("ann") is None
    assert standing(journal) == {"s2": "drop"}


def test_a_comment_is_kept_as_text_and_cut_at_its_limit(journal: Journal) -> None:
    comment = "=1+1'; DROP TABLE journal; -- \u2603" + "x" * MAX_COMMENT
    journal.decide("s1", "keep", "ann", comment=comment)
    assert journal.decisions()["s1"].comment == comment[:MAX_COMMENT]


def test_the_key_depends_on_what_stands_and_not_on_the_way_there(tmp_path: Path) -> None:
    a, b = Journal(tmp_path / "a.sqlite", CLASSES), Journal(tmp_path / "b.sqlite", CLASSES)
    assert a.key() == b.key()
    a.decide("s1", "drop", "ann")
    a.decide("s2", "relabel", "ann", new_label="sad")
    one = a.key()
    b.decide("s2", "drop", "bob", comment="hm")
    b.decide("s2", "relabel", "bob", new_label="sad")
    assert b.key() != one
    b.decide("s1", "drop", "bob")
    assert b.key() == one
    for nothing in ("keep", "reject", "second_look"):
        b.decide("s3", nothing, "bob")
        assert b.key() == one, "the data set is still the same"
    b.decide("s2", "relabel", "bob", new_label="happy")
    assert b.key() != one
    b.undo("bob")
    assert b.key() == one


@pytest.mark.parametrize("reviewer", ["", "n" * 81])
def test_a_reviewer_without_a_name_or_with_a_long_one_can_undo(
    journal: Journal, reviewer: str
) -> None:
    journal.decide("s1", "keep", reviewer)
    assert journal.undo(reviewer) == "s1"


def test_a_file_that_is_no_journal_is_named_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    file.write_bytes(b"my diary, not a database" * 100)
    before = file.read_bytes()
    with pytest.raises(DiffInfError, match=r"journal\.sqlite cannot be opened"):
        Journal(file, CLASSES)
    assert file.read_bytes() == before


def test_a_journal_damaged_in_the_middle_is_named(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    first = Journal(file, CLASSES)
    first.decide("s1", "keep", "ann")
    first.close()
    whole = bytearray(file.read_bytes())
    whole[4096:] = b"\xff" * (len(whole) - 4096)
    file.write_bytes(bytes(whole))
    with pytest.raises(DiffInfError):
        Journal(file, CLASSES).decisions()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_decision_that_cannot_be_written_is_not_taken(journal: Journal) -> None:
    journal.decide("s1", "keep", "ann")
    journal.close()
    journal.file.chmod(0o400)
    with pytest.raises(DiffInfError, match="not taken"):
        journal.decide("s2", "keep", "ann")


# ---------------------------------------------------------------- against a model


class History(RuleBasedStateMachine):
    """Any course of a review by two people against lists in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.journal = Journal(self.folder / "journal.sqlite", CLASSES)
        self.made: list[tuple[int, str, str, str, str | None, str | None]] = []
        self.undone: dict[str, list[int]] = {"ann": [], "bob": []}
        #: undone decisions that a new one made unreachable
        self.lost: set[int] = set()
        self.written: list[tuple[Any, ...]] = []

    def teardown(self) -> None:
        self.journal.close()
        shutil.rmtree(self.folder)

    def stands(self) -> list[tuple[int, str, str, str, str | None, str | None]]:
        """Decisions that are not undone, in order."""
        taken = {seq for stack in self.undone.values() for seq in stack} | self.lost
        return [m for m in self.made if m[0] not in taken]

    @rule(
        sample=st.sampled_from(["s1", "s2", "s3"]),
        action=st.sampled_from(ACTIONS),
        who=st.sampled_from(["ann", "bob"]),
        version=st.sampled_from(["v1", "v2"]),
        label=st.sampled_from(CLASSES),
    )
    def decide(self, sample: str, action: str, who: str, version: str, label: str) -> None:
        seq = self.journal.decide(sample, action, who, version, label)
        assert not self.made or seq > self.made[-1][0]
        kept = (version if action == "accept" else None, label if action == "relabel" else None)
        self.made.append((seq, sample, action, who, *kept))
        self.lost.update(self.undone[who])
        self.undone[who].clear()

    @rule(who=st.sampled_from(["ann", "bob"]))
    def undo(self, who: str) -> None:
        own = [m for m in self.stands() if m[3] == who]
        found = self.journal.undo(who)
        assert found == (own[-1][1] if own else None)
        if own:
            self.undone[who].append(own[-1][0])

    @rule(who=st.sampled_from(["ann", "bob"]))
    def redo(self, who: str) -> None:
        found = self.journal.redo(who)
        if not self.undone[who]:
            assert found is None
            return
        seq = self.undone[who].pop()
        assert found == next(m[1] for m in self.made if m[0] == seq)

    @precondition(lambda self: self.made)
    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self.journal = Journal(self.folder / "journal.sqlite", CLASSES)

    @invariant()
    def what_stands_is_what_the_model_says(self) -> None:
        expected: dict[str, tuple[Any, ...]] = {}
        for m in self.stands():
            expected.pop(m[1], None)
            expected[m[1]] = m
        found = self.journal.decisions()
        assert list(found) == list(expected)
        for sample, d in found.items():
            told = (d.sample, d.action, d.reviewer, d.version, d.new_label)
            assert told == expected[sample][1:]

    @invariant()
    def what_was_written_stays(self) -> None:
        now = lines(self.folder / "journal.sqlite")
        assert now[: len(self.written)] == self.written
        self.written = now


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


# ---------------------------------------------------------------- kills and company

_WRITE = """
import sys
from pathlib import Path
from diffinf_core.review.journal import Journal
journal = Journal(Path(sys.argv[1]), ("happy", "sad"))
sys.stdin.readline()
for i in range(int(sys.argv[3])):
    journal.decide(f"s{i % 7}", "keep", sys.argv[2], comment=str(i))
    print(i, flush=True)
"""


def writer(file: Path, who: str, count: int) -> subprocess.Popen[str]:
    """A process that has the journal open and waits for a line to begin."""
    return subprocess.Popen(
        [sys.executable, "-c", _WRITE, str(file), who, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def start(process: subprocess.Popen[str]) -> None:
    """Let a writer begin."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_a_kill_loses_no_decision_that_was_acknowledged(journal: Journal) -> None:
    journal.decide("s0", "drop", "bob")
    process = writer(journal.file, "ann", 100_000)
    start(process)
    assert process.stdout is not None
    for _ in range(25):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0].split()
    acknowledged = int(rest[-1]) + 1 if rest else 25
    rows = lines(journal.file)
    comments = [row[7] for row in rows if row[2] == "ann"]
    assert len(comments) in (acknowledged, acknowledged + 1)
    assert comments == [str(i) for i in range(len(comments))]
    # The other process and a new one go on with it.
    assert journal.undo("ann") == f"s{(len(comments) - 1) % 7}"
    again = Journal(journal.file, CLASSES)
    again.decide("s9", "keep", "bob")
    assert again.decisions() == journal.decisions()


def test_two_processes_write_into_one_journal_without_losing_a_line(journal: Journal) -> None:
    both = [writer(journal.file, who, 60) for who in ("ann", "bob")]
    for process in both:
        start(process)
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode == 0
    rows = lines(journal.file)
    assert [row[0] for row in rows] == list(range(1, 121))
    for who in ("ann", "bob"):
        assert [row[7] for row in rows if row[2] == who] == [str(i) for i in range(60)]


def test_threads_share_a_journal(journal: Journal) -> None:
    def work(who: str) -> None:
        for i in range(15):
            journal.decide(f"s{i}", "keep", who)

    threads = [threading.Thread(target=work, args=(f"r{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(journal.file)) == 60 and len(journal.decisions()) == 15
