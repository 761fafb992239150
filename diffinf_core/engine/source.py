"""The data set of a run, and what becomes of the run when that has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from diffinf_core.data.state import Changes
from diffinf_core.data.update import source_changes, take_over
from diffinf_core.engine.pipeline import status
from diffinf_core.engine.tables import Tables
from diffinf_core.records import Choice, Job, Progress, Sample

#: who asks for another look at samples whose label or picture changed
REVIEWER = "changed data set"


class Source:
    """What changed in a run's data set since the run read it, and reading it anew."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def changes(self) -> str:
        """What changed, in words; empty where nothing did."""
        return str(source_changes(self._tables.folder))

    def update(
        self, callback: Callable[[Progress], object] | None = None
    ) -> Job[Progress, dict[str, bool]]:
        """Read a changed data set anew, so that computing does again what depends on it.

        The result says which stages are complete. What was computed before stays; decided samples whose
        label or picture changed need another decision.
        """
        return Job.of(_update(self._tables), lambda: status(self._tables.folder), callback)


def _update(tables: Tables) -> Iterator[Progress]:
    """Take a changed source over; decided samples whose label or picture changed need another decision."""
    run = tables.folder
    with run.lock():
        changes = source_changes(run)
        if not changes:
            return
        # a decision was about the pixels and the label of its time
        yield from take_over(run, changes)
        tables.forget()
        _decide_again(tables, changes)


def _decide_again(tables: Tables, changes: Changes) -> None:
    decided = tables.journal.decisions()
    choices = []
    for sample in tables.training.samples():
        why = _why(sample, changes)
        if why and sample.id in decided and decided[sample.id].action != "second_look":
            choices.append(Choice(sample.id, "second_look", comment=why))
    if choices:
        tables.journal.decide_many(choices, REVIEWER)


def _why(sample: Sample, changes: Changes) -> str:
    if sample.file in changes.labels:
        before, after = changes.labels[sample.file]
        return f"The label changed in the data set from {before!r} to {after!r}."
    if sample.file in changes.replaced:
        return "The picture was replaced in the data set."
    return ""
