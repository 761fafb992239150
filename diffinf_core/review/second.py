"""Second opinions: which samples get one, and whom a sample is handed to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

from diffinf_core.records import DiffInfError
from diffinf_core.review.journal import Journal, reviewer_name
from diffinf_core.review.verdict import ADJUDICATE, DECIDE, SECOND, Verdict, may_second


@lru_cache(maxsize=1 << 20)
def share_of(sample: str, salt: str) -> float:
    """A number in [0, 1) that belongs to a sample, evenly spread over samples."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{sample}".encode()).digest()[:8], "big") / 2**64


def due_second(samples: Iterable[str], share: float) -> set[str]:
    """The samples that get a second opinion: a share in [0, 1] by a hash of the id.

    The same ones at every call, whatever others there are; a larger share keeps those of a smaller one.
    """
    if not 0 <= share <= 1:
        raise DiffInfError(f"The share of second opinions is {share}; it must be within 0 and 1.")
    return {sample for sample in samples if share_of(sample, "second") < share}


def _wants_second(verdict: Verdict, reviewer: str) -> bool:
    """Whether somebody else decided, nobody but they did, and this reviewer was not asked yet."""
    said = [name for name, d in verdict.opinions.items() if d.action != "second_look"]
    alone = len(said) == 1 and said[0] != reviewer and verdict.standing.role != ADJUDICATE
    return alone and reviewer not in verdict.blind and may_second(verdict, reviewer)


def awaiting(order: Sequence[str], share: float, journal: Journal) -> set[str]:
    """Of these decided samples, those that are due a second opinion and have none yet."""
    said = journal.verdicts(due_second(order, share))
    return {sample for sample, verdict in said.items() if _wants_second(verdict, "")}


def for_reviewer(
    order: Sequence[str], reviewer: str, share: float, journal: Journal
) -> dict[str, str]:
    """What this reviewer may judge now, in order: sample id to role ("decide" or "second").

    These are the undecided ones, and those due a second opinion that one other person decided. A
    disagreement is in nobody's list: adjudication is a task of its own.
    """
    name, due = reviewer_name(reviewer), due_second(order, share)
    decided, differing = journal.decisions(), journal.disagreements()
    said = journal.verdicts(s for s in order if s in due and s in decided)
    out = {}
    for sample in order:
        if sample in differing:
            continue
        if sample not in decided or decided[sample].action == "second_look":
            out[sample] = DECIDE
        elif sample in said and _wants_second(said[sample], name):
            out[sample] = SECOND
    return out
