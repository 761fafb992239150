"""Beyond the single pair: one decision for all pairs of the filter, and a rule from the decisions so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from diffinf_core.engine import BULK_MARK, Bulk, Rule
from diffinf_core.records import ACTIONS, Choice, DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.inputs import LenientDropdown
from diffinf_core.ui.review.presenter import Presenter, asking, enter
from diffinf_core.ui.review.state import UNKNOWN, PageState
from diffinf_core.ui.session import Session


def _counted(title: str, counts: Mapping[str, int]) -> str:
    parts = ", ".join(
        f"{n} {name.replace('_', ' ') or 'no flag'}" for name, n in sorted(counts.items())
    )
    return f"{title}: {parts}. " if parts else ""


def bulk_words(found: Bulk, action: str) -> str:
    """What a bulk decision would do, in sentences."""
    text = f"{action.replace('_', ' ')} {len(found)} pairs. "
    text += _counted("By label", found.by_class)
    text += _counted("By flag", found.by_flag)
    text += _counted("Now", found.by_state)
    text += _counted("Replaces decisions of", found.replaces)
    for reason, samples in found.refused.items():
        text += f"Left as they are: {len(samples)}, because {reason}. "
    return text


def rule_words(rule: Rule) -> str:
    """A proposed rule with the error it was seen to make, or why there is none."""
    if not rule.proposed:
        return f"No rule to propose. {rule.why}"
    return (
        f"{rule.words[0].upper()}{rule.words[1:]}. That are {len(rule.choices)} of the pairs to do. Of "
        f"{rule.held_out} decided pairs that fit and took no part in choosing it, people did not accept "
        f"{rule.errors}: the error is between {rule.low:.1%} and {rule.high:.1%} (95 %, for pairs like "
        "those decided so far)."
    )


class Many:
    """The panels; ``wire`` connects them to the filter's pairs."""

    def __init__(self, session: Session, presenter: Presenter) -> None:
        self.session, self.presenter = session, presenter
        with gr.Column(min_width=0):
            gr.HTML("<h3>Decide all pairs of this filter</h3>")
            with gr.Row():
                self.action = gr.Dropdown(
                    [(a.replace("_", " "), a) for a in ACTIONS],
                    value="keep",
                    label="Decision",
                    elem_id="bulk-action",
                )
                self.label = LenientDropdown(
                    [], label="New label, to relabel", elem_id="bulk-label"
                )
            with gr.Row(elem_classes="di-buttons"):
                self.look = gr.Button("Preview", size="sm", elem_id="bulk-preview")
                self.apply = gr.Button("Apply", size="sm", interactive=False, elem_id="bulk-apply")
            self.bulk_said = gr.HTML(elem_id="bulk-said")
        with gr.Column(min_width=0):
            gr.HTML("<h3>A rule from the decisions so far</h3>")
            with gr.Row(elem_classes="di-buttons"):
                self.propose = gr.Button("Propose a rule", size="sm", elem_id="rule-propose")
                self.accept = gr.Button("Apply", size="sm", interactive=False, elem_id="rule-apply")
            self.rule_said = gr.HTML(elem_id="rule-said")
        #: what a preview found and "Apply" would write: what it was about, and choices with stamps
        self.planned = gr.State(())
        self.ruled = gr.State(())

    # each preview gives [message, planned choices, apply button]

    def _nothing(self, text: str, kind: str = "error") -> list[Any]:
        return [markup.notice(text, kind), (), gr.update(value="Apply", interactive=False)]

    def _planned(
        self,
        text: str,
        choices: tuple[Choice, ...],
        seen: Mapping[str, int],
        about: tuple[int, str, str | None] | None = None,
    ) -> list[Any]:
        if not choices:
            return self._nothing(text, "info")
        return [
            markup.notice(text),
            (about, tuple((choice, seen[choice.sample]) for choice in choices)),
            gr.update(value=f"Apply to {len(choices)}", interactive=True),
        ]

    def preview(
        self, request: gr.Request, page_state: PageState, action: str, new_label: str | None
    ) -> list[Any]:
        """What the decision would do to the pairs that are under the filter now."""
        who, run = enter(request, page_state), self.session.run
        if page_state.unknown:
            return self._nothing(UNKNOWN)
        with page_state.turn:
            fills, wanted = page_state.fills, page_state.wanted
        try:
            samples = self.session.filtered(wanted, who)
            if not samples:
                return self._nothing("There is no pair under this filter.")
            seen = run.review.stamps(samples)
            comment = f"{BULK_MARK}{len(samples)} pairs of a filter"
            found = run.review.bulk_preview(samples, action, new_label, comment, who)
        except DiffInfError as error:
            return self._nothing(str(error))
        about = (fills, action, new_label)
        return self._planned(bulk_words(found, action), found.choices, seen, about)

    def rule(self) -> list[Any]:
        """The rule that the decisions so far speak for."""
        run = self.session.run
        try:
            seen = run.review.stamps([str(i) for i in self.session.run.queue["id"]])
            rule = run.review.rule()
        except DiffInfError as error:
            return self._nothing(str(error))
        return self._planned(rule_words(rule), rule.choices, seen)

    def write(
        self,
        request: gr.Request,
        page_state: PageState,
        plan: tuple[tuple[int, str, str | None] | None, tuple[tuple[Choice, int], ...]] | tuple[()],
        *now: str | None,
    ) -> list[Any]:
        """Decide as previewed, but what was decided meanwhile; one undo takes all of it back.

        ``now`` is what the controls show: a slow preview can come after they changed.
        """
        who = enter(request, page_state)
        with page_state.turn:
            about, choices = plan or (None, ())
            # None: a rule is about no filter and no control
            if not choices or about not in (None, (page_state.fills, *now)):
                return [*self._nothing("Preview first."), *self.presenter.render(page_state, who)]
            try:
                seen = {choice.sample: stamp for choice, stamp in choices}
                done, left = self.session.decide_many([choice for choice, _ in choices], who, seen)
            except DiffInfError as error:
                return [*self._nothing(str(error)), *self.presenter.render(page_state, who)]
            text = f"Decided {done} pairs; one undo takes all of them back."
            if left:
                text += (
                    f" {left} were left as they are: somebody decided on them since the preview."
                )
            shown = self.presenter.refill(page_state, who, page_state.wanted)
            return [*self._nothing(text, "info"), *shown]

    def forget(self) -> list[Any]:
        """The filter or the decision changed: what was previewed no longer holds."""
        return ["", (), gr.update(value="Apply", interactive=False)]

    def wire(self, page_state: gr.State, shown: list[Any], filters: list[Any]) -> None:
        """``shown`` are the widgets of the pair, ``filters`` those that change what a bulk is about."""
        quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
        bulk = [self.bulk_said, self.planned, self.apply]
        ruled = [self.rule_said, self.ruled, self.accept]
        self.look.click(asking(self.preview), [page_state, self.action, self.label], bulk, **quiet)
        for control in (*filters, self.action, self.label):
            control.input(self.forget, None, bulk, **quiet)
        self.propose.click(self.rule, None, ruled, **quiet)
        for trigger, given, own in (
            (self.apply, [self.planned, self.action, self.label], bulk),
            (self.accept, [self.ruled], ruled),
        ):
            trigger.click(asking(self.write), [page_state, *given], [*own, *shown], **quiet)
