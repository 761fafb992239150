"""The data set of a run, and what becomes of the run when that has changed."""

from __future__ import annotations

from collections.abc import Iterator

from diffinf_core.data.state import Changes
from diffinf_core.data.update import source_changes, take_over
from diffinf_core.engine.tables import Tables
from diffinf_core.records import Choice, Progress, Sample

#: who asks for another look at samples whose label or picture changed
REVIEWER = "changed data set"


def update(tables: Tables) -> Iterator[Progress]:
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
