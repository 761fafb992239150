"""The settings of a run, as a form and as YAML, which follow each other and what is stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gradio as gr

from diffinf_core.config import PRESETS, RunConfig, change, from_yaml, make_config, to_yaml
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import digest
from diffinf_core.ui import markup
from diffinf_core.ui.run.form import FIXED, ConfigForm
from diffinf_core.ui.run.new import CLOSED, NewRun, where
from diffinf_core.ui.session import Session
from diffinf_core.ui.updates import QUIET, Updates

#: stands for the stored settings where they could not be read
_UNREAD = "?"


def _stamp(yaml: str) -> str:
    return digest(yaml.strip())


class Settings:
    """The panel. ``outputs`` are the components that :meth:`filled_with` and :meth:`reload` update."""

    def __init__(self, session: Session, new: NewRun) -> None:
        self.session, self.new = session, new
        with gr.Accordion("Settings", open=not session.exists):
            gr.Markdown(
                "Every setting of this run. A change redoes only what depends on it; "
                "`data`, `split` and `noise` belong to the run folder and cannot change once it is there."
            )
            self.message = gr.HTML(elem_id="form-message")
            with gr.Tabs(elem_id="run-settings"):
                with gr.Tab("Form"):
                    self._buttons()
                    self.form = ConfigForm()
                with gr.Tab("Expert (YAML)"):
                    self._yaml()
        #: stamp of the stored configuration that the form was filled from; the browser keeps it, so that
        #: it is known after a restart of the server, too
        self.base = gr.Textbox("", visible="hidden", elem_id="settings-base")
        #: another text each time the form has to be filled anew
        self.stale = gr.State("")
        self.shown = [self.text, self.message, *self.form.inputs]
        self.outputs = [*self.shown, self.base]

    # ------------------------------------------------------------ layout

    def _buttons(self) -> None:
        with gr.Row(visible=self.session.exists, elem_classes="di-run") as self.buttons:
            self.preset = gr.Dropdown(
                list(PRESETS), value=None, label="Fill in a preset", elem_id="form-preset", scale=3
            )
            self.save = gr.Button(
                "Save settings", size="md", variant="primary", elem_id="form-save", scale=1
            )
            self.undo = gr.Button("Take changes back", size="md", elem_id="form-undo", scale=1)

    def _yaml(self) -> None:
        self.text = gr.Code(language="yaml", label="Configuration", elem_id="run-config", lines=20)
        self.save_text = gr.Button(
            "Save YAML", size="md", elem_id="run-save", visible=self.session.exists
        )

    # ------------------------------------------------------------ what the controls show

    def filled_with(
        self, config: RunConfig, values: dict[str, Any] | None = None, note: str = ""
    ) -> Updates:
        """Form and YAML of a configuration; ``values`` are shown in the form instead of its own."""
        closed = FIXED if self.session.exists else CLOSED
        controls = self.form.show(values or config.model_dump(mode="json"), closed)
        return {self.text: to_yaml(config), self.message: note, **controls}

    def stamp(self) -> str:
        """Of the configuration on disk: another page, window or command may have changed it."""
        return _stamp(to_yaml(self.session.stored())) if self.session.exists else ""

    def reload(self) -> Updates:
        """What is stored, or the first preset where there is no run yet."""
        try:
            if self.session.exists:
                return {**self.filled_with(self.session.stored()), self.base: self.stamp()}
            return {**self.filled_with(*self.new.filled("demo", "demo", "")), self.base: ""}
        except DiffInfError as error:
            return {**self._complaint(error), self.base: _UNREAD}

    def changed(self, base: str, yaml: str) -> bool:
        """Whether the form has changes of its own that are not saved."""
        return bool(base) and _stamp(yaml) != base

    def _complaint(self, error: DiffInfError) -> Updates:
        return {self.message: markup.notice(str(error), "error")}

    # ------------------------------------------------------------ handlers

    def _to_text(self, source: str, path: str, *values: Any) -> Updates:
        over = None
        try:
            if not self.session.exists:
                over = where(source, path)
                if source == "folder" and not path.strip():
                    over["data"]["path"] = "FOLDER"
            return {self.text: to_yaml(self.form.read(values, over)), self.message: ""}
        except DiffInfError as error:
            return self._complaint(error)

    def _to_form(self, yaml: str) -> Updates:
        try:
            updates = self.filled_with(from_yaml(yaml, "The configuration"))
        except DiffInfError as error:
            return self._complaint(error)
        del updates[self.text]
        return updates

    def _store(self, base: str, config: Callable[[], RunConfig]) -> Updates:
        try:
            if self.session.exists and base != self.stamp():
                raise DiffInfError(
                    "The settings were changed elsewhere since this form was filled, as by another tau "
                    "on the Explore page; take changes back to see them, and change again."
                )
            self.session.configure(config())
        except DiffInfError as error:
            return self._complaint(error)
        saved = markup.notice("Saved. Start the run to redo what depends on it.")
        return {**self.filled_with(self.session.run.config, note=saved), self.base: self.stamp()}

    def _save_form(self, base: str, *values: Any) -> Updates:
        return self._store(base, lambda: self.form.read(values))

    def _take_back(self) -> Updates:
        note = markup.notice("As saved.")
        try:
            return {**self.filled_with(self.session.stored(), note=note), self.base: self.stamp()}
        except DiffInfError as error:
            return self._complaint(error)

    def _take_preset(self, name: str | None) -> Updates:
        if name is None:  # the choice was cleared
            return {}
        try:
            kept = self.session.run.config.model_dump(mode="json")
            # a preset of folders needs a path, which is not taken over
            wished = make_config(name, {"data": {"path": "FOLDER"}}).model_dump(mode="json")
            values = {k: kept[k] if k in FIXED else v for k, v in wished.items()}
            config = change(RunConfig(), values, f"Preset {name}")
        except DiffInfError as error:
            return self._complaint(error)
        note = markup.notice(f"Filled in {name}; nothing is saved yet.")
        return self.filled_with(config, note=note)

    def _opened(self, base: str, yaml: str) -> Any:
        """The tab was opened: another text where what is stored has to be shown anew.

        Not where the form has changes of its own; and where nothing is known, it is about to be filled.
        """
        again = f"{time.monotonic_ns()}"  # what was stored before may be stored again
        try:
            self.session.follow()
            now = self.stamp()
        except DiffInfError:
            return again  # which says what is wrong
        outdated = base and now != base and (base == _UNREAD or not self.changed(base, yaml))
        return again if outdated else gr.skip()

    # ------------------------------------------------------------ events

    def wire(self, tab: gr.Tab, announced: gr.HTML) -> None:
        """``announced`` repeats, at the top of the page, how saving the YAML went."""

        def save_yaml(base: str, yaml: str) -> Updates:
            updates = self._store(base, lambda: from_yaml(yaml, "The configuration"))
            return {announced: updates[self.message], **updates}

        self._wire_typing()
        self.save.click(self._save_form, [self.base, *self.form.inputs], self.outputs, queue=False)
        self.save_text.click(
            save_yaml, [self.base, self.text], [announced, *self.outputs], queue=False
        )
        self.undo.click(self._take_back, outputs=self.outputs, queue=False)
        self.preset.input(self._take_preset, [self.preset], self.shown, queue=False)
        # An answer to every control, though it changes none, can undo what is being typed: two steps.
        tab.select(self._opened, [self.base, self.text], [self.stale], **QUIET)
        self.stale.change(self.reload, None, self.outputs, **QUIET)

    def _wire_typing(self) -> None:
        source = [self.new.source, self.new.path]
        gr.on(
            self.form.changes,
            self._to_text,
            [*source, *self.form.inputs],
            [self.text, self.message],
            **QUIET,
        )
        self.text.blur(self._to_form, [self.text], self.shown, **QUIET)
