"""What one visitor sees of one pair: the widgets of the Review page, from the state on disk.

A :class:`Visit` is the browser's side: which pairs are on the table and which of them is shown. It is
changed in place, so an edit that is still streaming sees that its visitor has moved on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
import pandas as pd

from diffinf_core.records import Decision, DiffInfError, Edit
from diffinf_core.ui import markup, scores
from diffinf_core.ui.filters import Filter
from diffinf_core.ui.review import view
from diffinf_core.ui.session import Session

#: pairs whose pictures are fetched ahead
_AHEAD = 3


def asking(handler: Callable[..., Any], *first: Any) -> Callable[..., Any]:
    """``handler`` with leading arguments bound, in the form in which Gradio tells it who asks."""

    def called(request: gr.Request, *given: Any) -> Any:
        return handler(*first, request, *given)

    return called


#: where the server restarted under an open page, or has forgotten it
UNKNOWN = "The server no longer knows this page, as after a restart; reload it to have its filters in force."
#: stands for the version while an unfinished edit is shown
EDITING = "editing"


@dataclass(frozen=True)
class Shown:
    """What a browser says it shows; empty where it shows nothing.

    ``stamp`` and ``role`` are what a decision on it is compared with, see ``Session.decide``.
    """

    sample: str = ""
    version: str = ""
    stamp: int | None = None
    role: str | None = None

    @classmethod
    def read(cls, text: str) -> Shown:
        """From the page, which anybody may have written."""
        sample, version, stamp, role = (*text.split(" "), "", "", "", "")[:4]
        seen = int(stamp) if stamp.isdecimal() else None
        return cls(sample, "" if version == "-" else version, seen, role or None)

    def __str__(self) -> str:
        return f"{self.sample} {self.version or '-'} {self.stamp} {self.role}"


class Turn:
    """A lock that is let through one at a time; a copy of its visit gets one of its own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __deepcopy__(self, memo: Any) -> Turn:
        return Turn()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@dataclass
class Visit:
    """Where one browser is: ``order`` are sample ids, ``at`` the place of the one shown.

    Who changes it holds its ``turn``: two keys that were pressed together come one after the other.
    """

    order: list[str] = field(default_factory=list)
    at: int = 0
    #: the sample on the screen, "" while there is none
    sample: str = ""
    #: the version on the screen
    version: str = ""
    wanted: Filter = field(default_factory=Filter)
    #: what the queue was made from when the order was, "" while there is none
    known: str = ""
    #: why there is no queue
    trouble: str = ""
    #: what the browser was told it shows
    shown: Shown = Shown()
    #: how often the table was filled
    fills: int = 0
    #: (sample, how many versions it had) when the edit that runs began, None while none runs
    editing: tuple[str, int] | None = None
    #: when, by the page's clock, each edit was asked for that did not end yet
    edits: set[str] = field(default_factory=set)
    #: when, by the same clock, Cancel was pressed last
    halted: str = ""
    #: which edit ended last
    ended: str = ""
    turn: Turn = field(default_factory=Turn)

    @property
    def unknown(self) -> bool:
        """Whether it was never filled: the page was open before, and the server restarted or forgot it."""
        return not (self.fills or self.trouble)


class Desk:
    """Draws pairs. ``names`` are the widgets that :meth:`draw` fills, in order."""

    names = ("head", "view", "strip", "table", "message", "showing", "new_label")

    def __init__(self, session: Session) -> None:
        self.session = session

    def blank(self, text: str, kind: str = "empty", said: str = "") -> list[Any]:
        """An empty table with a sentence; ``said`` is about what was done before."""
        none = gr.update(choices=[], value=None)
        return [markup.notice(text, kind), "", "", "", said, "", none]

    def only(self, **shown: Any) -> list[Any]:
        """Some widgets by name; all others stay as they are."""
        return [shown.get(name, gr.skip()) for name in self.names]

    def refill(self, visit: Visit, reviewer: str, wanted: Filter, first: str = "") -> list[Any]:
        """Put the pairs of a filter on the table; ``first`` is shown first, whatever the filter says."""
        visit.order, visit.sample, visit.known, visit.trouble = [], "", "", ""
        visit.fills += 1
        try:
            known = self.session.run.queue_key()
            visit.wanted, visit.at = wanted, 0
            visit.order = self.session.filtered(wanted, reviewer)
            visit.known = known
        except DiffInfError as error:
            visit.trouble = str(error)
            return self.blank(visit.trouble)
        said = ""
        try:
            if first:
                self.session.run.review.row(first)
        except DiffInfError as error:
            first, said = "", markup.notice(str(error), "error")
        if first and first not in visit.order:
            visit.order = [first, *visit.order]
        visit.at = visit.order.index(first) if first else 0
        return self.draw(visit, reviewer, None, said, onward=not first)

    def over_again(self, visit: Visit, reviewer: str) -> bool:
        """At the end of what is to do, put on the table what was passed over or came back meanwhile.

        False where there is nothing, or only what the reviewer asked a second look for.
        """
        if visit.wanted.state != "to do":
            return False
        put_off = self.session.run.assignment.postponed(reviewer)
        left = self.session.filtered(visit.wanted, reviewer)
        if put_off.issuperset(left):
            return False
        visit.order, visit.at = sorted(left, key=put_off.__contains__), 0
        return True

    def draw(
        self,
        visit: Visit,
        reviewer: str,
        version: str | None = None,
        said: str = "",
        onward: bool = False,
    ) -> list[Any]:
        """The pair at ``visit.at``; ``version`` defaults to the decided one, or the run's.

        Where several people review, ``onward`` steps over pairs to do that somebody else holds.
        """
        visit.sample = visit.version = ""
        if not visit.order:
            text = UNKNOWN if visit.unknown else visit.trouble or _nothing(visit.wanted)
            return self.blank(text, said=said)
        visit.at = min(max(visit.at, 0), len(visit.order) - 1)
        try:
            if self.session.shared and onward and visit.wanted.state == "to do":
                ahead = [*visit.order[visit.at :], *visit.order[: visit.at]]
                free = self.session.run.assignment.next_for(reviewer, ahead)
                if free is None and self.over_again(visit, reviewer):
                    free = self.session.run.assignment.next_for(reviewer, visit.order)
                if free is None:
                    return self._all_out(visit, reviewer, said)
                visit.at = visit.order.index(free[0])
            elif self.session.shared:
                said += self._hold(visit.order[visit.at], reviewer)
            return self._pair(visit, reviewer, version, said)
        except DiffInfError as error:
            return self.blank(str(error), said=said)

    def _all_out(self, visit: Visit, reviewer: str, said: str) -> list[Any]:
        if self.session.run.assignment.open_for(reviewer, visit.order):
            text = "Nothing left to hand out: others look at what is left."
        else:
            text = _nothing(visit.wanted)
        return self.blank(text, said=said)

    def _hold(self, sample: str, reviewer: str) -> str:
        """Hold a pair that was asked for, where it is to be judged; a notice where somebody else has it."""
        run = self.session.run
        asked = sample in run.review.disagreements() or run.assignment.open_for(reviewer, [sample])
        if not asked or run.assignment.claim(reviewer, [sample]) is not None:
            return ""
        holder = run.assignment.held().get(sample)
        return markup.notice(f"{holder} looks at this pair now.") if holder else ""

    def _pair(self, visit: Visit, reviewer: str, version: str | None, said: str) -> list[Any]:
        sample, run = visit.order[visit.at], self.session.run
        row = self.session.run.review.row(sample)
        # stamp and role before the decision that is shown
        stamp, role = (
            run.review.stamps([sample], reviewer)[sample],
            self.session.role(sample, reviewer),
        )
        decision = self.session.visible_decision(sample, reviewer)
        edits = [run.pictures.record(sample, v) for v in run.pictures.versions(sample)]
        by_version = {e.version: e for e in edits}
        wishes = (version, decision and decision.version, str(row["version"]))
        shown = next((v for v in wishes if v and v in by_version), "")
        classes, label = list(run.training.classes), str(row["label"])
        usual, decided = self.session.usual(), decision.version if decision else None
        proposed = str(row["version"]) if usual["tries"] != "one" else ""
        visit.sample, visit.version = sample, shown
        visit.shown = Shown(sample, shown, stamp, role)
        return [
            self._head(visit, row, decision),
            view.pair(sample, shown, label, self._following(visit), run.pictures.data_key),
            view.strip(edits, shown, decided, usual, proposed),
            self._figures(by_version.get(shown), classes, row),
            said,
            str(visit.shown),
            _relabel_choices(classes, label, str(row["judge_class_before"])),
        ]

    def _head(self, visit: Visit, row: pd.Series, decision: Decision | None) -> str:
        text = markup.headline(
            visit.at + 1,
            len(visit.order),
            str(row["label"]),
            int(row["rank"]),
            decision,
            str(row["suggestion"]),
            str(row["reason"]),
            str(row["id"]),
        )
        opinions = self.session.disagreement(str(row["id"]))
        return text + (markup.two_opinions(opinions) if opinions else "")

    def _figures(self, edit: Edit | None, classes: list[str], row: pd.Series) -> str:
        if edit is None:
            return markup.notice("No edit of this picture yet; Re-edit makes one.", "empty")
        known = self.session.distributions()
        return (
            scores.flags(edit)
            + scores.table(edit, classes, float(row["percentile"]), known)
            + scores.probabilities(edit, classes)
        )

    def _following(self, visit: Visit) -> list[tuple[str, str]]:
        after = visit.order[visit.at + 1 : visit.at + 1 + _AHEAD]
        out = []
        for sample in after:
            try:
                out.append((sample, str(self.session.run.review.row(sample)["version"])))
            except DiffInfError:
                continue
        return out


def _relabel_choices(classes: Sequence[str], label: str, guess: str) -> Any:
    others = [name for name in classes if name != label]
    return gr.update(choices=others, value=guess if guess in others else others[0])


def _nothing(wanted: Filter) -> str:
    if wanted == Filter():
        return "All done: every pair has a decision. Choose 'all' to look at them, or go to Export."
    return "Nothing here. Change the filters, or look at 'all'."
