"""Which pair a reviewer judges next: several review at once, and no two look at the same pair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from diffinf_core.engine.tables import Tables
from diffinf_core.review.leases import Leases
from diffinf_core.review.second import for_reviewer


class Assignment:
    """Hands pairs of the queue to reviewers and remembers for a while who holds which."""

    def __init__(self, tables: Tables) -> None:
        self._tables, self._config = tables, tables.folder.config.review

    @property
    def _leases(self) -> Leases:
        return Leases(self._tables.journal.database)

    def open_for(
        self, reviewer: str, order: Sequence[str], share: float | None = None
    ) -> dict[str, str]:
        """Of ``order``, what this reviewer may judge now: sample id to role, see :meth:`next_for`."""
        share = self._config.second_share if share is None else share
        return for_reviewer(order, reviewer, share, self._tables.journal)

    def postponed(self, reviewer: str) -> set[str]:
        """The undecided samples for which this reviewer asked for a second look."""
        journal = self._tables.journal
        unsure = [s for s, d in journal.decisions().items() if d.action == "second_look"]
        own = {s: v.opinions.get(reviewer) for s, v in journal.verdicts(unsure).items()}
        return {s for s, opinion in own.items() if opinion and opinion.action == "second_look"}

    def claim(
        self,
        reviewer: str,
        candidates: Iterable[str],
        minutes: float | None = None,
        at_most: int = 1,
    ) -> str | None:
        """The first candidate that nobody else looks at, held for this reviewer; None where all are."""
        minutes = self._config.hold_minutes if minutes is None else minutes
        return self._leases.claim(reviewer, candidates, minutes, at_most)

    def release(self, reviewer: str) -> None:
        """Let others have what this reviewer holds."""
        self._leases.release(reviewer)

    def held(self) -> dict[str, str]:
        """Who looks at which sample now: sample id to reviewer."""
        return self._leases.held()

    def next_for(
        self,
        reviewer: str,
        order: Sequence[str] | None = None,
        share: float | None = None,
        minutes: float | None = None,
        at_most: int = 1,
    ) -> tuple[str, str] | None:
        """(sample, role) to judge next, held for this reviewer; None where nothing is left.

        ``order`` defaults to the queue's; the fraction ``share`` of it gets a second opinion. Where the
        role is "second" the first decision must not be shown, and the decision is written with that
        role. ``share`` and ``minutes`` default to the run's ``review`` settings.
        """
        order = list(self._tables.queue().index) if order is None else order
        left = self.open_for(reviewer, order, share)
        while left:
            sample = self.claim(reviewer, left, minutes, at_most)
            if sample is None:
                return None
            # who held it may have decided and moved on between the list and the claim
            role = self.open_for(reviewer, [sample], share).get(sample)
            if role is not None:
                return sample, role
            del left[sample]
        return None
