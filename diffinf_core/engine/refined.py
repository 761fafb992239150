"""The refined data set of a run before it is written: what an export would hold, and its shortcut audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from diffinf_core.engine.explore import Explore
from diffinf_core.engine.review import Review
from diffinf_core.export.audit import run_audit, stored_audit
from diffinf_core.records import Job, Progress
from diffinf_core.review.refine import refined_set
from diffinf_core.runs.run import Run


class Refined:
    """What :meth:`OpenRun.export` would write; nothing here writes a data set."""

    def __init__(self, folder: Run, review: Review, explore: Explore) -> None:
        self._folder = folder
        self._review = review
        self._explore = explore

    def preview(
        self, undecided: str = "original", tag: str | None = None, view: str | None = None
    ) -> dict[str, Any]:
        """``counts`` by kind, ``total``, and ``earlier`` rounds' changes.

        ``disagreements`` is how many of the undecided ones wait for a decision between two reviewers.
        ``tag`` or ``view`` names the only samples, see :meth:`Explore.subset`.
        """
        # the journal that is open has read its lines already
        standing = self._review.decisions()
        refined = refined_set(self._folder, undecided, standing)
        subset = self._explore.subset(tag, view)
        if subset is not None:
            refined = refined.only(subset.samples)
        earlier = Counter(change.action for change in refined.earlier)
        return {
            "counts": refined.counts(),
            "total": len(refined.kept),
            "earlier": dict(earlier),
            "disagreements": sum(bool(s in standing and standing[s].between) for s in refined.open),
        }

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
