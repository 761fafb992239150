"""Export: see what the refined data set will hold, and write it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from diffinf_core.records import DiffInfError, Progress
from diffinf_core.ui import markup
from diffinf_core.ui.compare import markup as compare_markup
from diffinf_core.ui.jobs import Jobs
from diffinf_core.ui.session import Session, typed_folder

_KINDS = {
    "original": "originals, as they came",
    "repaired": "edits, marked as synthetic",
    "relabelled": "originals under another label",
    "dropped": "left out",
    "undecided": "edited, but nobody decided",
}
_DONE = {"repaired": "repaired", "relabelled": "relabelled", "dropped": "dropped"}


def earlier_words(earlier: dict[str, int]) -> str:
    """What earlier rounds did, in a sentence; empty for a first round."""
    parts = [f"{_DONE[k]} {earlier[k]:,}" for k in _DONE if earlier.get(k)]
    if not parts:
        return ""
    listed = " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]
    return (
        f"Earlier rounds {listed} pictures. The export holds them as they are now; the manifest names "
        "each under 'earlier', with its round."
    )


def preview(found: dict[str, Any], undecided: str) -> str:
    """What will be written, by kind, and what becomes of pictures that nobody decided on."""
    counts = found["counts"]
    rows = pd.DataFrame([[_KINDS[k], f"{n:,}"] for k, n in counts.items()], columns=["what", "n"])
    left = counts["undecided"]
    said = f"{found['total']:,} pictures will be written."
    if left:
        fate = "their edits are taken" if undecided == "repaired" else "their originals are kept"
        said += f" Of {left:,} edited pictures nobody decided; {fate}."
    said = f"{said} {earlier_words(found['earlier'])}".strip()
    return markup.notice(said) + compare_markup.table(rows, "What the export will hold")


def build(session: Session) -> Callable[..., list[Any]]:
    """Build the page inside the current tab; returns what to refresh on load."""
    gr.Markdown(
        "## Export\nWrites the training split as you decided, as a folder: `images/` with originals byte "
        "for byte and edits as lossless PNG marked as synthetic, `labels.csv`, and `manifest.json` with "
        "hashes and the history of each picture. The source folder is never touched; validation and "
        "test pictures are not part of it."
    )
    with gr.Row():
        counts = gr.HTML(elem_id="export-counts")
        planned = gr.HTML(elem_id="export-preview")
    undecided = gr.Radio(
        [("keep the original", "original"), ("take the edit", "repaired")],
        value="original",
        label="High-influence samples that nobody decided on",
        elem_id="export-undecided",
    )
    target = gr.Textbox(
        value=str(session.root.resolve() / "export"),
        label="New folder",
        max_length=4000,
        elem_id="export-target",
    )
    with gr.Row(elem_classes="di-buttons"):
        go = gr.Button("Export", variant="primary", size="md", elem_id="export-start")
        cancel = gr.Button("Cancel", size="md", elem_id="export-cancel")
    message = gr.HTML(elem_id="export-message")
    written = gr.Textbox(
        label="Written to",
        interactive=False,
        visible=False,
        buttons=["copy"],
        elem_id="export-written",
    )
    # beside the run's job: an export only reads the run
    jobs = Jobs()
    wrote: list[Path] = []

    def decided() -> str:
        try:
            queue = set(session.run.queue["id"])
            standing = session.run.review.decisions()
        except DiffInfError as error:
            return markup.notice(str(error), "empty")
        found = Counter(d.action.replace("_", " ") for s, d in standing.items() if s in queue)
        settled = sum(n for k, n in found.items() if k != "second look")
        rows = [[k, f"{n:,}"] for k, n in sorted(found.items())]
        rows.append(["open", f"{len(queue) - sum(found.values()):,}"])
        table = pd.DataFrame(rows, columns=["decision", "pairs"])
        said = markup.notice(f"{settled} of {len(queue)} decided.")
        return said + compare_markup.table(table, "Decisions on the queue")

    def plan(how: str) -> str:
        try:
            return preview(session.run.export_preview(how), how)
        except DiffInfError as error:
            return markup.notice(str(error), "empty")

    def writing(path: Path, how: str) -> Iterator[Progress]:
        try:
            yield from session.run.export(path, how)
        except OSError as error:
            raise DiffInfError(f"{path} cannot be written: {error.strerror or error}.") from error

    def look() -> list[Any]:
        snapshot = jobs.snapshot()
        event = snapshot.stages.get("export")
        none = gr.update(visible=False)
        if snapshot.state == "failed":
            return [markup.notice(snapshot.error, "error"), none]
        if snapshot.state == "done":
            path = str(wrote[-1])
            return [markup.notice(f"Wrote {path}."), gr.update(value=path, visible=True)]
        if snapshot.state == "cancelled":
            return [markup.notice("Cancelled; nothing was written."), none]
        if snapshot.state == "running":
            done = (
                f"{event.done:,} of {event.total:,} pictures" if event else "Looking at the files."
            )
            return [markup.notice(done), none]
        return [gr.skip(), none]  # nothing to say, and nothing to wipe out

    def export(folder: str, how: str) -> list[Any]:
        if not folder.strip():
            return [markup.notice("Name a new folder for the data set.", "error"), gr.skip()]
        try:
            path = typed_folder(folder)
            jobs.start("export", lambda: writing(path, how))
        except DiffInfError as error:
            return [markup.notice(str(error), "error"), gr.skip()]
        wrote[:] = [path]
        return look()

    def stop() -> str:
        if not jobs.running:
            return markup.notice("No export is running.")
        jobs.cancel()
        return markup.notice("Stopping; nothing is left behind.")

    seen = gr.State("")

    def state() -> str:
        snapshot = jobs.snapshot()
        event = snapshot.stages.get("export")
        return f"{snapshot.state} {snapshot.began} {event.done if event else ''}"

    def tick(before: str) -> list[Any]:
        now = state()
        # what a button said stays until there is something new
        return [now, *(look() if now != before else [gr.skip(), gr.skip()])]

    def begun(folder: str, how: str) -> list[Any]:
        before = state()  # refused, it stands; begun, the clock has something new to say
        return [*export(folder, how), before]

    def stopped() -> list[Any]:
        before = state()
        return [stop(), before]

    go.click(begun, [target, undecided], [message, written, seen], queue=False)
    cancel.click(stopped, outputs=[message, seen], queue=False)
    undecided.input(plan, [undecided], [planned], queue=False)
    gr.Timer(1.0).tick(tick, [seen], [seen, message, written], queue=False, show_progress="hidden")

    def load(how: str = "original") -> list[Any]:
        return [decided(), plan(how)]

    load.inputs = [undecided]  # type: ignore[attr-defined]
    load.outputs = [counts, planned]  # type: ignore[attr-defined]
    return load
