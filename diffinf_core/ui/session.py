"""What all pages share: the opened run, its jobs, and what each reviewer selected."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from diffinf_core.config import RepairConfig, RunConfig, change
from diffinf_core.engine import OpenRun, open_run
from diffinf_core.records import Choice, Decision, DiffInfError, OutdatedError
from diffinf_core.runs.run import Run
from diffinf_core.ui.filters import Filter, chosen
from diffinf_core.ui.jobs import Jobs
from diffinf_core.ui.scores import Distributions


def reviewer_of(request: Any) -> str:
    """Who decides: the logged-in user, or the one person at this machine."""
    return (getattr(request, "username", None) if request else None) or "local"


def typed_folder(text: str) -> Path:
    """A folder as somebody typed it, absolute; :class:`DiffInfError` where it names nobody's home."""
    try:
        return Path(text.strip()).expanduser().resolve()
    except (RuntimeError, OSError, ValueError) as error:
        raise DiffInfError(f"{text.strip()!r} is no folder: {error}.") from error


def _free(root: Path) -> bool:
    """Whether a new run can be made here: nothing is there, or an empty folder."""
    if not root.exists():
        return True
    return root.is_dir() and all(p.name.startswith(".") for p in root.iterdir())


class Session:
    """One opened run, or the place for a new one. Holds nothing that is not on disk too.

    ``shared``: whether several people review, so that pairs are handed out one to each.
    """

    def __init__(self, root: Path, shared: bool = False) -> None:
        self.root, self.shared = root, shared
        self._run = None if _free(root) else open_run(root)
        self.jobs = Jobs()
        self.edit_lane = threading.Lock()
        self._distributions: Distributions | None = None
        self._training_scores: Distributions | None = None
        self._selected: dict[str, list[str]] = {}
        self._handed: set[str] = set()

    # ------------------------------------------------------------------ the run

    @property
    def run(self) -> OpenRun:
        """The opened run; :class:`DiffInfError` as long as there is no run."""
        if self._run is None:
            raise DiffInfError(f"No run yet: make one in {self.root} on the Run page.")
        return self._run

    @property
    def exists(self) -> bool:
        """Whether there is a run."""
        return self._run is not None

    def check(self) -> None:
        """Raise :class:`DiffInfError` where the run was reviewed and its journal is lost or damaged."""
        if self.exists and self.run.status()["data"]:
            self.run.review.decisions()

    def configure(self, config: RunConfig) -> None:
        """Take over a configuration; makes the run where there is none yet.

        Raises :class:`DiffInfError` for another data set, and while a job is running.
        """
        if self.jobs.running:
            raise DiffInfError("A job is running; cancel it before changing settings.")
        open_run(self.root, config).folder.save()
        self.reload()

    def stored(self) -> RunConfig:
        """The configuration on disk, which another window or the command line may have changed."""
        return Run.open(self.root).config

    def reload(self) -> None:
        """Open the run again after its configuration changed."""
        self._run = open_run(self.root)

    def follow(self) -> None:
        """Take over settings that another program stored, unless a job works with the present ones."""
        if self.exists and not self.jobs.running and self.stored() != self.run.config:
            self.reload()

    def rank_by(self, estimator: str) -> None:
        """Make another score the one that the run ranks by."""
        self._change({"influence": {"estimator": estimator}}, "The ranking")

    def set_tau(self, tau: float) -> None:
        """Call another share of the training split, in per cent, high-influence."""
        self._change({"influence": {"tau": tau}}, "tau")

    def _change(self, over: dict[str, Any], name: str) -> None:
        if self.jobs.running:
            raise DiffInfError("A job is running; cancel it before changing the ranking.")
        # What is on disk counts: another window, or the command line, may have changed other settings.
        Run.prepare(self.root, change(self.stored(), over, name)).save()
        self.reload()

    def ready(self) -> bool:
        """Whether there is anything to review."""
        return self.exists and self.run.status()["repair"]

    def repair_settings(self) -> RepairConfig:
        """The run's settings of the repair."""
        return self.run.config.repair if self.exists else RepairConfig()

    def usual(self) -> dict[str, Any]:
        """The same as a dict, as versions carry them."""
        return self.repair_settings().model_dump(mode="json")

    # ------------------------------------------------------------------ the queue

    def distributions(self) -> Distributions:
        """Histograms of the queue's scores, made once for a queue."""
        queue = self.run.queue
        known = self._distributions
        if known is None or known.table is not queue:
            self._distributions = known = Distributions(queue)
        return known

    def training_scores(self) -> Distributions:
        """Histograms of every score over the training set, made once for a ranking."""
        scores = self.run.explore.samples().scores
        known = self._training_scores
        if known is None or known.table is not scores:
            self._training_scores = known = Distributions(scores, "training set")
        return known

    def filtered(self, wanted: Filter, reviewer: str) -> list[str]:
        """Sample ids on the reviewer's table under a filter.

        Decisions that the reviewer is not to know, because a second opinion is due, count as none. Of what is
        to do, that for which they asked a second look comes last.
        """
        run, queue = self.run, self.run.queue
        decided = run.review.decisions_for(reviewer)
        if wanted.state == "selection":
            picked = self.selection(reviewer)
            if wanted == Filter(state="selection"):
                return picked
            found = chosen(run.review.rows(picked), replace(wanted, state="all"), decided)
            if wanted.sort != Filter().sort:
                return found
            among = set(
                found
            )  # in the order in which they were chosen, unless another is asked for
            return [sample for sample in picked if sample in among]
        if wanted.state != "to do":
            return chosen(queue, wanted, decided, set(run.review.disagreements()))
        everything = chosen(queue, replace(wanted, state="all"), decided)
        postponed = run.assignment.postponed(reviewer)
        open_ = run.assignment.open_for(reviewer, everything)
        return sorted(open_, key=postponed.__contains__)

    def next_for(self, reviewer: str) -> tuple[str, str] | None:
        """(sample, role) that this reviewer judges next, held for them; None where nothing is left.

        What they asked a second look for comes last.
        """
        order, assignment = [str(i) for i in self.run.queue["id"]], self.run.assignment
        postponed = assignment.postponed(reviewer)
        return assignment.next_for(reviewer, sorted(order, key=postponed.__contains__))

    # ------------------------------------------------------------------ decisions

    def disagreement(self, sample: str) -> list[Decision]:
        """The two decisions on a sample that differ and await a third; else empty."""
        return list(self.run.review.disagreements().get(sample, ()))

    def visible_decision(self, sample: str, reviewer: str) -> Decision | None:
        """The standing decision, but not to a reviewer who gives an independent second opinion."""
        return self.run.review.decisions_for(reviewer, [sample]).get(sample)

    def role(self, sample: str, reviewer: str) -> str:
        """The role in which this reviewer sees the sample now."""
        return self.run.review.roles([sample], reviewer)[sample]

    def hides(self, sample: str, reviewer: str, blind: bool) -> bool:
        """Whether scores and predictions of a sample are hidden: in blind mode, before their first decision.

        ``blind`` is the reviewer's own wish; the run's setting is above it.
        """
        wanted = blind or self.run.config.review.blind
        return wanted and not self.run.review.has_decided(sample, reviewer)

    def decide(
        self,
        choice: Choice,
        reviewer: str,
        seen: int | None = None,
        asked: str | None = None,
        mode: str | None = None,
    ) -> None:
        """Write a decision in the role in which this reviewer sees the sample.

        ``seen``, ``asked`` and ``mode``: the stamp, the role and the mode of what they saw.
        :class:`OutdatedError` where stamp or role changed since: what was to be a second opinion must not
        settle a disagreement unseen.
        """
        self.run.review.row(choice.sample)
        classes = self.run.training.classes
        if choice.action == "relabel" and choice.new_label and choice.new_label not in classes:
            raise DiffInfError(
                f"{choice.new_label!r} is not a class; choose one of {', '.join(classes)}."
            )
        role = self.role(choice.sample, reviewer)
        if asked is not None and asked != role:
            raise OutdatedError([choice.sample], "Another opinion was given on")
        self.run.review.decide(**asdict(choice), reviewer=reviewer, role=role, seen=seen, mode=mode)

    def decide_many(
        self, choices: Sequence[Choice], reviewer: str, seen: Mapping[str, int]
    ) -> tuple[int, int]:
        """Write what was previewed, each in its role; (written, left out because others decided since)."""
        left, run = list(choices), self.run
        while left:
            role = run.review.roles([c.sample for c in left], reviewer)
            try:
                run.review.decide_many(left, reviewer, role, seen={s: seen[s] for s in role})
            except OutdatedError as error:
                left = [c for c in left if c.sample not in error.samples]
                continue
            break
        return len(left), len(choices) - len(left)

    # ------------------------------------------------------------------ from Explore

    def select(self, reviewer: str, ids: list[str]) -> None:
        """Put samples on the reviewer's table, in this order, when the Review page is opened next.

        Raises :class:`DiffInfError` for one that is not in the training split.
        """
        unknown = set(ids) - set(self.run.training.ids.tolist())
        if unknown:
            raise DiffInfError(f"There is no training sample {min(unknown)!r} in this run.")
        self._selected[reviewer] = list(dict.fromkeys(ids))
        self._handed.discard(reviewer)

    def selection(self, reviewer: str) -> list[str]:
        """What was selected last."""
        return list(self._selected.get(reviewer, []))

    def take_selection(self, reviewer: str) -> bool:
        """Whether something was selected that the Review page has not shown yet."""
        fresh = reviewer in self._selected and reviewer not in self._handed
        self._handed.add(reviewer)
        return fresh
