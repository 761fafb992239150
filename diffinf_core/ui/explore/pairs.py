"""Near-duplicates: training pictures that are nearly the same, side by side."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.explore import markup as explore_markup
from diffinf_core.ui.explore.parts import BODY, TABLE_SCRIPT, Pager, progress, skipped
from diffinf_core.ui.session import Session


class PairsPart:
    """A paged list of pairs, those under different labels first."""

    def __init__(self, session: Session) -> None:
        self.session = session
        gr.Markdown(
            "Of two pictures that are nearly the same and carry different labels, one label is "
            "usually wrong."
        )
        with gr.Row():
            self.find = gr.Button(
                "Look for near-duplicates", size="md", variant="primary", elem_id="pairs-find"
            )
            self.differing = gr.Checkbox(
                True, label="Only pairs with different labels", elem_id="pairs-differing"
            )
        self.words = gr.HTML(elem_id="pairs-words", elem_classes="di-optional")
        with gr.Column(elem_classes=BODY):
            self.pager = Pager("pairs")
            self.pairs = gr.HTML(
                elem_id="explore-pairs", js_on_load=TABLE_SCRIPT, apply_default_css=False
            )
        self.given = [self.differing, self.pager.page]
        self.outputs = [self.words, self.find, self.pairs, *self.pager.outputs]
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
        self.differing.input(lambda d: self.load(d, 1), [self.differing], self.outputs, **quick)
        self.find.click(self._begin, self.given, self.outputs, **quick)
        self.pager.wire(self.load, self.given, self.outputs)

    def load(self, differing: bool, page: float) -> list[Any]:
        """A page of pairs, or a sentence that says what is missing."""
        try:
            run = self.session.run
            there = run.explore.duplicates.done()
            table = run.training.table
            pairs = run.explore.duplicates.pairs(differing) if there else None
        except DiffInfError as error:
            hidden = [markup.notice(str(error), "empty"), gr.update(visible=False)]
            return [*hidden, *skipped(self.outputs[2:])]
        if pairs is None or pairs.empty:
            said = "Near-duplicates have not been computed."
            if pairs is not None:
                kind = "with different labels " if differing else ""
                said = f"No two training pictures {kind}are nearly the same."
            return [
                progress(self.session, "duplicates") or markup.notice(said, "empty"),
                gr.update(visible=not there),
                *skipped(self.outputs[2:]),
            ]
        number, part = Pager.part(page, len(pairs))
        shown = pairs.iloc[part]
        records = table[["id", "file", "label"]]
        sides = [records.iloc[shown[side]].to_dict("records") for side in ("first", "second")]
        html = explore_markup.pairs_list(
            list(zip(*sides, shown["correlation"].tolist(), strict=True))
        )
        return ["", gr.update(visible=False), html, *Pager.shown(number, len(pairs), "pairs")]  # fmt: skip

    def _begin(self, *given: Any) -> list[Any]:
        try:
            self.session.jobs.start("duplicates", self.session.run.explore.duplicates.compute)
        except DiffInfError as error:
            return [markup.notice(str(error), "error"), *skipped(self.outputs[1:])]
        return self.load(*given)
