"""Run: what the data are, start or resume the stages, watch them, change settings; or make a run."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import gradio as gr

from diffinf_core.engine import STAGES
from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.run import markup as run_markup
from diffinf_core.ui.run.new import NewRun, where
from diffinf_core.ui.run.settings import Settings
from diffinf_core.ui.session import Session
from diffinf_core.ui.updates import QUIET, Updates
from diffinf_core.ui.web.pictures import thumb_url


class RunPage:
    """The page; ``outputs`` are the components that :meth:`load` updates."""

    def __init__(self, session: Session, tab: gr.Tab) -> None:
        self.session = session
        gr.Markdown(
            "## Run\nTrains a classifier on the labels as they are, ranks every training picture by "
            "its self-influence, and repairs the most disruptive ones. Closing this page stops nothing; "
            "a stopped run goes on where it was."
        )
        self.new = NewRun(session)
        self._controls()
        self.message = gr.HTML(elem_id="run-message")
        self.stages = gr.HTML(elem_id="run-stages")
        with gr.Accordion("Log", open=False):
            self.log = gr.Textbox(show_label=False, lines=8, max_lines=8, elem_id="run-log")
        self.settings = Settings(session, self.new)
        #: whether there were a run and its data when the page last looked; the browser keeps it, as a
        #: restart of the server is no news of a run
        self.seen = gr.Textbox("", visible="hidden", elem_id="run-seen")
        self.panels = [
            self.new.panel,
            self.existing,
            self.settings.buttons,
            self.settings.save_text,
        ]
        self.outputs = [
            self.seen, *self.panels, self.stages, self.log, self.glance, *self.settings.outputs,
        ]  # fmt: skip
        self._wire(tab)

    def _controls(self) -> None:
        with gr.Column(visible=self.session.exists, elem_id="run-there") as self.existing:
            self.glance = gr.HTML(elem_id="run-data")
            with gr.Row(elem_classes="di-run"):
                self.until = gr.Dropdown(
                    [(f"{name}: {title}", name) for name, title in STAGES.items()],
                    value="repair",
                    label="Run until",
                    elem_id="run-until",
                    scale=3,
                )
                self.start = gr.Button(
                    "Start or resume", size="md", variant="primary", elem_id="run-start", scale=1
                )
                self.cancel = gr.Button("Cancel", size="md", elem_id="run-cancel", scale=1)

    # ------------------------------------------------------------ handlers

    def load(self) -> Updates:
        """Everything as it is now."""
        updates = {self.seen: self._state(), **self._panels()}
        with contextlib.suppress(DiffInfError):  # the settings panel names what is wrong
            self.session.follow()
        settings = self.settings.reload()
        return {**updates, **self._progress(), self.glance: self._dataset(), **settings}

    def _state(self) -> str:
        exists = self.session.exists
        return f"{exists}:{exists and self.session.run.status()['data']}"

    def _panels(self) -> Updates:
        exists = self.session.exists
        updates: Updates = {panel: gr.update(visible=exists) for panel in self.panels}
        updates[self.new.panel] = gr.update(visible=not exists)
        return updates

    def _progress(self) -> Updates:
        if not self.session.exists:
            return {self.stages: "", self.log: ""}
        snapshot = self.session.jobs.snapshot()
        stages = markup.stages(snapshot, self.session.run.steps())
        outdated = None if self.session.jobs.running else self.session.run.outdated()
        if outdated:
            stages = markup.notice(outdated) + stages
        return {self.stages: stages, self.log: "\n".join(snapshot.log)}

    def _dataset(self) -> str:
        try:
            run = self.session.run
            dataset = run.dataset()
            if dataset is None:
                return markup.notice(
                    "The pictures are not read yet; the first stage does that.", "empty"
                )
            return run_markup.glance(dataset, partial(thumb_url, run))
        except DiffInfError as error:
            return markup.notice(str(error), "empty")

    def _tick(self, seen: str) -> Updates:
        now = self._state()
        updates = {**self._progress(), self.seen: now}
        if now != seen:
            updates |= {**self._panels(), self.glance: self._dataset()}
        if now.startswith("True") and seen.startswith("False"):  # made in another window
            updates[self.settings.stale] = now
        return updates

    def _begin(self, until: str, base: str, yaml: str) -> Updates:
        note = ""
        try:
            self.session.follow()
            run = self.session.run
            self.session.jobs.start("run", lambda: run.compute(until))
            if self.settings.changed(base, yaml):
                note = markup.notice(
                    "The settings below have changes that are not saved; the run goes on without them."
                )
        except DiffInfError as error:
            note = markup.notice(str(error), "error")
        return {**self._progress(), self.message: note}

    def _stop(self) -> Updates:
        if not self.session.jobs.running:
            return {self.message: markup.notice("Nothing is running.")}
        self.session.jobs.cancel()
        return {self.message: "", **self._progress()}

    def _make(self, source: str, path: str, checked: str, *values: Any) -> Updates:
        if self.session.exists:  # this window has not looked since another one made it
            there = f"There is a run in {self.session.root} already, with the settings below."
            return {self.message: markup.notice(there, "error"), **self.load()}
        try:
            over = where(source, path)
            if source == "folder" and not path.strip():
                raise DiffInfError("Type the folder with the pictures first.")
            config = self.settings.form.read(values, over)
            self.new.refuse_unchecked(config, checked)
            self.session.configure(config)
        except DiffInfError as error:
            return {self.message: markup.notice(str(error), "error")}
        made = markup.notice(f"Made {self.session.root}. Start it when you like.")
        return {self.message: made, **self.load()}

    # ------------------------------------------------------------ events

    def _wire(self, tab: gr.Tab) -> None:
        settings, new = self.settings, self.new
        self.start.click(
            self._begin,
            [self.until, settings.base, settings.text],
            [self.stages, self.log, self.message],
            queue=False,
        )
        self.cancel.click(self._stop, None, [self.stages, self.log, self.message], queue=False)
        new.connect(settings.form, settings.shown, settings.filled_with)
        new.check.click(lambda: "", outputs=[self.message], queue=False)
        new.create.click(
            self._make,
            [new.source, new.path, new.checked, *settings.form.inputs],
            [self.message, *self.outputs],
            queue=False,
        )
        gr.Timer(1.0).tick(
            self._tick,
            [self.seen],
            [self.stages, self.log, self.glance, self.seen, settings.stale, *self.panels],
            **QUIET,
        )
        settings.wire(tab, self.message)
