"""Decide without looking: the first K of the list, or what a rule picks, with the estimated error."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffinf_core.engine import BY_JUDGE, LEAST_LOOKED, Unseen, drawn
from diffinf_core.records import Choice, DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.explore.acts import counted
from diffinf_core.ui.explore.filters import Filters
from diffinf_core.ui.explore.parts import WITH_PICKED
from diffinf_core.ui.inputs import LenientDropdown, NumberField
from diffinf_core.ui.review.many import rule_words
from diffinf_core.ui.session import Session, reviewer_of

_ACTIONS = {
    "accept the edits": "accept",
    "reject the edits": "reject",
    "keep": "keep",
    "drop": "drop",
    "relabel": "relabel",
}
_JUDGED = "the class that the judge sees"
#: pictures that are drawn to be looked at first
DRAWN = 2 * LEAST_LOOKED


def error_words(found: Unseen) -> str:
    """How often the decision is likely to be wrong, in sentences."""
    if not found.enough:
        return (
            f"Of these, {counted(found.looked)} {'was' if found.looked == 1 else 'were'} decided by eye; "
            f"the error can be estimated from {LEAST_LOOKED} on. Look at some of them first."
        )
    n = len(found.choices)
    rate = found.otherwise / found.looked
    return (
        f"Of {found.looked} of these that people decided by eye, {found.otherwise} were decided otherwise: "
        f"the error is about {rate:.1%}, between {found.low:.1%} and {found.high:.1%} (95 %, for pictures "
        f"like those looked at). Of {n:,} decisions about {rate * n:,.0f} would be wrong, "
        f"{found.low * n:,.0f} to {found.high * n:,.0f}."
    )


def unseen_words(found: Unseen) -> str:
    """What would be decided, what would not, and the error."""
    text = f"{counted(len(found.choices))} would be decided. {error_words(found)}"
    if found.decided:
        text += f" {counted(found.decided)} of them {'is' if found.decided == 1 else 'are'} decided already."
    for reason, n in found.refused.items():
        text += f" {counted(n)} left as before: {reason}."
    return text


class UnseenPart:
    """The panel; ``events`` are those after which the list is read anew."""

    def __init__(self, session: Session) -> None:
        self.session = session
        with gr.Accordion("Decide without looking", open=False, elem_id="unseen-panel"):
            gr.Markdown(
                "Decides what nobody has decided among the first pictures of the list above, as it is "
                "filtered and ordered; or what the rule from the decisions so far picks."
            )
            with gr.Row():
                self.count = NumberField(
                    100, label="The first", precision=0, minimum=1, elem_id="unseen-count"
                )
                self.action = gr.Dropdown(
                    list(_ACTIONS.items()), value="drop", label="Decision", elem_id="unseen-action"
                )
                self.label = LenientDropdown(
                    [(_JUDGED, BY_JUDGE)], value=BY_JUDGE, label="Label, to relabel",
                    elem_id="unseen-label",
                )  # fmt: skip
            with gr.Row(elem_classes="di-buttons"):
                self.look = gr.Button("Estimate the error", size="sm", elem_id="unseen-preview")
                self.rule = gr.Button("By the rule instead", size="sm", elem_id="unseen-rule")
                self.draw = gr.Button(
                    f"Review {DRAWN} of them first", size="sm", elem_id="unseen-draw"
                )
                self.apply = gr.Button(
                    "Apply", size="sm", interactive=False, variant="primary", elem_id="unseen-apply"
                )
            self.words = gr.HTML(elem_id="unseen-words", elem_classes="di-optional")
        #: what a preview found and "Apply" would write: what it was about, and choices with stamps
        self.planned = gr.State(())
        self.outputs = [self.words, self.planned, self.apply]
        self.events: list[Any] = []

    def labels(self) -> Any:
        """The choices of labels."""
        classes = self.session.run.training.classes
        return gr.update(choices=[(_JUDGED, BY_JUDGE), *((name, name) for name in classes)])

    def _nothing(self, text: str, kind: str = "info") -> list[Any]:
        return [markup.notice(text, kind), (), gr.update(value="Apply", interactive=False)]

    def _plan(
        self,
        text: str,
        choices: tuple[Choice, ...],
        seen: dict[str, int],
        about: tuple[Any, ...] | None = None,
    ) -> list[Any]:
        if not choices:
            return self._nothing(text)
        plan = tuple((choice, seen[choice.sample]) for choice in choices)
        button = gr.update(value=f"Apply to {len(choices):,}", interactive=True)
        return [markup.notice(text), (about, plan), button]

    def _first(self, count: float, *given: Any) -> list[str]:
        """The first samples of the list; ``given`` are the values of its filters, page and selection."""
        if not count or count < 1:
            raise DiffInfError("Give the number of pictures, 1 or more.")
        *filters, _, picked = given
        run = self.session.run
        found = run.explore.view(Filters.view(*filters, picked=picked))[: int(count)]
        return [str(s) for s in run.explore.samples().table["id"].iloc[found]]

    def _unseen(
        self, who: str, samples: list[str], _: float, action: str, label: str, *given: Any
    ) -> Unseen:
        order = Filters.order(*given[:-2])[0]
        comment = f"bulk: the first {len(samples)} by {order}"
        return self.session.run.explore.unseen(samples, action, label, comment, who)

    def preview(self, request: gr.Request, *given: Any) -> list[Any]:
        """What would be decided, and the error; nothing is written."""
        try:
            # listed once: a decision in between would bring another sample into the list
            samples = self._first(given[0], *given[3:])
            seen = self.session.run.review.stamps(samples)
            found = self._unseen(reviewer_of(request), samples, *given)
        except DiffInfError as error:
            return self._nothing(str(error), "error")
        return self._plan(unseen_words(found), found.choices, seen, given[:-2])

    def by_rule(self) -> list[Any]:
        """What the rule from the decisions so far accepts, and the error it was seen to make."""
        try:
            run = self.session.run
            seen = run.review.stamps([str(s) for s in run.queue["id"]])
            rule = run.review.rule()
        except DiffInfError as error:
            return self._nothing(str(error), "error")
        return self._plan(rule_words(rule), rule.choices, seen)

    def draw_some(self, request: gr.Request, *given: Any) -> list[str]:
        """Hand some of those that would be decided to the review, drawn evenly, and open it."""
        who = reviewer_of(request)
        try:
            found = self._unseen(who, self._first(given[0], *given[3:]), *given)
            some = drawn([choice.sample for choice in found.choices], DRAWN)
            if not some:
                raise DiffInfError("None of these is left to decide.")
            self.session.select(who, some)
        except DiffInfError as error:
            return [markup.notice(str(error), "error"), ""]
        return [markup.notice(f"{counted(len(some))} drawn and handed to the review."), "sent"]

    def write(self, request: gr.Request, planned: tuple[Any, ...], *given: Any) -> list[Any]:
        """Decide as previewed, but what was decided meanwhile; one undo takes all of it back.

        ``given`` is what the controls show: a slow preview can come after they changed.
        """
        about, plan = planned or (None, ())
        # None: the rule is about none of the controls
        if not plan or about not in (None, given):
            return self._nothing("Estimate the error first.", "error")
        try:
            seen = {choice.sample: stamp for choice, stamp in plan}
            choices = [choice for choice, _ in plan]
            done, left = self.session.decide_many(choices, reviewer_of(request), seen)
        except DiffInfError as error:
            return self._nothing(str(error), "error")
        text = f"Decided {counted(done)}; one undo takes all of them back."
        if left:
            text += f" {counted(left)} left as before: somebody decided meanwhile."
        return self._nothing(text)

    def wire(self, filters: Filters, listed: list[Any], handed: gr.Textbox) -> None:
        """``listed`` are filters, page and selection of the list, as its own handlers take them."""
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
        given = [self.count, self.action, self.label, *listed]
        self.look.click(self.preview, given, self.outputs, js=WITH_PICKED, **quick)
        self.rule.click(self.by_rule, None, self.outputs, **quick)
        self.draw.click(
            self.draw_some, given, [self.words, handed], js=WITH_PICKED, **quick
        ).success(None, [handed], None, js="(sent) => window.diExplore.toReview(sent)")
        # Not the selection, which can be a megabyte: the box that asks for it is among the controls.
        self.events = [
            self.apply.click(self.write, [self.planned, *given[:-2]], self.outputs, **quick)
        ]
        # What was previewed no longer holds.
        for control in (self.count, self.action, self.label, *filters.inputs):
            control.change(
                lambda: ["", (), gr.update(value="Apply", interactive=False)], None, self.outputs,
                **quick,
            )  # fmt: skip
