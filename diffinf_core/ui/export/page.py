"""Export: see what the refined data set will hold, and write it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from diffinf_core.engine import read_export
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.ui import markup
from diffinf_core.ui.compare import markup as compare_markup
from diffinf_core.ui.export.options import ExportOptions, audit_words
from diffinf_core.ui.export.subset import SubsetChoice
from diffinf_core.ui.jobs import Jobs
from diffinf_core.ui.session import Session, typed_folder
from diffinf_core.ui.updates import QUIET, Updates

_KINDS = {
    "original": "originals, as they came",
    "repaired": "edits, marked as synthetic",
    "relabelled": "originals under another label",
    "dropped": "left out",
    "undecided": "edited and undecided",
}
_DONE = {"repaired": "repaired", "relabelled": "relabelled", "dropped": "dropped"}

#: what becomes of edited pictures that nobody decided on, by policy: as a choice, and in a sentence
_CHOICES = {
    "original": "keep the original",
    "repaired": "take the edit",
    "unflagged": "take the edit where it has no flag",
}
_FATES = {
    "original": "the export keeps their originals",
    "repaired": "the export takes their edits",
    "unflagged": "the export takes their edits where they have no flag",
}


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
    """What will be written, by kind, and what becomes of pictures that are undecided."""
    counts = found["counts"]
    rows = pd.DataFrame(
        [[_KINDS[k], f"{n:,}"] for k, n in counts.items()], columns=["pictures", "count"]
    )
    left = counts["undecided"]
    said = f"{found['total']:,} pictures will be written."
    if left:
        said += f" {left:,} edited pictures are undecided; {_FATES[undecided]}."
    if disagreements := found.get("disagreements"):
        said += f" Reviewers disagree about {disagreements:,} of them."
    said = f"{said} {earlier_words(found['earlier'])}".strip()
    return markup.notice(said) + compare_markup.table(rows, "What the export will hold")


def _written(path: str, event: Progress | None) -> str:
    """What an export that ended has done."""
    if event is not None and "nothing has changed" in event.note:
        return f"{path} holds this export already; nothing has changed."
    return f"Wrote {path}."


class ExportPage:
    """The page; :meth:`load` takes the values of ``inputs`` and updates ``outputs``."""

    def __init__(self, session: Session) -> None:
        self.session = session
        # beside the run's job: an export only reads the run
        self._jobs = Jobs()
        self._target: Path | None = None
        gr.Markdown(
            "## Export\nWrites the data set as you decided, as a folder: originals byte for byte, edits put "
            "onto their originals and marked as synthetic, a data card, and `manifest.json` with hashes and "
            "the history of each picture. The source folder is never touched."
        )
        with gr.Row(elem_classes="di-beside"):
            self.counts = gr.HTML(elem_id="export-counts")
            self.planned = gr.HTML(elem_id="export-preview")
        self._controls()
        self.message = gr.HTML(elem_id="export-message")
        self.written = gr.Textbox(
            label="Written to",
            interactive=False,
            visible=False,
            buttons=["copy"],
            elem_id="export-written",
        )
        #: state of the job when the page last looked
        self.seen = gr.State("")
        self.inputs: list[Any] = [self.undecided, self.only.control]
        self.outputs = [self.counts, self.planned, self.only.control]
        self._wire()

    def _controls(self) -> None:
        self.undecided = gr.Radio(
            [(text, name) for name, text in _CHOICES.items()],
            value="original",
            label="High-influence samples that nobody decided on",
            elem_id="export-undecided",
        )
        self.only = SubsetChoice(self.session)
        self.options = ExportOptions()
        self.target = gr.Textbox(
            value=str(self.session.root.resolve() / "export"),
            label="New folder",
            max_length=4000,
            elem_id="export-target",
        )
        with gr.Row(elem_classes="di-buttons"):
            self.start = gr.Button("Export", variant="primary", size="md", elem_id="export-start")
            self.cancel = gr.Button("Cancel", size="md", elem_id="export-cancel")

    # ------------------------------------------------------------ before

    def load(self, undecided: str = "original", only: str = "") -> Updates:
        """The decisions so far, what an export would hold, and the tags and views there are."""
        choices = self.only.choices(only)
        return {
            self.counts: self._decided(),
            self.planned: self._plan(undecided, choices.get("value", only)),
            self.only.control: choices,
        }

    def _decided(self) -> str:
        try:
            queue = set(self.session.run.queue["id"])
            standing = self.session.run.review.decisions()
        except DiffInfError as error:
            return markup.notice(str(error), "empty")
        counts = Counter(d.state.replace("_", " ") for s, d in standing.items() if s in queue)
        settled = sum(n for k, n in counts.items() if k not in ("second look", "disagreement"))
        rows = [[k, f"{n:,}"] for k, n in sorted(counts.items())]
        rows.append(["open", f"{len(queue) - sum(counts.values()):,}"])
        table = pd.DataFrame(rows, columns=["decision", "pairs"])
        note = markup.notice(f"{settled} of {len(queue)} decided.")
        return note + compare_markup.table(table, "Decisions on the queue")

    def _plan(self, undecided: str, only: str = "") -> str:
        try:
            found = self.session.run.refined.preview(undecided, **self.only.named(only))
            return preview(found, undecided)
        except DiffInfError as error:
            return markup.notice(str(error), "empty")

    # ------------------------------------------------------------ the export

    def _export(self, target: Path, undecided: str, options: dict[str, Any]) -> Iterator[Progress]:
        try:
            yield from self.session.run.export(target, undecided, **options)
        except OSError as error:
            raise DiffInfError(f"{target} cannot be written: {error.strerror or error}.") from error

    def _progress(self) -> Updates:
        snapshot = self._jobs.snapshot()
        event = snapshot.stages.get("export")
        if snapshot.state == "done":
            path = str(self._target)
            return {
                self.message: markup.notice(_written(path, event)) + self._audited(),
                self.written: gr.update(value=path, visible=True),
            }
        updates: Updates = {self.written: gr.update(visible=False)}
        if snapshot.state == "failed":
            updates[self.message] = markup.notice(snapshot.error, "error")
        elif snapshot.state == "cancelled":
            updates[self.message] = markup.notice("Cancelled; nothing was written.")
        elif snapshot.state == "running":
            done = (
                f"{event.done:,} of {event.total:,} pictures" if event else "Looking at the files."
            )
            updates[self.message] = markup.notice(done)
        else:  # none since the server started, so that the page may still show one of before
            updates[self.message] = ""
        return updates

    def _audited(self) -> str:
        try:
            return audit_words(read_export(str(self._target)).manifest.get("audit"))
        except DiffInfError:
            return ""  # somebody moved it away

    def _state(self) -> str:
        snapshot = self._jobs.snapshot()
        event = snapshot.stages.get("export")
        return f"{snapshot.state} {snapshot.began} {event.done if event else ''}"

    # ------------------------------------------------------------ handlers

    def _begin(self, folder: str, undecided: str, only: str, *options: Any) -> Updates:
        seen = self._state()  # refused, it stands; begun, the clock has something new to say
        try:
            if not folder.strip():
                raise DiffInfError("Name a new folder for the data set.")
            target = typed_folder(folder)
            chosen = self.options.chosen(*options) | self.only.named(only)
            self._jobs.start("export", lambda: self._export(target, undecided, chosen))
        except DiffInfError as error:
            return {self.message: markup.notice(str(error), "error"), self.seen: seen}
        self._target = target
        return {**self._progress(), self.seen: seen}

    def _stop(self) -> Updates:
        seen = self._state()
        if not self._jobs.running:
            return {self.message: markup.notice("No export is running."), self.seen: seen}
        self._jobs.cancel()
        return {self.message: markup.notice("Stopping; nothing is left behind."), self.seen: seen}

    def _tick(self, before: str) -> Updates:
        now = self._state()
        # what a button said stays until there is something new
        return {self.seen: now, **(self._progress() if now != before else {})}

    def _wire(self) -> None:
        shown = [self.message, self.written, self.seen]
        asked = [self.target, *self.inputs, *self.options.inputs]
        self.start.click(self._begin, asked, shown, queue=False)
        self.cancel.click(self._stop, outputs=[self.message, self.seen], queue=False)
        for control in self.inputs:
            control.input(self._plan, self.inputs, [self.planned], queue=False)
        gr.Timer(1.0).tick(self._tick, [self.seen], shown, **QUIET)
