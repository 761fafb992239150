"""The controls above and below a pair: filters, decisions, steps, a comment."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import gradio as gr

from diffinf_core.ui.filters import FLAGS, SCORES, SORTS, STATES, Filter
from diffinf_core.ui.inputs import LenientDropdown

#: action: name on the button, element id
_BUTTONS = {
    "accept": ("Accept edit", "do-accept"),
    "reject": ("Reject edit", "do-reject"),
    "keep": ("Keep original", "do-keep"),
    "drop": ("Drop", "do-drop"),
    "second_look": ("Second look", "do-second"),
    "relabel": ("Relabel to", "do-relabel"),
}


class Filters:
    """Which pairs are on the table; ``all`` are the controls in the order of :class:`Filter`'s fields."""

    def __init__(self) -> None:
        with gr.Row(equal_height=True, elem_classes="di-filters"):
            state = gr.Dropdown(
                [(name, key) for key, name in STATES.items()],
                value="to do",
                label="Show",
                elem_id="filter-state",
            )
            label = LenientDropdown(["all"], value="all", label="Label", elem_id="filter-label")
            flag = gr.Dropdown(list(FLAGS), value="all", label="Flag", elem_id="filter-flag")
            sort = gr.Dropdown(
                list(SORTS), value=next(iter(SORTS)), label="Order", elem_id="filter-sort"
            )
        with gr.Accordion("More filters", open=False, elem_id="more-filters"), gr.Row():
            suggestion = gr.Dropdown(
                ["all", "accept", "keep", "relabel"],
                value="all",
                label="Suggested",
                elem_id="filter-suggestion",
            )
            reviewer = LenientDropdown(
                ["all"], value="all", label="Decided by", elem_id="filter-reviewer"
            )
            group = LenientDropdown(["all"], value="all", label="Subgroup", elem_id="filter-group")
            score = gr.Dropdown(
                list(SCORES), value="judge after", label="Score", elem_id="filter-score"
            )
            low = gr.Textbox(label="from", elem_id="filter-low", min_width=80)
            high = gr.Textbox(label="to", elem_id="filter-high", min_width=80)
        by_name = {
            "state": state, "label": label, "flag": flag, "sort": sort, "suggestion": suggestion,
            "reviewer": reviewer, "group": group, "score": score, "low": low, "high": high,
        }  # fmt: skip
        self.all: list[Any] = [by_name[f.name] for f in fields(Filter)]


class Decisions:
    """The buttons below a pair, by action, and what goes with a decision."""

    def __init__(self) -> None:
        self.buttons: dict[str, gr.Button] = {}
        with gr.Row(elem_classes="di-buttons"):
            for action in ("accept", "reject", "keep", "drop", "second_look"):
                self._button(action)
        with gr.Row(elem_classes="di-buttons"):
            self._button("relabel")
            self.new_label = LenientDropdown(
                [], label="new label", container=False, elem_id="new-label", min_width=110
            )
            self.back = gr.Button("Back", size="sm", elem_id="go-back")
            self.forward = gr.Button("Next", size="sm", elem_id="go-next")
            self.undo = gr.Button("Undo", size="sm", elem_id="do-undo")
            self.redo = gr.Button("Redo", size="sm", elem_id="do-redo")
        with gr.Row(elem_classes="di-comment"):
            self.comment = gr.Textbox(
                placeholder="Comment, kept with the next decision",
                label="comment",
                container=False,
                max_length=2000,
                elem_id="comment",
                scale=1,
            )
            self.advance = gr.Checkbox(
                True,
                label="go on after a decision",
                container=False,
                elem_id="auto-advance",
                scale=0,
                min_width=190,
            )
            self.blind = gr.Checkbox(
                False,
                label="blind: hide scores until I decided",
                container=False,
                elem_id="blind-mode",
                scale=0,
                min_width=190,
            )

    def _button(self, action: str) -> None:
        name, element = _BUTTONS[action]
        # which one stands out is what is suggested for the pair, see diffinf.css
        self.buttons[action] = gr.Button(name, size="sm", variant="secondary", elem_id=element)
