"""What stands about one sample, from the lines that were written about it.

The latest decision stands, whoever made it. A second opinion changes that: it is made without seeing
the first, and as long as the two differ the sample is not decided: "second_look" stands, which export,
arms and rounds treat as undecided. Adjudication ends this; opinions after it count afresh, against what
was adjudicated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from diffinf_core.records import Choice, Decision

DECIDE, SECOND, ADJUDICATE = "decide", "second", "adjudicate"


@dataclass(frozen=True)
class Verdict:
    """What the lines about a sample come to.

    ``opinions`` holds each reviewer's latest decision or second opinion; ``independent`` those of them that
    were made without seeing another's, where there are two at least; ``conflict`` the first opinion and
    those that differ from it, empty where nothing is open. ``blind`` names who gave a second opinion
    since the last adjudication.
    """

    standing: Decision
    opinions: dict[str, Decision]
    independent: dict[str, Decision] = field(default_factory=dict)
    conflict: tuple[Decision, ...] = ()
    blind: frozenset[str] = frozenset()


def same(a: Decision | Choice, b: Decision | Choice) -> bool:
    """Whether two decisions, or choices of one, do the same to the sample."""
    return (a.action, a.version, a.new_label) == (b.action, b.version, b.new_label)


def weigh(lines: Sequence[Decision], withdrawn: frozenset[str] = frozenset()) -> Verdict:
    """The verdict on one sample; ``lines`` are its decisions in order, at least one, none undone.

    ``withdrawn`` names who took a second opinion back: they have seen the first one by then, so what they say
    afterwards is not independent.
    """
    opinions = {d.reviewer: d for d in lines if d.role != ADJUDICATE}
    if all(d.role == DECIDE for d in lines):
        return Verdict(lines[-1], opinions)
    settled = max((i for i, d in enumerate(lines) if d.role == ADJUDICATE), default=0)
    recent = lines[settled:]
    first, others = _open(recent)
    # who is not sure says nothing against the first opinion
    differing = tuple(d for d in others if d.action != "second_look" and not same(d, first))
    standing = _undecided(lines[-1], first, differing) if differing else first
    conflict = (first, *differing) if differing else ()
    blind = frozenset(d.reviewer for d in recent if d.role == SECOND)
    return Verdict(standing, opinions, _independent(lines, withdrawn), conflict, blind)


def may_second(verdict: Verdict, reviewer: str) -> bool:
    """Whether a reviewer's opinion would be one that does not know of another's decision.

    Not so for those who decided themselves; having asked for a second look is no decision.
    """
    own = verdict.opinions.get(reviewer)
    decided = own is not None and own.role == DECIDE and own.action != "second_look"
    return not decided or reviewer in verdict.blind


def _open(lines: Sequence[Decision]) -> tuple[Decision, list[Decision]]:
    """(first opinion, latest of each who gave a second one) since the last adjudication.

    Who gave a second opinion and decides again has changed that opinion, not taken the first one's place.
    """
    blind = {d.reviewer: d for d in lines if d.role == SECOND}
    firsts = [d for d in lines if d.role == ADJUDICATE or d.reviewer not in blind]
    latest = {d.reviewer: d for d in lines if d.reviewer in blind and d.role != ADJUDICATE}
    others = [latest[name] for name in blind]
    # without a first one, as where it was undone, the earliest of the others takes its place
    return (firsts[-1], others) if firsts else (others[0], others[1:])


def _undecided(last: Decision, first: Decision, differing: Sequence[Decision]) -> Decision:
    names = ", ".join(sorted({d.reviewer for d in differing}))
    said = f"{first.reviewer} and {names} disagree"
    between = (first.reviewer, *sorted({d.reviewer for d in differing}))
    return Decision(
        last.sample, "second_look", last.reviewer, last.time, comment=said, between=between
    )


def _independent(lines: Sequence[Decision], withdrawn: frozenset[str]) -> dict[str, Decision]:
    """What each said before they could know of the other: later changes of mind do not count."""
    settled = next((i for i, d in enumerate(lines) if d.role == ADJUDICATE), len(lines))
    before = lines[:settled]
    seconds: dict[str, Decision] = {}
    for decision in before:
        if decision.role == SECOND and decision.reviewer not in withdrawn:
            seconds.setdefault(decision.reviewer, decision)
    start = next((i for i, d in enumerate(before) if d.role == SECOND), 0)
    firsts = [
        d for d in before[:start] if d.reviewer not in seconds and d.reviewer not in withdrawn
    ]
    out = {d.reviewer: d for d in firsts[-1:]} | seconds
    return out if len(out) > 1 else {}
