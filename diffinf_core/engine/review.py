"""The verbs of a review: decide, take back, decide many at once, and what stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import pandas as pd

from diffinf_core.correction.edits import edit_folder, load_edit
from diffinf_core.engine.tables import Tables
from diffinf_core.records import Choice, Decision, DiffInfError
from diffinf_core.review.bulk import Bulk, preview
from diffinf_core.review.journal import Journal
from diffinf_core.review.queue import unedited
from diffinf_core.review.rules import Rule, propose_rule
from diffinf_core.review.second import awaiting, for_reviewer


class Review:
    """What reviewers decide, together or alone; every decision is a line of the journal."""

    def __init__(self, tables: Tables) -> None:
        self._tables, self._config = tables, tables.folder.config.review

    @property
    def journal(self) -> Journal:
        """The append-only journal of decisions."""
        return self._tables.journal

    # ------------------------------------------------------------ deciding

    def decide(
        self,
        sample: str,
        action: str,
        reviewer: str,
        version: str | None = None,
        new_label: str | None = None,
        comment: str = "",
        role: str = "decide",
        client: str | None = None,
        seen: int | None = None,
        mode: str | None = None,
    ) -> int:
        """Write a decision; it is on disk when this returns.

        ``role``, ``client``, ``seen`` and ``mode``: see :meth:`diffinf_core.review.journal.Journal.decide`.
        """
        self._check(Choice(sample, action, version, new_label, comment))
        return self.journal.decide(
            sample, action, reviewer, version, new_label, comment, role, client, seen, mode
        )

    def decide_many(
        self,
        choices: Sequence[Choice],
        reviewer: str,
        role: str | Mapping[str, str] = "decide",
        client: str | None = None,
        seen: Mapping[str, int] | None = None,
    ) -> list[int]:
        """Write many decisions at once, all or none; one undo takes them back."""
        for choice in choices:
            self._check(choice)
        return self.journal.decide_many(choices, reviewer, role, client, seen)

    def stamps(self, samples: Iterable[str], reviewer: str = "") -> dict[str, int]:
        """What to give :meth:`decide` (of a reviewer) or :meth:`decide_many` (of nobody) as ``seen``."""
        return self.journal.stamps(samples, reviewer)

    def undo(self, reviewer: str) -> list[str]:
        """Take back the reviewer's last standing decision, or batch; its samples, [] where none is."""
        return self.journal.undo(reviewer)

    def redo(self, reviewer: str) -> list[str]:
        """Bring back what was undone last; its samples, [] where nothing was."""
        return self.journal.redo(reviewer)

    def _check(self, choice: Choice) -> None:
        assigned = self._tables.assigned.get(choice.sample)
        if assigned is None:
            raise DiffInfError(f"There is no training sample {choice.sample!r} in this run.")
        if choice.action == "relabel" and not choice.new_label:
            raise DiffInfError("Choose the class to relabel to, in the list beside the button.")
        if choice.action == "relabel" and choice.new_label == assigned:
            raise DiffInfError(f"The label is {assigned!r} already; keep says that it is right.")
        if choice.action != "accept":
            return
        version, folder = choice.version or "", self._tables.folder
        if not version:
            raise DiffInfError("This picture has no edit to accept. Press E to make one.")
        if not (edit_folder(folder, choice.sample, version) / "edit.json").exists():
            raise DiffInfError(f"There is no edit {version!r} of sample {choice.sample!r}.")
        towards = load_edit(folder, choice.sample, version).label
        if towards != assigned:
            raise DiffInfError(
                f"Edit {version} of sample {choice.sample} shows {towards!r}, its label is "
                f"{assigned!r}."
            )

    # ------------------------------------------------------------ what stands

    def decisions(self) -> dict[str, Decision]:
        """The standing decision of each decided sample; "second_look" where opinions differ."""
        return self.journal.decisions()

    def decisions_for(
        self, reviewer: str, samples: Iterable[str] | None = None
    ) -> dict[str, Decision]:
        """The standing decisions but those on which this reviewer is to give a second opinion, blind.

        Of all samples, or only of some.
        """
        standing = self.decisions()
        if samples is not None:
            standing = {s: standing[s] for s in samples if s in standing}
        if not self._config.second_share:
            return standing
        roles = self.roles(standing, reviewer)
        return {s: d for s, d in standing.items() if roles[s] != "second"}

    def has_decided(self, sample: str, reviewer: str) -> bool:
        """Whether a reviewer ever decided on a sample; a decision that was undone counts, no second look."""
        return self.journal.has_decided(sample, reviewer)

    def settled(self) -> dict[str, Decision]:
        """The standing decisions but those that wait for a second opinion, whoever asks."""
        standing, fraction = self.decisions(), self._config.second_share
        if not fraction:
            return standing
        waiting = awaiting(list(standing), fraction, self.journal)
        return {s: d for s, d in standing.items() if s not in waiting}

    def disagreements(self) -> dict[str, tuple[Decision, ...]]:
        """Samples to adjudicate: the first opinion, and those that differ from it."""
        return self.journal.disagreements()

    def roles(self, samples: Iterable[str], reviewer: str) -> dict[str, str]:
        """The role in which a decision of this reviewer on each sample would be made now."""
        asked, differing = list(samples), self.disagreements()
        open_ = for_reviewer(asked, reviewer, self._config.second_share, self.journal)
        return {s: "adjudicate" if s in differing else open_.get(s, "decide") for s in asked}

    def row(self, sample: str) -> pd.Series:
        """The queue's row of a sample; of any other training sample, one without an edit."""
        queue = self._tables.queue()
        if sample in queue.index:
            return cast(pd.Series, queue.loc[sample])
        if sample not in self._tables.assigned:
            raise DiffInfError(f"There is no training sample {sample!r} in this run.")
        return unedited(self._tables.folder, [sample]).iloc[0]

    def rows(self, samples: Sequence[str]) -> pd.DataFrame:
        """The rows of several training samples, as :meth:`row`, by sample id and in their order."""
        queue = self._tables.queue()
        others = [s for s in samples if s not in queue.index]
        found = queue.loc[queue.index.intersection(list(samples))]
        if others:
            more = unedited(self._tables.folder, others).set_index("id", drop=False)
            found = pd.concat([found, more])
        return found.loc[list(samples)]

    # ------------------------------------------------------------ many at once

    def rule(self, limit: float | None = None) -> Rule:
        """A rule that would accept edits as the reviewers did so far, with the error it makes.

        ``limit`` is the largest error, default ``review.rule_error`` of the run.
        """
        limit = self._config.rule_error if limit is None else limit
        return propose_rule(self._tables.queue(), self.decisions(), limit, self.disagreements())

    def bulk_preview(
        self,
        samples: Iterable[str],
        action: str,
        new_label: str | None = None,
        comment: str = "",
        reviewer: str | None = None,
    ) -> Bulk:
        """What deciding the same about many samples would do; nothing is written.

        For a ``reviewer``, decisions that they are not to know count as none.
        """
        return preview(
            samples,
            action,
            self._tables.queue(),
            self._tables.assigned,
            self.decisions() if reviewer is None else self.decisions_for(reviewer),
            classes=self._tables.training.classes,
            new_label=new_label,
            comment=comment,
            differing=self.disagreements(),
        )
