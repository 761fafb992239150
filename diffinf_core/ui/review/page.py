"""Review: one pair at a time, one key per decision, everything undoable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import gradio as gr

from diffinf_core.records import Choice, Decision, DiffInfError, OutdatedError
from diffinf_core.ui import markup
from diffinf_core.ui.review import edit as review_edit
from diffinf_core.ui.review import many as review_many
from diffinf_core.ui.review import people as review_people
from diffinf_core.ui.review import view
from diffinf_core.ui.review.controls import Decisions, Filters
from diffinf_core.ui.review.presenter import Presenter, asking, enter
from diffinf_core.ui.review.queue import Queue
from diffinf_core.ui.review.state import EDITING, DisplayedPair, PageState
from diffinf_core.ui.session import Session

#: the panels beside the pictures: element id without its ending, name
_PARTS = {
    "scores": "Scores",
    "reedit": "Re-edit",
    "history": "History",
    "bulk": "Bulk",
    "people": "Team",
}
#: how assets/ui/page.js hands a text to the server
_SAY = "window.DiffInf.say = (text) => { props.value = text; trigger('submit'); };"


class Page:
    """The widgets of the page and what they do."""

    def __init__(self, session: Session) -> None:
        self.session, self.presenter = session, Presenter(session)
        self.queue = Queue(session, self.presenter)
        self.page_state = gr.State(PageState())
        gr.HTML('<h2 class="di-unseen">Review</h2>')
        self.filters = Filters()
        self.head = gr.HTML(elem_id="review-head")
        self.running = gr.HTML(elem_id="review-running")
        # What the browser shows, see DisplayedPair. A key for another pair is not taken.
        self.showing = gr.Textbox(visible="hidden", elem_id="review-showing")
        # What a click or key inside the pictures says, as JSON: {"verb": ..., "value": ...}.
        self.inbox = gr.HTML("", html_template="", js_on_load=_SAY, elem_id="review-said")
        with gr.Row(elem_classes="di-desk"):
            with gr.Column(scale=2, min_width=480):
                gr.HTML('<h3 class="di-unseen">Pictures</h3>')
                self.view = gr.HTML(elem_id="review-pair")
                gr.HTML('<h3 class="di-unseen">Decision</h3>')
                self.decisions = Decisions()
                self.message = gr.HTML(elem_id="review-message")
                self.strip = gr.HTML(elem_id="versions")
            with gr.Column(scale=1, min_width=380):
                gr.HTML(view.tabs(_PARTS))
                with self._part("scores"):
                    gr.HTML('<h3 class="di-unseen">Scores</h3>')
                    self.table = gr.HTML(elem_id="review-scores")
                with self._part("reedit"):
                    self.editor = review_edit.Editor(session, self.presenter)
                with self._part("history"):
                    gr.HTML('<h3 class="di-unseen">Your last decisions</h3>')
                    self.history = gr.HTML(elem_id="review-history")
                with self._part("bulk"):
                    self.many = review_many.Many(session, self.presenter)
                with self._part("people"):
                    self.people = review_people.People(session)
        self.new_label = self.decisions.new_label
        self.shown = [getattr(self, name) for name in Presenter.names]
        self.loaded = [*self.filters.all, self.many.label, self.decisions.blind, *self.shown]

    @staticmethod
    def _part(name: str) -> gr.Column:
        """A panel beside the pictures; which one is open is the browser's, see assets/ui/parts.js.

        Gradio's own tabs and accordions do not draw what is closed, and no key could press a button there.
        """
        return gr.Column(elem_id=f"{name}-panel", elem_classes="di-part", min_width=0)

    # what the widgets do

    def step(self, by: int, request: gr.Request, page_state: PageState) -> list[Any]:
        """Another pair, without a decision."""
        who = enter(request, page_state)
        with page_state.turn:
            there = bool(page_state.known)
            said = self.presenter.entered(page_state, who)
            page_state.at += by if there else 0
            return self.presenter.render(page_state, who, None, said, onward=by > 0)

    def decide(
        self,
        action: str,
        request: gr.Request,
        page_state: PageState,
        showing: str,
        new_label: str | None,
        comment: str,
        advance: bool,
    ) -> list[Any]:
        """Write a decision on the pair and the version that the browser shows, and go on."""
        who, shown = enter(request, page_state), DisplayedPair.read(showing)
        choice = Choice(shown.sample, action, shown.version or None, new_label, comment)
        with page_state.turn:
            said = self.presenter.entered(page_state, who, shown.sample)
            if not page_state.order or page_state.order[page_state.at] != shown.sample:
                said += markup.notice("That was for another pair; nothing was decided on this one.")
                return [gr.skip(), *self.presenter.render(page_state, who, None, said)]
            if action == "accept" and shown.version == EDITING:
                if page_state.editing is None:  # it failed, or the server restarted
                    said += markup.notice("This edit was not finished.")
                    version = page_state.version or None
                    again = self.presenter.render_again(page_state, who, version, said)
                    return [gr.skip(), *again]
                text = "This edit is not finished: wait for it, or cancel it."
                return [gr.skip(), *self.presenter.update(message=markup.notice(text))]
            try:
                self.session.decide(choice, who, shown.stamp, shown.role, shown.mode)
            except DiffInfError as error:
                # what changed meanwhile is shown as it is now
                outdated = isinstance(error, OutdatedError)
                kept = None if outdated else shown.version
                text = self._overtaken(shown.sample, who) if outdated else str(error)
                said += markup.notice(text, "error")
                return [gr.skip(), *self.presenter.render_again(page_state, who, kept, said)]
            # A comment that is begun meanwhile stays.
            cleared = "" if comment else gr.skip()
            if not advance:
                return [cleared, *self.presenter.render(page_state, who, None, said)]
            if page_state.at < len(page_state.order) - 1:
                page_state.at += 1
            elif not self.presenter.over_again(page_state, who):
                said += markup.notice("That was the last pair of this filter.")
                return [cleared, *self.presenter.render(page_state, who, None, said)]
            return [cleared, *self.presenter.render(page_state, who, None, said, onward=True)]

    def _overtaken(self, sample: str, who: str) -> str:
        """Why a decision was not saved: somebody else's came first, as far as ``who`` may know it."""
        standing = self.session.visible_decision(sample, who)
        if self.session.disagreement(sample):
            return "Two reviewers disagree about this pair by now; your decision was not saved."
        if standing is None or standing.reviewer == who:
            return "This pair changed while you looked; your decision was not saved."
        return f"{markup.deed(standing)} while you looked; your decision was not saved."

    def take_back(self, verb: str, request: gr.Request, page_state: PageState) -> list[Any]:
        """Undo or redo, and show the pair, with all that were decided at once on the table."""
        who, run = enter(request, page_state), self.session.run
        with page_state.turn:
            known = self.presenter.entered(page_state, who)
            before = run.review.decisions()
            try:
                samples = (run.review.undo if verb == "undo" else run.review.redo)(who)
            except DiffInfError as error:
                return self.presenter.render(
                    page_state, who, None, known + markup.notice(str(error), "error")
                )
            if not samples:
                said = known + markup.notice(f"Nothing to {verb}.")
                return self.presenter.render(page_state, who, None, said)
            first = samples[0]
            text = self._taken(verb, samples, before)
            standing = self.session.visible_decision(first, who)
            if verb == "redo" and standing is not None and standing.reviewer != who:
                text += f" {standing.reviewer} decided since, and that stands."
            if len(samples) > 1 or first not in page_state.order:
                # In front, unless it is decided now and the table is of what is to do.
                done = verb == "redo" and page_state.wanted.state == "to do"
                batch = set(samples)
                rest = [s for s in page_state.order if s not in batch]
                page_state.order = [*(samples[:1] if done else samples), *rest]
            page_state.at = page_state.order.index(first)
            return self.presenter.render(page_state, who, None, known + markup.notice(text))

    def _taken(self, verb: str, samples: list[str], before: Mapping[str, Decision]) -> str:
        """What undo or redo did, by name."""
        first, run = samples[0], self.session.run
        known = before if verb == "undo" else run.review.decisions()
        what = f": {markup.outcome(known[first])}" if first in known else ""
        name = run.pictures.described(first)["file"]
        done = "Took back" if verb == "undo" else "Decided again"
        if len(samples) > 1:
            return f"{done} {len(samples)} decisions, {name} first{what}."
        return f"{done} {name}{what}."

    def on_message(
        self,
        request: gr.Request,
        said: str,
        page_state: PageState,
        showing: str,
        comment: str,
        advance: bool,
    ) -> list[Any]:
        """A version was clicked or is to be compared, a digit relabels, another pair is asked for, pictures
        came late, the line on an edit stands still; anything else is ignored."""
        who = enter(request, page_state)
        try:
            message = json.loads(said)
            verb, value = str(message["verb"]), str(message["value"])
        except (ValueError, KeyError, TypeError):
            return [gr.skip()] * (1 + len(self.shown))
        if verb == "relabel" and value.isdecimal():
            classes = self.session.run.training.classes
            digits = {markup.relabel_key(classes, i): name for i, name in enumerate(classes)}
            if (name := digits.get(value)) is None:
                return [gr.skip()] * (1 + len(self.shown))
            return self.decide("relabel", request, page_state, showing, name, comment, advance)
        if verb == "editing" and not self.presenter.running(page_state):
            return [gr.skip(), *self.presenter.update(running="")]
        if verb in ("redraw", "version", "beside", "goto"):
            with page_state.turn:
                known = self.presenter.entered(page_state, who, DisplayedPair.read(showing).sample)
                version = page_state.version or None
                if verb == "goto":
                    known, version = known + self._brought(page_state, value), None
                elif verb == "version":
                    self._choose(page_state, value)
                    version = value
                elif verb == "beside":
                    self._beside(page_state, value)
                return [gr.skip(), *self.presenter.render_again(page_state, who, version, known)]
        return [gr.skip()] * (1 + len(self.shown))

    def _brought(self, page_state: PageState, sample: str) -> str:
        """Put a pair on the table, before the one that is shown; what to say where that cannot be."""
        try:
            self.session.run.review.row(sample)
        except DiffInfError as error:
            return markup.notice(str(error), "error")
        page_state.bring(sample)
        return ""

    def _choose(self, page_state: PageState, version: str) -> None:
        """Another version is what a decision is about; of two that are compared they change places."""
        if page_state.beside == (page_state.sample, version):
            page_state.beside = (page_state.sample, page_state.version)

    def _beside(self, page_state: PageState, version: str) -> None:
        """Compare a version with the displayed one; the same again, or "" while one is compared, ends it.

        "" begins with the version before the displayed one, or the next where it is the first.
        """
        sample, shown = page_state.sample, page_state.version
        compared = page_state.beside[1] if page_state.beside[0] == sample else ""
        page_state.beside = ("", "")
        if not shown or (compared and version in ("", compared)):
            return
        versions = self.session.run.pictures.versions(sample)
        if not version and len(versions) > 1:
            at = versions.index(shown)
            version = versions[at - 1] if at else versions[1]
        if version in versions and version != shown:
            page_state.beside = (sample, version)

    def wire(self) -> None:
        """Connect widgets and handlers."""
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
        for control in self.filters.all:
            control.input(
                asking(self.queue.refilter),
                [self.page_state, *self.filters.all],
                self.shown,
                trigger_mode="always_last",  # what was typed last counts, however slow the answer
                **quick,
            )
        ours = self.decisions
        each: dict[str, Any] = {**quick, "trigger_mode": "multiple"}
        for button, by in ((ours.back, -1), (ours.forward, 1)):
            button.click(asking(self.step, by), [self.page_state], self.shown, **each)
        for button, verb in ((ours.undo, "undo"), (ours.redo, "redo")):
            button.click(asking(self.take_back, verb), [self.page_state], self.shown, **each)
        said = [ours.comment, ours.advance]
        for action, button in ours.buttons.items():
            button.click(
                asking(self.decide, action),
                [self.page_state, self.showing, ours.new_label, *said],
                [ours.comment, *self.shown],
                **each,
            )
        ours.blind.input(
            asking(self.queue.blindly),
            [self.page_state],
            self.loaded,
            js="(state) => { window.DiffInf.blind(); return [state]; }",
            **each,
        )
        self.inbox.submit(
            asking(self.on_message),
            [self.inbox, self.page_state, self.showing, *said],
            [ours.comment, *self.shown],
            **each,
        )
        self.editor.wire(self.page_state, self.showing, self.shown)
        self.many.wire(self.page_state, self.shown, self.filters.all)
        self.people.wire()


def build(session: Session) -> Page:
    """Build the page inside the current tab."""
    page = Page(session)
    page.wire()
    return page
