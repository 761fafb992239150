"""What one visitor sees of one pair: the widgets of the Review page, from the state on disk.

A :class:`PageState` is the browser's side: which pairs are on the table and which of them is shown. It is
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
from diffinf_core.ui.review.pace import pace
from diffinf_core.ui.session import Session
from diffinf_core.ui.web.pictures import file_address

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
class DisplayedPair:
    """What a browser says it shows; empty where it shows nothing.

    ``stamp`` and ``role`` are what a decision on it is compared with, see ``Session.decide``.
    """

    sample: str = ""
    version: str = ""
    stamp: int | None = None
    role: str | None = None

    @classmethod
    def read(cls, text: str) -> DisplayedPair:
        """From the page, which anybody may have written."""
        sample, version, stamp, role = (*text.split(" "), "", "", "", "")[:4]
        seen = int(stamp) if stamp.isdecimal() else None
        return cls(sample, "" if version == "-" else version, seen, role or None)

    def __str__(self) -> str:
        return f"{self.sample} {self.version or '-'} {self.stamp} {self.role}"


class Turn:
    """A lock that is let through one at a time; a copy of its page's state gets one of its own."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __deepcopy__(self, memo: Any) -> Turn:
        return Turn()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@dataclass
class PageState:
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
    #: what the browser shows, as it was last sent
    displayed: DisplayedPair = DisplayedPair()
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


class Presenter:
    """Renders pairs. ``names`` are the widgets that :meth:`render` fills, in order."""

    names = ("head", "view", "strip", "table", "message", "showing", "new_label")

    def __init__(self, session: Session) -> None:
        self.session = session

    def blank(self, text: str, kind: str = "empty", said: str = "") -> list[Any]:
        """An empty table with a sentence; ``said`` is about what was done before."""
        none = gr.update(choices=[], value=None)
        return [markup.notice(text, kind), "", "", "", said, "", none]

    def update(self, **shown: Any) -> list[Any]:
        """Some widgets by name; all others stay as they are."""
        return [shown.get(name, gr.skip()) for name in self.names]

    def refill(
        self, page_state: PageState, reviewer: str, wanted: Filter, first: str = ""
    ) -> list[Any]:
        """Put the pairs of a filter on the table; ``first`` is shown first, whatever the filter says."""
        page_state.order, page_state.sample, page_state.known, page_state.trouble = [], "", "", ""
        page_state.fills += 1
        try:
            known = self.session.run.queue_key()
            page_state.wanted, page_state.at = wanted, 0
            page_state.order = self.session.filtered(wanted, reviewer)
            page_state.known = known
        except DiffInfError as error:
            page_state.trouble = str(error)
            return self.blank(page_state.trouble)
        said = ""
        try:
            if first:
                self.session.run.review.row(first)
        except DiffInfError as error:
            first, said = "", markup.notice(str(error), "error")
        if first and first not in page_state.order:
            page_state.order = [first, *page_state.order]
        page_state.at = page_state.order.index(first) if first else 0
        return self.render(page_state, reviewer, None, said, onward=not first)

    def over_again(self, page_state: PageState, reviewer: str) -> bool:
        """At the end of what is to do, put on the table what was passed over or came back meanwhile.

        False where there is nothing, or only what the reviewer asked a second look for.
        """
        if page_state.wanted.state != "to do":
            return False
        postponed = self.session.run.assignment.postponed(reviewer)
        left = self.session.filtered(page_state.wanted, reviewer)
        if postponed.issuperset(left):
            return False
        page_state.order, page_state.at = sorted(left, key=postponed.__contains__), 0
        return True

    def render(
        self,
        page_state: PageState,
        reviewer: str,
        version: str | None = None,
        said: str = "",
        onward: bool = False,
    ) -> list[Any]:
        """The pair at ``page_state.at``; ``version`` defaults to the decided one, or the run's.

        Where several people review, ``onward`` steps over pairs to do that somebody else holds.
        """
        page_state.sample = page_state.version = ""
        if not page_state.order:
            text = (
                UNKNOWN if page_state.unknown else page_state.trouble or _nothing(page_state.wanted)
            )
            return self.blank(text, said=said)
        page_state.at = min(max(page_state.at, 0), len(page_state.order) - 1)
        try:
            if self.session.shared and onward and page_state.wanted.state == "to do":
                ahead = [*page_state.order[page_state.at :], *page_state.order[: page_state.at]]
                free = self.session.run.assignment.next_for(reviewer, ahead)
                if free is None and self.over_again(page_state, reviewer):
                    free = self.session.run.assignment.next_for(reviewer, page_state.order)
                if free is None:
                    return self._all_out(page_state, reviewer, said)
                page_state.at = page_state.order.index(free[0])
            elif self.session.shared:
                said += self._hold(page_state.order[page_state.at], reviewer)
            return self._pair(page_state, reviewer, version, said)
        except DiffInfError as error:
            return self.blank(str(error), said=said)

    def _all_out(self, page_state: PageState, reviewer: str, said: str) -> list[Any]:
        if self.session.run.assignment.open_for(reviewer, page_state.order):
            text = "Nothing left to hand out: others look at what is left."
        else:
            text = _nothing(page_state.wanted)
        return self.blank(text, said=said)

    def _hold(self, sample: str, reviewer: str) -> str:
        """Hold a pair that was asked for, where it is to be judged; a notice where somebody else has it."""
        run = self.session.run
        asked = sample in run.review.disagreements() or run.assignment.open_for(reviewer, [sample])
        if not asked or run.assignment.claim(reviewer, [sample]) is not None:
            return ""
        holder = run.assignment.held().get(sample)
        return markup.notice(f"{holder} looks at this pair now.") if holder else ""

    def _pair(
        self, page_state: PageState, reviewer: str, version: str | None, said: str
    ) -> list[Any]:
        sample, run = page_state.order[page_state.at], self.session.run
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
        page_state.sample, page_state.version = sample, shown
        page_state.displayed = DisplayedPair(sample, shown, stamp, role)
        return [
            self._head(page_state, row, decision, reviewer),
            view.pair(sample, shown, label, self._following(page_state), run.pictures.data_key),
            view.strip(edits, shown, decided, usual, proposed),
            self._figures(by_version.get(shown), classes, row),
            said,
            str(page_state.displayed),
            _relabel_choices(classes, label, str(row["judge_class_before"])),
        ]

    def _facts(self, sample: str) -> str:
        """The file and the data set's own columns of a sample."""
        described = self.session.run.pictures.described(sample)
        file = described.pop("file")
        link = "" if self.session.shared else file_address(sample)
        return markup.facts(file, list(described.items()), link)

    def _progress(self, reviewer: str) -> str:
        """Who reviews, how far the queue is decided, and how fast it goes."""
        run = self.session.run
        decisions = run.review.decisions()
        queue = run.queue.index
        done = len(decisions.keys() & set(queue))
        name = reviewer if self.session.shared else ""
        return markup.progress(done, len(queue), pace(decisions, reviewer), name)

    def _head(
        self, page_state: PageState, row: pd.Series, decision: Decision | None, reviewer: str
    ) -> str:
        sample, classes = str(row["id"]), self.session.run.training.classes
        text = markup.headline(
            page_state.at + 1,
            len(page_state.order),
            str(row["label"]),
            int(row["rank"]),
            decision,
            str(row["suggestion"]),
            str(row["reason"]),
            sample,
            page_state.version,
            self._progress(reviewer) + self._facts(sample),
            decision.comment if decision else "",
            "".join(markup.relabel_key(classes, i) for i in range(len(classes))),
        )
        opinions = self.session.disagreement(sample)
        return text + (markup.two_opinions(opinions) if opinions else "")

    def _figures(self, edit: Edit | None, classes: list[str], row: pd.Series) -> str:
        if edit is None:
            return markup.notice("This picture has no edit yet. Press E to make one.", "empty")
        known = self.session.distributions()
        return (
            scores.flags(edit)
            + scores.table(edit, classes, float(row["percentile"]), known)
            + scores.probabilities(edit, classes)
        )

    def _following(self, page_state: PageState) -> list[tuple[str, str]]:
        after = page_state.order[page_state.at + 1 : page_state.at + 1 + _AHEAD]
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
        return "Every pair is decided. Choose 'all' to see them again, or go to Export."
    return "Nothing here. Change the filters, or look at 'all'."
