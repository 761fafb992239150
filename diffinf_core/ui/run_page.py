"""Run: start or resume the stages, watch them, cancel, change settings."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from diffinf_core.config import from_yaml, to_yaml
from diffinf_core.records import DiffInfError
from diffinf_core.store import Run
from diffinf_core.ui import markup
from diffinf_core.ui.session import Session


def build(session: Session) -> Callable[[], list[object]]:
    """Build the page inside the current tab; returns what to refresh on load."""
    gr.Markdown(
        "### Run\nTrains a classifier on the labels as they are, ranks every training picture by "
        "its self-influence, and repairs the most disruptive ones. Closing this page stops nothing; "
        "a stopped run goes on where it was."
    )
    with gr.Row():
        start = gr.Button("Start or resume", size="md", variant="primary", elem_id="run-start")
        cancel = gr.Button("Cancel", size="md", elem_id="run-cancel")
    bars = gr.HTML(elem_id="run-stages")
    with gr.Accordion("Log", open=False):
        log = gr.Textbox(show_label=False, lines=8, max_lines=8, elem_id="run-log")
    with gr.Accordion("Settings", open=False):
        gr.Markdown(
            "Every setting of this run. A change redoes only what depends on it; "
            "`data`, `split` and `noise` belong to the run folder and cannot change."
        )
        text = gr.Code(language="yaml", label="Configuration", elem_id="run-config", lines=20)
        save = gr.Button("Save settings", size="md", elem_id="run-save")
    message = gr.HTML(elem_id="run-message")

    def look() -> tuple[str, str]:
        snapshot = session.jobs.snapshot()
        return markup.stages(snapshot, session.engine.status()), "\n".join(snapshot.log)

    def begin() -> tuple[str, str, str]:
        try:
            session.jobs.start("run", session.engine.compute)
            said = ""
        except DiffInfError as error:
            said = markup.notice(str(error), "error")
        return (*look(), said)

    def stop() -> str:
        if not session.jobs.running:
            return markup.notice("Nothing is running.")
        session.jobs.cancel()
        return markup.notice("Stopping at the next step; finished work is kept.")

    def store(yaml: str) -> tuple[str, str]:
        try:
            if session.jobs.running:
                raise DiffInfError("A job is running; cancel it before changing settings.")
            Run.open(session.root, from_yaml(yaml, "The configuration"))
            session.reload()
        except DiffInfError as error:
            return yaml, markup.notice(str(error), "error")
        return to_yaml(session.engine.config), markup.notice("Saved.")

    def load() -> list[object]:
        bars_now, log_now = look()
        return [bars_now, log_now, to_yaml(session.engine.config)]

    start.click(begin, outputs=[bars, log, message], queue=False)
    cancel.click(stop, outputs=[message], queue=False)
    save.click(store, inputs=[text], outputs=[text, message], queue=False)
    gr.Timer(1.0).tick(look, outputs=[bars, log], queue=False, show_progress="hidden")
    load.outputs = [bars, log, text]  # type: ignore[attr-defined]
    return load
