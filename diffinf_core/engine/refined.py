"""The refined data set of a run before it is written: what an export would hold, and its shortcut audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from diffinf_core.engine.review import Review
from diffinf_core.export.audit import run_audit, stored_audit
from diffinf_core.records import Job, Progress
from diffinf_core.review.refine import refined_set
from diffinf_core.runs.run import Run


class Refined:
    """What :meth:`OpenRun.export` would write; nothing here writes a data set."""

    def __init__(self, folder: Run, review: Review) -> None:
        self._folder = folder
        self._review = review

    def preview(self, undecided: str = "original") -> dict[str, Any]:
        """``counts`` by kind, ``total``, and ``earlier`` rounds' changes."""
        # the journal that is open has read its lines already
        refined = refined_set(self._folder, undecided, self._review.decisions())
        earlier = Counter(change.action for change in refined.earlier)
        return {"counts": refined.counts(), "total": len(refined.kept), "earlier": dict(earlier)}

    def audit(
        self,
        undecided: str = "original",
        edits: str | None = None,
        callback: Callable[[Progress], object] | None = None,
    ) -> Job[Progress, dict[str, Any] | None]:
        """Look for shortcuts: whether edits are recognisable by anything but what they show.

        In each form of ``edits`` (see :meth:`OpenRun.export`) or in one; the result is what
        :meth:`OpenRun.report` has under "audit".
        """
        events = run_audit(self._folder, undecided, edits)
        return Job.of(events, lambda: stored_audit(self._folder), callback)
