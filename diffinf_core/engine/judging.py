"""The verbs of a review: decide, take back, hand out, compare opinions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from diffinf_core.config import RunConfig
from diffinf_core.correction.edits import edit_folder
from diffinf_core.engine.look import Looking
from diffinf_core.records import Choice, Decision, DiffInfError
from diffinf_core.review.agreement import agreement
from diffinf_core.review.bulk import Bulk, preview
from diffinf_core.review.journal import Journal
from diffinf_core.review.leases import Leases
from diffinf_core.review.opening import open_journal
from diffinf_core.review.queue import build_queue, queue_key, unedited
from diffinf_core.review.rules import Rule, propose_rule
from diffinf_core.review.second import awaiting, for_reviewer


class Judging(Looking):
    """What reviewers do with a run, together or alone."""

    def __init__(self, root: Path, config: RunConfig | None = None) -> None:
        super().__init__(root, config)
        self._journal: Journal | None = None
        self._queue: tuple[str, pd.DataFrame] | None = None

    @property
    def journal(self) -> Journal:
        """The journal of decisions."""
        if self._journal is None:
            self._journal = open_journal(self.run)
        return self._journal

    @cached_property
    def _assigned(self) -> dict[str, str]:
        """The label of each training sample, which never changes within a run."""
        train = self.training
        return {str(s): train.classes[k] for s, k in zip(train.ids, train.labels, strict=True)}

    def _rows(self) -> pd.DataFrame:
        """The queue, by sample; read once for each ranking and set of versions."""
        key = queue_key(self.run)
        if self._queue is None or self._queue[0] != key:
            self._queue = key, build_queue(self.run).set_index("id", drop=False)
        return self._queue[1]

    def _usable(self, choice: Choice) -> None:
        assigned = self._assigned.get(choice.sample)
        if assigned is None:
            raise DiffInfError(f"There is no training sample {choice.sample!r} in this run.")
        if choice.action == "relabel" and choice.new_label == assigned:
            raise DiffInfError(f"The label is {assigned!r} already; keep says that it is right.")
        if choice.action != "accept":
            return
        version = choice.version or ""
        if not (edit_folder(self.run, choice.sample, version) / "edit.json").exists():
            raise DiffInfError(f"There is no edit {version!r} of sample {choice.sample!r}.")
        towards = self.edit(choice.sample, version).label
        if towards != assigned:
            raise DiffInfError(
                f"Edit {version} of sample {choice.sample} shows {towards!r}, its label is "
                f"{assigned!r}."
            )

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
    ) -> int:
        """Write a decision; it is on disk when this returns.

        ``role``, ``client`` and ``seen``: see :meth:`diffinf_core.review.journal.Journal.decide`.
        """
        self._usable(Choice(sample, action, version, new_label, comment))
        return self.journal.decide(
            sample, action, reviewer, version, new_label, comment, role, client, seen
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
            self._usable(choice)
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

    def decisions(self) -> dict[str, Decision]:
        """The standing decision of each decided sample; "second_look" where opinions differ."""
        return self.journal.decisions()

    def decisions_for(
        self, reviewer: str, samples: Iterable[str] | None = None
    ) -> dict[str, Decision]:
        """The standing decisions but those on which this reviewer is to give a second opinion, blind.

        Of all samples, or only of some.
        """
        found = self.decisions()
        if samples is not None:
            found = {s: found[s] for s in samples if s in found}
        if not self.config.review.second_share:
            return found
        roles = self.roles(found, reviewer)
        return {s: d for s, d in found.items() if roles[s] != "second"}

    def settled(self) -> dict[str, Decision]:
        """The standing decisions but those that wait for a second opinion, whoever asks."""
        found, share = self.decisions(), self.config.review.second_share
        if not share:
            return found
        waiting = awaiting(list(found), share, self.journal)
        return {s: d for s, d in found.items() if s not in waiting}

    def put_off(self, reviewer: str) -> set[str]:
        """The undecided samples for which this reviewer asked for a second look."""
        unsure = [s for s, d in self.decisions().items() if d.action == "second_look"]
        said = {s: v.opinions.get(reviewer) for s, v in self.journal.verdicts(unsure).items()}
        return {s for s, own in said.items() if own and own.action == "second_look"}

    # ------------------------------------------------------------ several reviewers

    def opinions(self) -> dict[str, dict[str, Decision]]:
        """What each reviewer says about each sample; adjudications are no opinions."""
        return self.journal.opinions()

    def disagreements(self) -> dict[str, tuple[Decision, ...]]:
        """Samples to adjudicate: the first opinion, and those that differ from it."""
        return self.journal.disagreements()

    @property
    def _leases(self) -> Leases:
        return Leases(self.journal.database)

    def claim(
        self,
        reviewer: str,
        candidates: Iterable[str],
        minutes: float | None = None,
        at_most: int = 1,
    ) -> str | None:
        """The first candidate that nobody else looks at, held for this reviewer; None where all are."""
        minutes = self.config.review.hold_minutes if minutes is None else minutes
        return self._leases.claim(reviewer, candidates, minutes, at_most)

    def release(self, reviewer: str) -> None:
        """Let others have what this reviewer holds."""
        self._leases.release(reviewer)

    def held(self) -> dict[str, str]:
        """Who looks at which sample now."""
        return self._leases.held()

    def open_for(
        self, reviewer: str, order: Sequence[str], share: float | None = None
    ) -> dict[str, str]:
        """Of ``order``, what this reviewer may judge now: sample id to role, see :meth:`next_for`."""
        share = self.config.review.second_share if share is None else share
        return for_reviewer(order, reviewer, share, self.journal)

    def roles(self, samples: Iterable[str], reviewer: str) -> dict[str, str]:
        """The role in which a decision of this reviewer on each sample would be made now."""
        asked, differing = list(samples), self.disagreements()
        open_ = self.open_for(reviewer, asked)
        return {s: "adjudicate" if s in differing else open_.get(s, "decide") for s in asked}

    def next_for(
        self,
        reviewer: str,
        order: Sequence[str] | None = None,
        share: float | None = None,
        minutes: float | None = None,
        at_most: int = 1,
    ) -> tuple[str, str] | None:
        """(sample, role) to judge next, held for this reviewer; None where nothing is left.

        ``order`` defaults to the queue's; ``share`` of it gets a second opinion. Where the role is
        "second" the first decision must not be shown, and the decision is written with that role.
        Shares and minutes default to the run's ``review`` settings.
        """
        order = list(self._rows().index) if order is None else order
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

    def reviewer_agreement(self, seed: int = 0) -> dict[str, Any]:
        """How far independent opinions agree, see :func:`diffinf_core.review.agreement.agreement`."""
        return agreement({s: v.independent for s, v in self.journal.verdicts().items()}, seed)

    # ------------------------------------------------------------ many at once

    def rule(self, limit: float | None = None) -> Rule:
        """A rule that would accept edits as the reviewers did so far, with the error it makes.

        ``limit`` is the largest error, default ``review.rule_error`` of the run.
        """
        limit = self.config.review.rule_error if limit is None else limit
        return propose_rule(self._rows(), self.decisions(), limit, self.disagreements())

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
            self._rows(),
            self._assigned,
            self.decisions() if reviewer is None else self.decisions_for(reviewer),
            classes=self.training.classes,
            new_label=new_label,
            comment=comment,
            differing=self.disagreements(),
        )

    def row_of(self, sample: str) -> pd.Series:
        """The queue's row of a sample; of any other training sample, one without an edit."""
        rows = self._rows()
        if sample in rows.index:
            return rows.loc[[sample]].iloc[0]
        if sample not in self._assigned:
            raise DiffInfError(f"There is no training sample {sample!r} in this run.")
        return unedited(self.run, [sample]).iloc[0]
