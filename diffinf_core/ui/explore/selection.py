"""The bar that stays in sight: how many pictures are selected, and what can be done with them."""

from __future__ import annotations

import gradio as gr

from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.explore.acts import Acts
from diffinf_core.ui.session import Session, reviewer_of
from diffinf_core.ui.web.guard import MAX_BODY


class Selection:
    """The bar; the selection itself is the script's, and comes here when a button is clicked."""

    def __init__(self, session: Session) -> None:
        self.session = session
        # Ids of 13 characters each; what is above the server's limit for a request is refused there.
        self.picked = gr.Textbox(visible="hidden", elem_id="explore-picked", max_length=MAX_BODY)
        #: ids for the script
        self.handed = gr.Textbox(visible="hidden", elem_id="explore-handed")
        with gr.Column(elem_classes="di-chosen"):
            with gr.Row(elem_classes="di-selection"):
                gr.HTML(
                    html_template='<p role="status"><strong data-di-count>0</strong> selected</p>',
                    elem_id="explore-selected",
                    scale=1,
                )
                review = gr.Button(
                    "Review the selected", size="md", variant="primary", elem_id="explore-review",
                    scale=0, min_width=180,
                )  # fmt: skip
                as_grid = gr.Button(
                    "Show as grid", size="md", elem_id="explore-as-grid", scale=0, min_width=120
                )
                clear = gr.Button(
                    "Clear", size="md", elem_id="explore-clear", scale=0, min_width=90
                )
            self.message = gr.HTML(elem_id="explore-message", elem_classes="di-optional")
            self.acts = Acts(session, self.message)
        review.click(
            self._send, [self.picked], [self.message, self.handed], queue=False,
            js="() => window.diExplore.picked()",
        ).success(None, [self.handed], None, js="(sent) => window.diExplore.toReview(sent)")  # fmt: skip
        as_grid.click(None, None, None, js="() => window.diExplore.asGrid()")
        clear.click(None, None, None, js="() => window.diExplore.clear()")

    def _send(self, ids: str, request: gr.Request) -> list[str]:
        chosen = ids.split()
        try:
            if not chosen:
                raise DiffInfError(
                    "Nothing is selected: draw on the map, or tick pictures in a list."
                )
            self.session.select(reviewer_of(request), chosen)
        except DiffInfError as error:
            return [markup.notice(str(error), "error"), ""]
        return [markup.notice(f"{len(chosen):,} samples handed to the review."), "sent"]
