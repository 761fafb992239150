"""The reviewers of a run: what each did, how fast, and how far they agree."""

from __future__ import annotations

from typing import Any

from diffinf_core.engine.tables import Tables
from diffinf_core.records import Decision
from diffinf_core.review.agreement import agreement_by_mode
from diffinf_core.review.effort import effort, pace


class Reviewers:
    """Read from the journal, never written."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def latest(self, reviewer: str, n: int = 24) -> list[Decision]:
        """The reviewer's last decisions, newest first, one for each sample."""
        return self._tables.journal.latest(reviewer, n)

    def pace(self, reviewer: str, of_last: int = 20) -> float | None:
        """Pairs per minute of the reviewer's last decisions; None where there are too few by eye."""
        return pace(self.latest(reviewer, of_last))

    def effort(self) -> list[dict[str, Any]]:
        """What each reviewer did, see :func:`diffinf_core.review.effort.effort`."""
        return effort(self._tables.journal.by_reviewer())

    def agreement(self, seed: int = 0) -> dict[str, Any]:
        """How far independent opinions agree, see :func:`diffinf_core.review.agreement.agreement`.

        "blind" has the same of the samples on which every opinion was given in blind mode.
        """
        verdicts = self._tables.journal.verdicts()
        return agreement_by_mode({s: v.independent for s, v in verdicts.items()}, seed)
