"""Run: what the data are, start or resume the stages, watch them, change settings; or make a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr

from diffinf_core.config import PRESETS, RunConfig, from_yaml, make_config, to_yaml
from diffinf_core.engine import STAGES
from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.run import markup as run_markup
from diffinf_core.ui.run.form import FIXED, ConfigForm
from diffinf_core.ui.run.new import CLOSED, NewRun, where
from diffinf_core.ui.session import Session
from diffinf_core.ui.web.pictures import thumb_url

#: stands for the stored settings where they could not be read
_UNREAD = "?"


def build(session: Session, tab: gr.Tab) -> Callable[[], list[Any]]:
    """Build the page inside its tab; returns what to refresh on load."""
    gr.Markdown(
        "## Run\nTrains a classifier on the labels as they are, ranks every training picture by "
        "its self-influence, and repairs the most disruptive ones. Closing this page stops nothing; "
        "a stopped run goes on where it was."
    )
    new = NewRun(session)
    with gr.Column(visible=session.exists, elem_id="run-there") as there:
        glance = gr.HTML(elem_id="run-data")
        with gr.Row(elem_classes="di-run"):
            until = gr.Dropdown(
                [(f"{name}: {title}", name) for name, title in STAGES.items()],
                value="repair",
                label="Run until",
                elem_id="run-until",
                scale=3,
            )
            start = gr.Button(
                "Start or resume", size="md", variant="primary", elem_id="run-start", scale=1
            )
            cancel = gr.Button("Cancel", size="md", elem_id="run-cancel", scale=1)
    message = gr.HTML(elem_id="run-message")
    bars = gr.HTML(elem_id="run-stages")
    with gr.Accordion("Log", open=False):
        log = gr.Textbox(show_label=False, lines=8, max_lines=8, elem_id="run-log")
    with gr.Accordion("Settings", open=not session.exists):
        gr.Markdown(
            "Every setting of this run. A change redoes only what depends on it; "
            "`data`, `split` and `noise` belong to the run folder and cannot change once it is there."
        )
        said = gr.HTML(elem_id="form-message")
        with gr.Tabs(elem_id="run-settings"):
            with gr.Tab("Form"):
                with gr.Row(visible=session.exists, elem_classes="di-run") as keep:
                    preset = gr.Dropdown(
                        list(PRESETS),
                        value=None,
                        label="Fill in a preset",
                        elem_id="form-preset",
                        scale=3,
                    )
                    save_form = gr.Button(
                        "Save settings", size="md", variant="primary", elem_id="form-save", scale=1
                    )
                    undo = gr.Button("Take changes back", size="md", elem_id="form-undo", scale=1)
                form = ConfigForm()
            with gr.Tab("Expert (YAML)"):
                text = gr.Code(
                    language="yaml", label="Configuration", elem_id="run-config", lines=20
                )
                save_text = gr.Button(
                    "Save YAML", size="md", elem_id="run-save", visible=session.exists
                )
    seen = gr.State("")
    filled = gr.State("")  # the stored configuration that the form was filled from, as YAML
    stale = gr.State("")  # another text each time the form has to be filled anew
    shown = [text, said, *form.inputs]

    def refill(
        config: RunConfig, values: dict[str, Any] | None = None, note: str = ""
    ) -> list[Any]:
        closed = FIXED if session.exists else CLOSED
        controls = form.show(values or config.model_dump(mode="json"), closed)
        return [to_yaml(config), note, *controls]

    def look() -> list[Any]:
        snapshot = session.jobs.snapshot()
        if not session.exists:
            return ["", ""]
        outdated = None if session.jobs.running else session.engine.outdated()
        top = markup.notice(outdated) if outdated else ""
        return [top + markup.stages(snapshot, session.engine.status()), "\n".join(snapshot.log)]

    def data_now() -> str:
        try:
            engine = session.engine
            found = engine.dataset()
            if found is None:
                return markup.notice(
                    "The pictures are not read yet; the first stage does that.", "empty"
                )
            return run_markup.glance(found, partial(thumb_url, engine))
        except DiffInfError as error:
            return markup.notice(str(error), "empty")

    def tick(known: str) -> list[Any]:
        now = str(session.exists and session.engine.status()["data"])
        fresh = data_now() if now != known else gr.skip()
        return [*look(), fresh, now]

    def begin(last: str, known: str, yaml: str) -> list[Any]:
        try:
            session.follow()
            engine = session.engine
            session.jobs.start("run", lambda: engine.compute(last))
            changed = (
                "The settings below have changes that are not saved; the run goes on without them."
            )
            note = markup.notice(changed) if known and yaml.strip() != known else ""
        except DiffInfError as error:
            note = markup.notice(str(error), "error")
        return [*look(), note]

    def stop() -> str:
        if not session.jobs.running:
            return markup.notice("Nothing is running.")
        session.jobs.cancel()
        return markup.notice("Stopping at the next step; finished work is kept.")

    def complaint(error: DiffInfError) -> list[Any]:
        return [gr.skip(), markup.notice(str(error), "error"), *[gr.skip()] * len(form.inputs)]

    def to_text(source: str, path: str, *values: Any) -> list[Any]:
        over = None
        try:
            if not session.exists:
                over = where(source, path)
                if source == "folder" and not path.strip():
                    over["data"]["path"] = "FOLDER"
            return [to_yaml(form.read(values, over)), ""]
        except DiffInfError as error:
            return [gr.skip(), markup.notice(str(error), "error")]

    def to_form(yaml: str) -> list[Any]:
        try:
            config = from_yaml(yaml, "The configuration")
        except DiffInfError as error:
            return complaint(error)
        return [gr.skip(), *refill(config)[1:]]

    def stored() -> str:
        """The configuration on disk: another page, window or command may have changed it."""
        return to_yaml(session.stored()).strip() if session.exists else ""

    def store(known: str, config: Callable[[], RunConfig]) -> list[Any]:
        try:
            if known and known != stored():
                raise DiffInfError(
                    "The settings were changed elsewhere since this form was filled, as by another tau "
                    "on the Explore page; take changes back to see them, and change again."
                )
            session.configure(config())
        except DiffInfError as error:
            return [markup.notice(str(error), "error"), *complaint(error), known]
        saved = markup.notice("Saved. Start the run to redo what depends on it.")
        return [saved, *refill(session.engine.config, note=saved), stored()]

    def opened(known: str, yaml: str) -> Any:
        """The tab was opened: another text where what is stored has to be shown anew.

        Not where the form has changes of its own; and where nothing is known, it is about to be filled.
        """
        again = f"{time.monotonic_ns()}"  # what was stored before may be stored again
        try:
            session.follow()
            now = stored()
        except DiffInfError:
            return again  # which says what is wrong
        changed = known and now != known and (known == _UNREAD or yaml.strip() == known)
        return again if changed else gr.skip()

    def fresh(_: str) -> list[Any]:
        try:
            return [*refill(session.stored()), stored()]
        except DiffInfError as error:
            return [*complaint(error), _UNREAD]

    def take_preset(name: str) -> list[Any]:
        kept = session.engine.config.model_dump(mode="json")
        over = {"data": {"source": "folder", "path": "FOLDER"}} if "paper" in name else {}
        wished = make_config(name, over).model_dump(mode="json")
        values = {k: kept[k] if k in FIXED else v for k, v in wished.items()}
        note = markup.notice(f"Filled in {name}; nothing is saved yet.")
        return refill(RunConfig.model_validate(values), note=note)

    def make(source: str, path: str, *values: Any) -> list[Any]:
        try:
            over = where(source, path)
            if source == "folder" and not path.strip():
                raise DiffInfError("Type the folder with the pictures first.")
            session.configure(form.read(values, over))
        except DiffInfError as error:
            note = markup.notice(str(error), "error")
            return [note, *[gr.skip()] * (len(everything) - 1)]
        made = f"Made {session.root}. Start it when you like."
        return [markup.notice(made), *load()]

    def load() -> list[Any]:
        exists = session.exists
        panels = [gr.update(visible=not exists), *[gr.update(visible=exists)] * 3]
        try:
            session.follow()
            first = (session.stored(),) if exists else new.filled("demo", "demo", "")
            return [*panels, *look(), data_now(), *refill(*first), stored()]
        except DiffInfError as error:
            return [*panels, *look(), data_now(), *complaint(error), _UNREAD]

    outputs = [new.panel, there, keep, save_text, bars, log, glance, *shown, filled]
    everything = [message, *outputs]
    start.click(begin, [until, filled, text], [bars, log, message], queue=False)
    cancel.click(stop, outputs=[message], queue=False)
    gr.on(
        form.changes,
        to_text,
        [new.source, new.path, *form.inputs],
        [text, said],
        queue=False,
        show_progress="hidden",
    )
    text.blur(to_form, [text], shown, queue=False, show_progress="hidden")
    save_form.click(
        lambda known, *values: store(known, lambda: form.read(values))[1:],
        [filled, *form.inputs],
        [*shown, filled],
        queue=False,
    )
    save_text.click(
        lambda known, yaml: store(known, lambda: from_yaml(yaml, "The configuration")),
        [filled, text],
        [message, *shown, filled],
        queue=False,
    )
    undo.click(
        lambda: [
            *refill(session.stored(), note=markup.notice("As saved.")),
            stored(),
        ],
        outputs=[*shown, filled],
        queue=False,
    )
    preset.input(take_preset, [preset], shown, queue=False)
    new.connect(form, shown, refill)
    new.create.click(make, [new.source, new.path, *form.inputs], everything, queue=False)
    gr.Timer(1.0).tick(tick, [seen], [bars, log, glance, seen], queue=False, show_progress="hidden")
    load.outputs = outputs  # type: ignore[attr-defined]
    # An answer to every control, though it changes none, can undo what is being typed: two steps.
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
    tab.select(opened, [filled, text], [stale], **quiet)
    stale.change(fresh, [stale], [*shown, filled], **quiet)
    return load
