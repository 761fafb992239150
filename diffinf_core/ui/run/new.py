"""What the Run page shows where there is no run yet: choose pictures and a preset, check them, create it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from gradio.components import Component

from diffinf_core.config import PRESETS, RunConfig, preset_for
from diffinf_core.engine import check, check_body, named_source
from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.inputs import LenientDropdown
from diffinf_core.ui.run.form import ConfigForm
from diffinf_core.ui.session import Session
from diffinf_core.ui.updates import Updates

#: keys that this panel sets, so that the form below only shows them
CLOSED = ("data.source", "data.path")
#: seconds between two sentences on how far a check is
_EVERY = 0.5
#: what a check of a data set that a run refuses leaves in the page's state
_REFUSED = "refused"
_SOURCES = [("rendered faces (demo)", "demo"), ("a folder of pictures", "folder")]
_ABOUT = {
    "demo": "small network, any classes; minutes on a laptop",
    "demo-age": "the same on rendered ages, 30 % wrong labels",
    "paper-age": "the paper's ages: Young, Middle, Old; 30 % of the labels made wrong",
    "paper-expression": "the paper's expressions: happy, neutral, surprised, sad; 20 % made wrong",
    "photographs": "your photographs, 128 pixels; trains a generator on latents before the repair",
}


def presets_of(source: str) -> list[tuple[str, str]]:
    """The presets for a kind of source, with what each is."""
    names = [n for n in PRESETS if (n == "demo" or n.startswith("demo") != (source == "folder"))]
    return [(f"{n}: {_ABOUT.get(n, '')}".rstrip(": "), n) for n in names]


def where(source: str, path: str) -> dict[str, dict[str, Any]]:
    """The data section's part that the panel decides."""
    if source != "folder" or not path.strip():
        return {"data": {"source": source, "path": None}}
    named = named_source(path.strip())
    # a kind that is chosen below stands where the path does not name one
    return {"data": {k: v for k, v in named.items() if k != "kind" or v != "auto"}}


def checked_as(config: RunConfig) -> str:
    """What a check is about: another text once the pictures are read or split in another way."""
    return config.model_dump_json(include={"data", "split"})


class NewRun:
    """The panel; its events are connected once the form below it is there."""

    def __init__(self, session: Session) -> None:
        self.session = session
        with gr.Column(visible=not session.exists, elem_id="new-run") as self.panel:
            gr.Markdown(
                f"There is no run in `{session.root}` yet. Choose the pictures and a preset, look "
                "through the settings below, and create it; nothing is written before. A folder holds "
                "pictures and `labels.csv` (columns `file` and `label`), or one sub-folder per class; "
                "`KIND:PATH` names another kind of data set, as in `hf:FOLDER`. It is checked first."
            )
            with gr.Row():
                self.source = gr.Radio(
                    _SOURCES, value="demo", label="Pictures", elem_id="new-source"
                )
                self.preset = LenientDropdown(
                    presets_of("demo"), value="demo", label="Preset", elem_id="new-preset"
                )
            self.path = gr.Textbox(
                value="",
                label="Folder on this machine, or KIND:PATH",
                visible=False,
                max_length=4000,
                elem_id="new-path",
            )
            with gr.Row(elem_classes="di-buttons"):
                self.check = gr.Button(
                    "Check the data set",
                    variant="primary",
                    size="md",
                    visible=False,
                    elem_id="new-check",
                )
                self.create = gr.Button(
                    "Create the run", variant="primary", size="md", elem_id="new-create"
                )
            self.result = gr.HTML(elem_id="new-found")
        #: what was checked last, as :func:`checked_as`
        self.checked = gr.State("")
        self.chosen = [self.source, self.preset, self.path]

    def filled(self, source: str, preset: str, path: str) -> tuple[RunConfig, dict[str, Any]]:
        """The preset as a configuration, and as the form shows it."""
        over = where(source, path)
        known = over["data"]["path"] or source != "folder"
        config = preset_for(
            preset, over if known else {"data": {"source": source, "path": "FOLDER"}}
        )
        values = config.model_dump(mode="json")
        values["data"]["path"] = over["data"]["path"]
        return config, values

    def connect(
        self, form: ConfigForm, shown: list[Component], filled_with: Callable[..., Updates]
    ) -> None:
        """Let a choice fill the form; ``filled_with(config, values)`` gives the updates of ``shown``."""

        def choose(source: str, preset: str, path: str) -> Updates:
            """The form, and what is wrong with the folder's name."""
            try:
                return {self.result: "", **filled_with(*self.filled(source, preset, path))}
            except DiffInfError as error:
                message = markup.notice(str(error), "error")
                return {self.result: message, **filled_with(*self.filled(source, preset, ""))}

        def switch(source: str, path: str) -> Updates:
            own = source == "folder"
            return {
                self.preset: gr.update(choices=presets_of(source), value="demo"),
                self.path: gr.update(visible=own),
                self.check: gr.update(visible=own),
                **choose(source, "demo", path),
            }

        def check_data(source: str, path: str, *values: Any) -> Iterator[tuple[str, str]]:
            yield markup.notice("Reading every picture; large data sets take a while."), ""
            try:
                if not path.strip():
                    raise DiffInfError("Type the folder first.")
                yield from self._check(form.read(values, where(source, path)))
            except DiffInfError as error:
                yield markup.notice(str(error), "error"), ""

        switched = [self.preset, self.path, self.check, self.result, *shown]
        self.source.input(switch, [self.source, self.path], switched, queue=False)
        self.preset.input(choose, self.chosen, [self.result, *shown], queue=False)
        self.check.click(
            check_data,
            [self.source, self.path, *form.inputs],
            [self.result, self.checked],
            show_progress="hidden",
        )

    @staticmethod
    def _check(config: RunConfig) -> Iterator[tuple[str, str]]:
        """How far the check is, then its result and what it was about."""
        job, told = check(config), time.monotonic()
        for event in job:
            if time.monotonic() - told > _EVERY:
                told = time.monotonic()
                far = f"{event.done:,} of {event.total:,}"
                yield markup.notice(f"Checking the data set, {event.note}: {far}."), ""
        result = job.result()
        yield check_body(result), _REFUSED if result.problems else checked_as(config)

    @staticmethod
    def refuse_unchecked(config: RunConfig, checked: str) -> None:
        """Raise :class:`DiffInfError` unless the data set was checked as it would be read."""
        if config.data.source != "folder" or checked == checked_as(config):
            return
        if checked == _REFUSED:
            raise DiffInfError(
                "The check below names what stops a run: put it right, or change a setting, and check again."
            )
        raise DiffInfError(
            "Check the data set first: what is in it is shown before anything is trained."
            if not checked
            else "The data set or its settings changed since the check; check it again."
        )
