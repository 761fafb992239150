"""What one visitor sees of one pair: the widgets of the Review page, from the state on disk."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
import pandas as pd

from diffinf_core.records import Decision, DiffInfError, Edit
from diffinf_core.ui import markup, scores
from diffinf_core.ui.filters import Filter
from diffinf_core.ui.review import compared, unedited, view
from diffinf_core.ui.review.state import UNKNOWN, DisplayedPair, PageState
from diffinf_core.ui.session import Session, reviewer_of
from diffinf_core.ui.web.pictures import file_address, thumb_url

#: pairs whose pictures are fetched ahead
_AHEAD = 3
#: decisions in the history
_LATEST = 24


def asking(handler: Callable[..., Any], *first: Any) -> Callable[..., Any]:
    """``handler`` with leading arguments bound, in the form in which Gradio tells it who asks."""

    def called(request: gr.Request, *given: Any) -> Any:
        return handler(*first, request, *given)

    return called


#: the cookie by which a browser asks for blind mode, also after the server restarted
BLIND = "diffinf-blind"


def enter(request: gr.Request, page_state: PageState) -> str:
    """Who asks; what their browser wants hidden is noted."""
    page_state.blind = (getattr(request, "cookies", None) or {}).get(BLIND) == "on"
    return reviewer_of(request)


class Presenter:
    """Renders pairs. ``names`` are the widgets that :meth:`render` fills, in order."""

    names = (
        "head", "view", "strip", "table", "message", "showing", "new_label", "history", "running",
    )  # fmt: skip

    def __init__(self, session: Session) -> None:
        self.session = session

    def entered(self, page_state: PageState, reviewer: str, sample: str = "") -> str:
        """Fill the table where there is none yet, with the pair that the browser shows; what to say of it."""
        if page_state.known:
            return ""
        said = markup.notice(UNKNOWN) if page_state.unknown else ""
        self.refill(page_state, reviewer, page_state.wanted, sample)
        return said

    def blank(self, text: str, kind: str = "empty", said: str = "") -> list[Any]:
        """An empty table with a sentence; ``said`` is about what was done before."""
        none = gr.update(choices=[], value=None)
        empty = dict.fromkeys(("view", "strip", "table", "showing"), "")
        return self.update(head=markup.notice(text, kind), message=said, new_label=none, **empty)

    def _empty(self, page_state: PageState, reviewer: str, text: str, said: str) -> list[Any]:
        """An empty table beside what was decided last and what is still edited."""
        shown = dict(zip(self.names, self.blank(text, said=said), strict=True))
        with contextlib.suppress(DiffInfError):  # there is no run yet
            shown |= {"history": self._history(reviewer), "running": self.running(page_state)}
        return list(shown.values())

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
            return self._empty(page_state, reviewer, text, said)
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
            return self._empty(page_state, reviewer, str(error), said)

    def render_again(
        self, page_state: PageState, reviewer: str, version: str | None, said: str = ""
    ) -> list[Any]:
        """The same; where the pair stays, the class that was chosen to relabel to stays, too."""
        before = page_state.sample
        shown = self.render(page_state, reviewer, version, said)
        if before and page_state.sample == before:
            shown[self.names.index("new_label")] = gr.skip()
        return shown

    def _all_out(self, page_state: PageState, reviewer: str, said: str) -> list[Any]:
        if self.session.run.assignment.open_for(reviewer, page_state.order):
            text = "Nothing left to hand out: others look at what is left."
        else:
            text = _nothing(page_state.wanted)
        return self._empty(page_state, reviewer, text, said)

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
        hidden = self.session.hides(sample, reviewer, page_state.blind)
        decision = self.session.visible_decision(sample, reviewer)
        edits = [run.pictures.record(sample, v) for v in run.pictures.versions(sample)]
        by_version = {e.version: e for e in edits}
        newest = edits[-1].version if edits else ""
        wishes = (version, decision and decision.version, str(row["version"]), newest)
        shown = next((v for v in wishes if v and v in by_version), "")
        edit = by_version.get(shown)
        advice = ("", "", "") if hidden else self._advice(row, edit)
        classes, label = list(run.training.classes), str(row["label"])
        usual, decided = self.session.usual(), decision.version if decision else None
        proposed = str(row["version"]) if usual["tries"] != "one" and not hidden else ""
        page_state.sample, page_state.version = sample, shown
        mode = "blind" if hidden else "open"
        page_state.displayed = DisplayedPair(sample, shown, stamp, role, mode)
        other = by_version.get(page_state.beside[1]) if page_state.beside[0] == sample else None
        return self.update(
            head=self._head(page_state, row, decision, reviewer, advice, hidden),
            view=self._pictures(page_state, label, edits, other),
            strip=view.strip(
                edits, shown, decided, usual, proposed, other.version if other else "", hidden
            ),
            table=scores.hidden(classes, label)
            if hidden
            else self._figures(edit, classes, row, edits, other),
            message=said,
            showing=str(page_state.displayed),
            new_label=_relabel_choices(classes, label, advice[1]),
            history=self._history(reviewer),
            running=self.running(page_state),
        )

    def _pictures(
        self, page_state: PageState, label: str, edits: Sequence[Edit], other: Edit | None
    ) -> str:
        """The pictures of the pair, or of two versions of it."""
        sample, shown = page_state.sample, page_state.version
        ahead, of = self._following(page_state), self.session.run.pictures.data_key
        if other is None:
            return view.pair(sample, shown, label, ahead, of)
        numbers = {edit.version: place for place, edit in enumerate(edits, 1)}
        both = [(v, numbers[v]) for v in (shown, other.version)]
        return view.two(sample, both, label, ahead, of)

    def _history(self, reviewer: str) -> str:
        """The reviewer's last decisions, newest first."""
        run = self.session.run
        latest = run.reviewers.latest(reviewer, _LATEST)
        return view.history([(d, thumb_url(run, d.sample)) for d in latest])

    def running(self, page_state: PageState, step: str = "") -> str:
        """What is edited now, where that is another pair than the one shown.

        Nothing from Cancel on, although the step that is being computed goes on.
        """
        editing = page_state.editing
        if editing is None or editing[0] == page_state.sample or not page_state.edits:
            return ""
        sample = editing[0]
        waiting = len(page_state.edits) - 1
        name = self.session.run.pictures.described(sample)["file"]
        more = f"; {waiting} more waiting" if waiting > 0 else ""
        return markup.running(sample, f"Editing {name}{step}{more}.")

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
        return markup.progress(done, len(queue), run.reviewers.pace(reviewer), name)

    def _advice(self, row: pd.Series, edit: Edit | None) -> tuple[str, str, str]:
        """(suggested action, class that the judge sees, reason); of the run's own edit where there is one."""
        if row["version"]:
            return str(row["suggestion"]), str(row["judge_class_before"]), str(row["reason"])
        return self.session.run.predictions.suggestion(str(row["id"]), edit)

    def _head(
        self,
        page_state: PageState,
        row: pd.Series,
        decision: Decision | None,
        reviewer: str,
        advice: tuple[str, str, str],
        hidden: bool,
    ) -> str:
        sample, classes = str(row["id"]), self.session.run.training.classes
        text = markup.headline(
            page_state.at + 1,
            len(page_state.order),
            str(row["label"]),
            None if hidden else int(row["rank"]),
            decision,
            advice[0],
            advice[2],
            sample,
            page_state.version,
            self._progress(reviewer) + self._facts(sample),
            decision.comment if decision else "",
            "".join(markup.relabel_key(classes, i) for i in range(len(classes))),
            advice[1],
        )
        opinions = self.session.disagreement(sample)
        return text + (markup.two_opinions(opinions) if opinions else "")

    def _figures(
        self,
        edit: Edit | None,
        classes: list[str],
        row: pd.Series,
        edits: Sequence[Edit],
        other: Edit | None,
    ) -> str:
        if edit is None:
            sample, predictions = str(row["id"]), self.session.run.predictions
            seen, values = predictions.of(sample), predictions.scores(sample)
            return unedited.table(seen, values, classes, self.session.training_scores())
        if other is not None:
            numbers = {e.version: place for place, e in enumerate(edits, 1)}
            return compared.table(
                [(numbers[e.version], e) for e in (edit, other)],
                classes,
                float(row["percentile"]),
                self.session.usual(),
            )
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
    return gr.update(choices=others, value=guess if guess in others else None)


def _nothing(wanted: Filter) -> str:
    if wanted == Filter():
        return "Every pair is decided. Choose 'all' to see them again, or go to Export."
    return "Nothing here. Change the filters, or look at 'all'."
