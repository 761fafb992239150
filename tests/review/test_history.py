"""Any course of a review by three people against lists in memory, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from diffinf_core.records import ACTIONS, ROLES, Choice, DiffInfError
from tests.review.places import CLASSES, Place

WHO = st.sampled_from(["ann", "bob", "cem"])
SAMPLE = st.sampled_from(["s1", "s2", "s3"])
CHOICE = st.builds(
    Choice,
    SAMPLE,
    st.sampled_from(ACTIONS),
    st.sampled_from(["v1", "v2"]),
    st.sampled_from(CLASSES),
)
#: who, role, (action, version, new_label)
Said = tuple[str, str, tuple[str, str | None, str | None]]


@dataclass
class Act:
    """What one person did at once."""

    seq: int
    who: str
    role: str
    choices: list[Choice]
    undone: bool = False


@dataclass
class Model:
    """The review as lists: the plainest way to say what should stand."""

    acts: list[Act] = field(default_factory=list)
    redoable: dict[str, list[Act]] = field(default_factory=dict)

    def about(self, sample: str) -> list[Said]:
        """What was said of a sample and is not undone, in order."""
        return [
            (act.who, act.role, _kept(c))
            for act in self.acts
            if not act.undone
            for c in act.choices
            if c.sample == sample
        ]

    def standing(self) -> dict[str, tuple[Any, ...]]:
        """Sample to (action, version, new_label), in the order of the last line about each."""
        order: dict[str, None] = {}
        for act in self.acts:
            if not act.undone:
                for c in act.choices:
                    order.pop(c.sample, None)
                    order[c.sample] = None
        return {s: self.verdict(s)[0] for s in order}

    def verdict(self, sample: str) -> tuple[tuple[Any, ...], bool, set[str]]:
        """(what stands, whether opinions differ, who holds a second opinion), said by said."""
        said = self.about(sample)
        settled = max((i for i, line in enumerate(said) if line[1] == "adjudicate"), default=0)
        holders = [who for who, role, _ in said[settled:] if role == "second"]
        first: tuple[Any, ...] | None = None
        seconds: dict[str, tuple[Any, ...]] = dict.fromkeys(holders, ())
        for who, role, what in said[settled:]:
            if role == "adjudicate" or who not in seconds:
                first = what
            else:
                seconds[who] = what
        others = list(seconds.values())
        if first is None:
            first = others.pop(0)
        differ = any(what != first and what[0] != "second_look" for what in others)
        return (("second_look", None, None) if differ else first), differ, set(holders)

    def refused(self, sample: str, who: str) -> bool:
        """Whether this person's opinion on a sample is the first one already."""
        said = [s for s in self.about(sample) if s[0] == who and s[1] != "adjudicate"]
        if not said or said[-1][1] != "decide" or said[-1][2][0] == "second_look":
            return False
        return who not in self.verdict(sample)[2]


def _kept(c: Choice) -> tuple[str, str | None, str | None]:
    return (
        c.action,
        c.version if c.action == "accept" else None,
        c.new_label if c.action == "relabel" else None,
    )


def machine(new_place: Callable[[], Place]) -> type[RuleBasedStateMachine]:
    """The state machine on journals at new places."""

    class Course(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.place = new_place()
            # the second one only reads, and so learns everything from the database
            self.journal, self.reader = self.place.journal(), self.place.journal()
            self.model = Model()
            self.written: list[tuple[Any, ...]] = []

        def teardown(self) -> None:
            self.journal.close()
            self.reader.close()

        @rule(
            choices=st.lists(CHOICE, min_size=1, max_size=3, unique_by=lambda c: c.sample),
            who=WHO,
            role=st.sampled_from([*ROLES, "decide"]),
        )
        def decide(self, choices: list[Choice], who: str, role: str) -> None:
            refused = role == "second" and any(self.model.refused(c.sample, who) for c in choices)
            try:
                numbers = self.journal.decide_many(choices, who, role)
            except DiffInfError:
                assert refused
                return
            assert not refused and len(numbers) == len(choices)
            assert not self.model.acts or numbers[0] > self.model.acts[-1].seq
            self.model.acts.append(Act(numbers[0], who, role, choices))
            self.model.redoable[who] = []

        @rule(who=WHO)
        def undo(self, who: str) -> None:
            own = [act for act in self.model.acts if act.who == who and not act.undone]
            found = self.journal.undo(who)
            assert found == ([c.sample for c in own[-1].choices] if own else [])
            if own:
                own[-1].undone = True
                self.model.redoable.setdefault(who, []).append(own[-1])

        @rule(who=WHO)
        def redo(self, who: str) -> None:
            left = self.model.redoable.get(who, [])
            found = self.journal.redo(who)
            assert found == ([c.sample for c in left[-1].choices] if left else [])
            if left:
                left.pop().undone = False

        @precondition(lambda self: self.model.acts)
        @rule()
        def reopen(self) -> None:
            self.journal.close()
            self.journal = self.place.journal()

        @invariant()
        def what_stands_is_what_the_model_says(self) -> None:
            expected = self.model.standing()
            for journal in (self.journal, self.reader):
                found = journal.decisions()
                told = {s: (d.action, d.version, d.new_label) for s, d in found.items()}
                assert told == expected and list(told) == list(expected)
                differ = {s for s in expected if self.model.verdict(s)[1]}
                assert set(journal.disagreements()) == differ

        @invariant()
        def opinions_are_everybodys_last_word(self) -> None:
            expected: dict[str, dict[str, Any]] = {}
            for sample in self.model.standing():
                for who, role, what in self.model.about(sample):
                    if role != "adjudicate":
                        expected.setdefault(sample, {})[who] = what
            found = {
                s: {who: (d.action, d.version, d.new_label) for who, d in of.items()}
                for s, of in self.journal.opinions().items()
            }
            assert found == expected

        @invariant()
        def what_was_written_stays(self) -> None:
            now = self.place.rows()
            assert now[: len(self.written)] == self.written
            self.written = now

    return Course


def test_any_course_of_a_review(new_place: Callable[[], Place]) -> None:
    run_state_machine_as_test(
        lambda: machine(new_place)(),
        settings=settings(max_examples=20, stateful_step_count=18),
    )
