"""Saved views: filters, order and colours of the map under a name, for everybody who reviews the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from diffinf_core.engine import View
from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.explore.filters import Filters
from diffinf_core.ui.explore.parts import skipped
from diffinf_core.ui.session import Session, reviewer_of

_MODES = ("table", "grid")


class Views:
    """The row of saved views. ``controls`` are method of the map and mode of the list beside the filters."""

    def __init__(self, session: Session) -> None:
        self.session = session
        with gr.Row(elem_classes="di-views"):
            self.name = gr.Dropdown(
                [], label="Saved view", elem_id="view-name", allow_custom_value=True, min_width=200,
                info="choose one, or type a name to save what is shown",
            )  # fmt: skip
            self.open = gr.Button("Open", size="sm", elem_id="view-open", scale=0, min_width=70)
            self.save = gr.Button("Save", size="sm", elem_id="view-save", scale=0, min_width=70)
            self.remove = gr.Button(
                "Remove", size="sm", elem_id="view-remove", scale=0, min_width=70
            )
        self.message = gr.HTML(elem_id="view-message", elem_classes="di-optional")
        #: colour of the map, as the script has it
        self.colour = gr.Textbox(visible="hidden", elem_id="view-colour")

    def names(self) -> Any:
        """The choices of saved views."""
        return gr.update(choices=list(self.session.run.tags.views()))

    def _save(
        self, name: str | None, colour: str, method: str, mode: str, *given: Any, who: str
    ) -> str:
        view = Filters.view(*given)
        if view.ids is not None:
            raise DiffInfError(
                "A selection is not part of a view: tag the selected pictures, filter by the tag and save "
                "that."
            )
        made = {"view": view.as_dict(), "colour": colour, "method": method, "mode": mode}
        return self.session.run.tags.save_view(name or "", made, who)

    def _opened(self, name: str | None) -> Mapping[str, Any]:
        known = self.session.run.tags.views()
        if name not in known:
            raise DiffInfError(f"There is no view {name or ''!r}; choose one of the list.")
        return known[name].definition

    def wire(self, filters: Filters, method: gr.Radio, mode: gr.Radio) -> Any:
        """Connect the buttons; the event after which the list shows what was opened."""
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
        controls = [method, mode, *filters.inputs]

        def save(request: gr.Request, name: str | None, colour: str, *given: Any) -> list[Any]:
            try:
                kept = self._save(name, colour, *given, who=reviewer_of(request))
            except DiffInfError as error:
                return [markup.notice(str(error), "error"), gr.skip()]
            return [markup.notice(f"Saved the view {kept!r}."), self.names()]

        def remove(request: gr.Request, name: str | None) -> list[Any]:
            try:
                self.session.run.tags.remove_view(name or "", reviewer_of(request))
            except DiffInfError as error:
                return [markup.notice(str(error), "error"), gr.skip()]
            choices = list(self.session.run.tags.views())
            return [
                markup.notice(f"Removed the view {name!r}."),
                gr.update(choices=choices, value=None),
            ]

        def opened(name: str | None) -> list[Any]:
            try:
                found = self._opened(name)
                values = filters.values(View.of(found.get("view", {})))
            except DiffInfError as error:
                return [markup.notice(str(error), "error"), *skipped([self.colour, *controls])]
            known = [value for _, value in method.choices]
            by = found.get("method") if found.get("method") in known else gr.skip()
            as_ = found.get("mode") if found.get("mode") in _MODES else gr.skip()
            return ["", str(found.get("colour", "")), by, as_, *values]

        self.save.click(
            save, [self.name, self.colour, *controls], [self.message, self.name],
            js="(name, _, ...rest) => [name, window.diMap.colour(), ...rest]", **quick,
        )  # fmt: skip
        self.remove.click(remove, [self.name], [self.message, self.name], **quick)
        event = self.open.click(
            opened, [self.name], [self.message, self.colour, *controls], **quick
        )
        event.then(None, [self.colour], None, js="(name) => window.diMap.paint(name)")
        return event
