"""Decide and tag in place: what is selected anywhere on the page, or the cell under the cursor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.inputs import LenientDropdown
from diffinf_core.ui.session import Session, reviewer_of
from diffinf_core.ui.web.guard import MAX_BODY

#: pictures that can be decided at once here, where each is seen; more are decided without looking
MOST_IN_PLACE = 200
#: decision, its name on a button and in a sentence, end of the button's id
_ACTIONS = (
    ("accept", "Accept edit", "Accepted the edits of", "accept"),
    ("reject", "Reject edit", "Rejected the edits of", "reject"),
    ("keep", "Keep", "Kept", "keep"),
    ("drop", "Drop", "Dropped", "drop"),
    ("second_look", "Second look", "Marked for a second look", "second"),
    ("relabel", "Relabel to", "Relabelled", "relabel"),
)


def counted(n: int) -> str:
    """A number of pictures."""
    return "1 picture" if n == 1 else f"{n:,} pictures"


class Acts:
    """The row of buttons; ``events`` are those after which lists are read anew."""

    def __init__(self, session: Session, message: gr.HTML) -> None:
        self.session, self.message = session, message
        #: ids that the script puts there when a button is clicked
        self.acting = gr.Textbox(visible="hidden", elem_id="explore-acting", max_length=MAX_BODY)
        #: number of the journal's last line when the list was read: what its reader can have seen
        self.listed = gr.State(0)
        self.events: list[Any] = []
        with gr.Row(elem_classes="di-acts", elem_id="explore-acts"):
            buttons = {
                action: self._button(title, f"explore-{end}") for action, title, _, end in _ACTIONS
            }
            self.label = LenientDropdown(
                [], label="New label", show_label=False, container=False, elem_id="explore-new-label",
                min_width=120,
            )  # fmt: skip
            self.undo = self._button("Undo", "explore-undo")
            self.tag = gr.Dropdown(
                [], label="Tag", show_label=False, container=False, allow_custom_value=True,
                elem_id="explore-tag", min_width=140,
            )  # fmt: skip
            self.add = self._button("Tag", "explore-tag-add")
            self.remove = self._button("Untag", "explore-tag-remove")
            self.like = self._button("More like this", "explore-like")
            self.like_pair = self._button("More like the pair in review", "explore-like-pair")
        self.outputs = [self.label, self.tag]
        for action, button in buttons.items():
            given = [self.acting, self.label, self.listed]
            self._listen(button, self._deciding(action), given)
        self._listen(self.undo, self._undo, [])
        self._listen(self.add, self._tagging(True), [self.acting, self.tag])
        self._listen(self.remove, self._tagging(False), [self.acting, self.tag])

    @staticmethod
    def _button(title: str, name: str) -> gr.Button:
        return gr.Button(title, size="sm", elem_id=name, scale=0, min_width=40)

    def _listen(self, button: gr.Button, act: Callable[..., str], given: list[Any]) -> None:
        def answer(request: gr.Request, *values: Any) -> list[Any]:
            try:
                text = markup.notice(act(reviewer_of(request), *values))
            except DiffInfError as error:
                text = markup.notice(str(error), "error")
            return [text, *self.choices()]

        js = "(...given) => [window.diExplore.acting(), ...given.slice(1)]" if given else None
        self.events.append(
            button.click(
                answer,
                given,
                [self.message, *self.outputs],
                js=js,
                queue=False,
                show_progress="hidden",
            )
        )

    def choices(self) -> list[Any]:
        """The classes, and the tags there are."""
        try:
            run = self.session.run
            return [
                gr.update(choices=list(run.training.classes)),
                gr.update(choices=list(run.tags.counts())),
            ]
        except DiffInfError:
            return [gr.skip(), gr.skip()]

    def near(self, shown: gr.Textbox) -> None:
        """Have the list begin with what is like the chosen pictures, or like the pair on the Review page."""

        def like(acting: str) -> list[Any]:
            try:
                chosen = self._chosen(acting)
                self.session.run.explore.measures.similarity(chosen)
            except DiffInfError as error:
                return [markup.notice(str(error), "error"), gr.skip()]
            return ["", " ".join(chosen)]

        for button, ids in ((self.like, "acting"), (self.like_pair, "pair")):
            button.click(
                like,
                [self.acting],
                [self.message, shown],
                js=f"() => window.diExplore.{ids}()",
                queue=False,
                show_progress="hidden",
            )

    # ------------------------------------------------------------ what the buttons do

    @staticmethod
    def _chosen(acting: str) -> list[str]:
        chosen = acting.split()
        if not chosen:
            raise DiffInfError("Nothing is selected: tick pictures, or draw on the map.")
        return chosen

    def _deciding(self, action: str) -> Callable[..., str]:
        done = next(sentence for name, _, sentence, _ in _ACTIONS if name == action)

        def decide(who: str, acting: str, label: str | None, listed: int = 0) -> str:
            chosen = self._chosen(acting)
            if len(chosen) > MOST_IN_PLACE:
                raise DiffInfError(
                    f"{counted(len(chosen))} are selected, more than the {MOST_IN_PLACE} that can be "
                    "decided at a glance; 'Decide without looking' below says how often that errs."
                )
            if action == "relabel" and not label:
                raise DiffInfError("Choose the new label beside the button first.")
            review = self.session.run.review
            seen, others = review.stamps(chosen), review.stamps(chosen, who)
            overtaken = {sample for sample in chosen if others[sample] > listed}
            left = [sample for sample in chosen if sample not in overtaken]
            comment = f"bulk: {counted(len(left))} of the grid"
            found = review.bulk_preview(left, action, label, comment, who)
            written, changed = self.session.decide_many(found.choices, who, seen)
            changed += len(overtaken)
            text = f"{done} {counted(written)}{f' to {label}' if action == 'relabel' else ''}."
            for reason, ids in found.refused.items():
                text += f" {counted(len(ids))} left as before: {reason}."
            if changed:
                text += (
                    f" {counted(changed)} left as before: somebody decided since the list was read."
                )
            if replaced := {name: n for name, n in found.replaces.items() if name != who}:
                text += f" Replaced: {', '.join(f'{n} of {name}' for name, n in replaced.items())}."
            return text

        return decide

    def _undo(self, who: str) -> str:
        back = self.session.run.review.undo(who)
        if not back:
            return "There is no decision of yours to undo."
        return f"Took back your last decision, on {counted(len(back))}."

    def _tagging(self, present: bool) -> Callable[..., str]:
        def put(who: str, acting: str, tag: str | None) -> str:
            chosen = self._chosen(acting)
            n = self.session.run.tags.put(chosen, tag or "", who, present)
            name = " ".join((tag or "").split())
            if present:
                return f"Tagged {counted(n)} {name!r}."
            return f"Took the tag {name!r} off {counted(n)}."

        return put
