"""Export: write the refined data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.session import Session


def build(session: Session) -> Callable[[], list[Any]]:
    """Build the page inside the current tab; returns what to refresh on load."""
    gr.Markdown(
        "### Export\nWrites the training split as you decided: originals byte for byte, edits as "
        "lossless PNG marked as synthetic, `labels.csv`, and a manifest with hashes and the history of each "
        "picture. The source folder is never touched."
    )
    counts = gr.HTML(elem_id="export-counts")
    target = gr.Textbox(
        value=str(session.root.resolve() / "export"), label="New folder", elem_id="export-target"
    )
    undecided = gr.Radio(
        [("keep the original", "original"), ("take the edit", "repaired")],
        value="original",
        label="High-influence samples that nobody decided on",
        elem_id="export-undecided",
    )
    go = gr.Button("Export", variant="primary", elem_id="export-start")
    message = gr.HTML(elem_id="export-message")

    def summary() -> str:
        try:
            queue = set(session.queue()["id"])
            n = len(queue)
            standing = session.engine.decisions()
            decided = Counter(d.action.replace("_", " ") for s, d in standing.items() if s in queue)
            settled = sum(v for k, v in decided.items() if k != "second look")
        except DiffInfError as error:
            return markup.notice(str(error), "empty")
        parts = ", ".join(f"{v} {k}" for k, v in sorted(decided.items())) or "none yet"
        return markup.notice(f"{settled} of {n} decided: {parts}.")

    def export(folder: str, how: str) -> Any:
        if not folder.strip():
            yield markup.notice("Name a new folder for the data set.", "error")
            return
        path = Path(folder.strip()).expanduser()
        try:
            for event in session.engine.export(path, how):
                yield markup.notice(f"{event.done} of {event.total} pictures")
        except (DiffInfError, OSError) as error:
            yield markup.notice(str(error), "error")
            return
        yield markup.notice(f"Wrote {path.resolve()}.")

    go.click(export, [target, undecided], [message], show_progress="hidden")

    def load() -> list[Any]:
        return [summary()]

    load.outputs = [counts]  # type: ignore[attr-defined]
    return load
