"""The map: every training picture as a point, by a method of the reader's choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from diffinf_core.engine import MAPS
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import digest
from diffinf_core.ui import markup
from diffinf_core.ui.explore import data as explore_data
from diffinf_core.ui.explore.parts import progress
from diffinf_core.ui.inputs import LenientRadio
from diffinf_core.ui.session import Session

_METHODS = {"pca": "PCA", "umap": "UMAP"}


def title_of(name: str) -> str:
    """What a map is called on the page."""
    method = _METHODS[name.rpartition("-")[2]]
    return (
        f"{method} of identity" if name.startswith("identity-") else f"{method} of the classifier"
    )


def answer(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a function of the page's script returns; a refusal is a sentence under "error"."""
    try:
        return make()
    except DiffInfError as error:
        return {"error": str(error)}


class MapPart:
    """The map with its method; ``outputs`` are what :meth:`shown` gives values for."""

    def __init__(self, session: Session) -> None:
        self.session = session

        # Functions that the script calls for what is too large, or too small, for an event.
        def points(method: str) -> dict[str, Any]:
            return answer(lambda: explore_data.points(self.session.run, method))

        def states(_: Any) -> dict[str, Any]:
            run = self.session.run
            return answer(lambda: explore_data.decision_states(run.explore.states()))

        def file(sample: str) -> dict[str, Any]:
            return answer(lambda: {"file": self.session.run.explore.samples().file(sample)})

        self.words = gr.HTML(elem_id="map-words", elem_classes="di-optional")
        with gr.Row():
            self.method = LenientRadio(
                [(title_of(name), name) for name in MAPS],
                value="pca",
                label="Map by",
                elem_id="map-method",
                elem_classes="di-inline",
            )
            self.make = gr.Button(
                "Make the map",
                size="md",
                variant="primary",
                elem_id="map-make",
                visible=False,
                scale=0,
                min_width=180,
            )
        self.map = gr.HTML(
            value="",
            html_template='<div class="di-map"></div>',
            js_on_load="window.diMap.mount(element, props, server, watch)",
            server_functions=[points, states, file],
            elem_id="explore-map",
            apply_default_css=False,
        )
        self.outputs = [self.map, self.words, self.make]
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
        self.make.click(self._begin, [self.method], self.outputs, **quick)
        self.method.input(self.shown, [self.method], self.outputs, **quick)

    def _key(self, method: str) -> str:
        """Changes with everything that the map shows: the script asks for the points anew."""
        run = self.session.run
        edits = run.queue_key() if self.session.ready() else ""
        samples = digest(run.explore.samples_key(), edits)
        return f"{method} {samples} {digest(run.explore.states().tobytes())}"

    def names(self, method: str) -> Any:
        """The maps that the run can have, as choices; the first one where it can have ``method`` no more."""
        names = self.session.run.explore.map.names()
        gone: dict[str, Any] = {} if method in names else {"value": names[0]}
        return gr.update(choices=[(title_of(n), n) for n in names], **gone)

    def shown(self, method: str) -> list[Any]:
        """The map, how far its making is, or what there is to do."""
        try:
            names = self.session.run.explore.map.names()
            method = method if method in names else names[0]
            if self.session.run.explore.map.done(method):
                return [self._key(method), progress(self.session, "map"), gr.update(visible=False)]
        except DiffInfError as error:  # as where the run ranks by a score that is not computed yet
            words = progress(self.session, "map") or markup.notice(str(error), "error")
            return [gr.skip(), words, gr.skip()]
        said = progress(self.session, "map") or markup.notice(
            "This map of the pictures is not computed yet. It passes each through the network once and is "
            "stored with the run.",
            "empty",
        )
        return ["", said, gr.update(visible=True)]

    def _begin(self, method: str) -> list[Any]:
        try:
            run = self.session.run
            self.session.jobs.start("map", lambda: run.explore.map.compute(method))
        except DiffInfError as error:
            return [gr.skip(), markup.notice(str(error), "error"), gr.skip()]
        return self.shown(method)
