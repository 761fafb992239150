"""The journal's lines as a state in memory, brought up to date line by line."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from typing import Any, NamedTuple

from diffinf_core.records import ACTIONS, Decision
from diffinf_core.review.verdict import DECIDE, SECOND, Verdict, weigh

UNDO, REDO = "undo", "redo"
#: what undo takes back as one: a batch by its id, or a single line by its number
Act = int | str


class _Line(NamedTuple):
    seq: int
    act: Act
    decision: Decision


class History:
    """What stands after all lines so far; :meth:`take` adds further ones, in order."""

    def __init__(self) -> None:
        #: the number of the last line that was taken
        self.seen = 0
        self._acts: dict[Act, list[_Line]] = {}
        self._undone: set[Act] = set()
        self._done: dict[str, list[Act]] = {}
        self._redoable: dict[str, list[Act]] = {}
        self._about: dict[str, list[_Line]] = {}
        self._touched: set[str] = set()
        self._standing: dict[str, Decision] = {}
        self._last: dict[str, int] = {}
        self._open: dict[str, tuple[Decision, ...]] = {}
        self._verdicts: dict[str, Verdict] = {}
        #: sample: reviewer: the number of their last line about it, undo and redo included
        self._stamps: dict[str, dict[str, int]] = {}

    # ------------------------------------------------------------ taking lines

    def take(self, rows: Iterable[Any]) -> None:
        """Add lines of the journal, as rows of its table."""
        for row in rows:
            self.seen = row.seq
            act = row.batch or row.undoes or row.seq
            if row.action in ACTIONS:
                self._decided(row, act)
            elif act in self._acts:
                for sample in self.samples(act):
                    self._stamps[sample][row.reviewer] = row.seq
                if row.action == UNDO:
                    self._taken_back(act)
                elif row.action == REDO:
                    self._brought_back(act)
        self._settle()

    def _decided(self, row: Any, act: Act) -> None:
        sample, reviewer = row.sample, row.reviewer
        decision = Decision(
            sample,
            row.action,
            reviewer,
            row.time,
            row.version,
            row.new_label,
            row.comment,
            row.role,
            looked=row.seen is not None and row.batch is None,
            mode=row.mode or "",
        )
        line = _Line(row.seq, act, decision)
        if act in self._acts:
            self._acts[act].append(line)
        else:
            self._acts[act] = [line]
            self._done.setdefault(reviewer, []).append(act)
            self._redoable.pop(reviewer, None)  # a new decision ends what could be redone
        self._about.setdefault(sample, []).append(line)
        self._stamps.setdefault(sample, {})[reviewer] = row.seq
        self._touched.add(sample)

    # Two processes of earlier versions could both take back the same line: the second one says nothing.
    def _taken_back(self, act: Act) -> None:
        if act in self._undone:
            return
        reviewer = self._by(act)
        self._undone.add(act)
        stack = self._done[reviewer]
        if stack[-1] == act:
            stack.pop()
        else:
            stack.remove(act)
        self._redoable.setdefault(reviewer, []).append(act)
        self._touched.update(self.samples(act))

    def _brought_back(self, act: Act) -> None:
        if act not in self._undone:
            return
        reviewer = self._by(act)
        self._undone.remove(act)
        if act in self._redoable.get(reviewer, ()):
            self._redoable[reviewer].remove(act)
        insort(self._done[reviewer], act, key=self.first)
        self._touched.update(self.samples(act))

    def _settle(self) -> None:
        """Weigh anew what the lines were about, and keep the order of the decisions."""
        latest = next((self._last[sample] for sample in reversed(self._standing)), 0)
        found: list[tuple[int, str, Decision]] = []
        for sample in self._touched:
            for known in (self._standing, self._open, self._verdicts):
                known.pop(sample, None)
            lines = self._lines(sample)
            if not lines:
                continue
            standing = lines[-1].decision
            if any(line.decision.role != DECIDE for line in lines):
                verdict = self.verdict(sample)
                assert verdict is not None
                standing = verdict.standing
                if verdict.conflict:
                    self._open[sample] = verdict.conflict
            found.append((lines[-1].seq, sample, standing))
        self._touched.clear()
        for seq, sample, standing in sorted(found, key=lambda one: one[0]):
            self._last[sample], self._standing[sample] = seq, standing
        if any(seq < latest for seq, _, _ in found):  # an undo brought an earlier decision back
            self._standing = dict(sorted(self._standing.items(), key=lambda s: self._last[s[0]]))

    # ------------------------------------------------------------ what to take back

    def _by(self, act: Act) -> str:
        return self._acts[act][0].decision.reviewer

    def first(self, act: Act) -> int:
        """The number of an act's first line."""
        return self._acts[act][0].seq

    def samples(self, act: Act) -> list[str]:
        """The samples that an act decided."""
        return [line.decision.sample for line in self._acts[act]]

    def has_decided(self, sample: str, reviewer: str) -> bool:
        """Whether a reviewer ever decided on a sample, undone or not; a second look is no decision."""
        about = (line.decision for line in self._about.get(sample, ()))
        return any(d.reviewer == reviewer and d.action != "second_look" for d in about)

    def reviewers(self) -> list[str]:
        """Everybody who has a decision that was not undone."""
        return [name for name, acts in self._done.items() if acts]

    def latest(self, reviewer: str, n: int | None = None) -> list[Decision]:
        """The reviewer's last decisions that were not undone, newest first: on each sample the last one."""
        found: dict[str, Decision] = {}
        for act in reversed(self._done.get(reviewer, [])):
            for line in reversed(self._acts[act]):
                found.setdefault(line.decision.sample, line.decision)
                if len(found) == n:
                    return list(found.values())
        return list(found.values())

    def to_undo(self, reviewer: str) -> Act | None:
        """The reviewer's last act that stands."""
        return next(reversed(self._done.get(reviewer, [])), None)

    def to_redo(self, reviewer: str) -> Act | None:
        """The act that the reviewer took back last, unless they decided something since."""
        return next(reversed(self._redoable.get(reviewer, [])), None)

    # ------------------------------------------------------------ what stands

    def _lines(self, sample: str) -> list[_Line]:
        return [line for line in self._about.get(sample, ()) if line.act not in self._undone]

    def standing(self) -> dict[str, Decision]:
        """The standing decision of each decided sample, in the order of the decisions."""
        return dict(self._standing)

    def conflicts(self) -> dict[str, tuple[Decision, ...]]:
        """The samples whose opinions differ: the first one, and those that differ from it."""
        return dict(self._open)

    def verdict(self, sample: str) -> Verdict | None:
        """All that is said about a sample; None where nothing is."""
        if sample not in self._verdicts:
            lines = self._lines(sample)
            if not lines:
                return None
            withdrawn = frozenset(
                line.decision.reviewer
                for line in self._about[sample]
                if line.act in self._undone and line.decision.role == SECOND
            )
            self._verdicts[sample] = weigh([line.decision for line in lines], withdrawn)
        return self._verdicts[sample]

    def stamp(self, sample: str, but: str = "") -> int:
        """The number of the last line about a sample that anybody ``but`` one wrote; 0 for none."""
        lines = self._stamps.get(sample, {})
        return max((seq for name, seq in lines.items() if name != but), default=0)
