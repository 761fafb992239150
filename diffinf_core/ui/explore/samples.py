"""Samples: a map of every training picture, and the table that goes with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np

from diffinf_core.engine import STATES, View, map_methods, natural_key
from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import digest
from diffinf_core.ui import markup
from diffinf_core.ui.explore import data as explore_data
from diffinf_core.ui.explore import markup as explore_markup
from diffinf_core.ui.explore.parts import (
    BODY,
    TABLE_SCRIPT,
    WITH_PICKED,
    Pager,
    progress,
    skipped,
)
from diffinf_core.ui.session import Session

_ALL = "all"
_HIGH = {"all": None, "high-influence": True, "others": False}
_TITLES = {"pca": "PCA: the two directions of most variance", "umap": "UMAP: who is near whom"}


def view_of(
    label: str,
    group: str,
    text: str,
    high: str,
    state: str,
    only: bool,
    *,
    sort: tuple[str, bool],
    picked: str,
) -> View:
    """The filters of the page as a view; ``group`` is a JSON pair of column and value."""
    return View(
        label=None if label == _ALL else label,
        group=None if group == _ALL else tuple(json.loads(group)),
        text=(text or "").strip(),
        high=_HIGH[high],
        state=None if state == _ALL else state.replace(" ", "_"),
        ids=frozenset(picked.split()) if only else None,
        sort=sort[0],
        descending=sort[1],
    )


class SamplesPart:
    """The map above, the table below; ``load`` refreshes both."""

    def __init__(self, session: Session, picked: gr.Textbox, handed: gr.Textbox) -> None:
        self.session = session
        self.empty = gr.HTML(elem_id="explore-empty", elem_classes=["di-optional", "di-gate"])
        with gr.Column(elem_classes=BODY):
            self._build_map()
            self._build_table()
        self.sort = gr.State(("rank", False))
        self.filters: list[Any] = [
            self.label,
            self.group,
            self.text,
            self.high,
            self.state,
            self.only,
        ]
        self.given = [*self.filters, self.sort, self.pager.page, picked]
        self.shown = [self.table, *self.pager.outputs]
        self.outputs = [
            self.empty, self.map, self.map_words, self.make, self.label, self.group,
            *self.shown,
        ]  # fmt: skip
        self._wire(picked, handed)

    # ------------------------------------------------------------ layout

    def _build_map(self) -> None:
        # Functions that the script calls for what is too large, or too small, for an event.
        def points(method: str) -> dict[str, Any]:
            return self._said(lambda: explore_data.points(self.session.run, method))

        def states(_: Any) -> dict[str, Any]:
            run = self.session.run
            return self._said(lambda: explore_data.decision_states(run.explore.states()))

        def file(sample: str) -> dict[str, Any]:
            def named() -> dict[str, Any]:
                return {"file": self.session.run.explore.samples().file(sample)}

            return self._said(named)

        methods = map_methods()
        self.map_words = gr.HTML(elem_id="map-words", elem_classes="di-optional")
        with gr.Row():
            self.method = gr.Radio(
                [(_TITLES[m], m) for m in methods],
                value=methods[0],
                label="Map by",
                elem_id="map-method",
                visible=len(methods) > 1,
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

    @staticmethod
    def _said(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return make()
        except DiffInfError as error:
            return {"error": str(error)}

    def _build_table(self) -> None:
        with gr.Row():
            self.label = gr.Dropdown([_ALL], value=_ALL, label="Label", elem_id="table-label")
            self.group = gr.Dropdown([_ALL], value=_ALL, label="Subgroup", elem_id="table-group")
            self.text = gr.Textbox(
                label="File name has", elem_id="table-text", max_lines=1, placeholder="any text"
            )
            self.high = gr.Dropdown(
                list(_HIGH), value=_ALL, label="Influence", elem_id="table-high"
            )
            self.state = gr.Dropdown(
                [_ALL, *(s.replace("_", " ") for s in STATES)],
                value=_ALL,
                label="Decision",
                elem_id="table-state",
            )
            self.only = gr.Checkbox(False, label="Only the selected", elem_id="table-only")
        self.pager = Pager("table", "Select all that fit")
        self.table = gr.HTML(
            elem_id="explore-table", js_on_load=TABLE_SCRIPT, apply_default_css=False
        )

    # ------------------------------------------------------------ handlers

    def _map_key(self, method: str) -> str:
        """Changes with everything that the map shows: the script asks for the points anew."""
        run = self.session.run
        return f"{method} {run.explore.samples_key()} {digest(run.explore.states().tobytes())}"

    def _shown_map(self, method: str) -> list[Any]:
        if self.session.run.explore.map.done(method):
            return [self._map_key(method), progress(self.session, "map"), gr.update(visible=False)]
        said = progress(self.session, "map") or markup.notice(
            "There is no map of these pictures yet. Making it passes each through the classifier "
            "once and is stored with the run.",
            "empty",
        )
        return ["", said, gr.update(visible=True)]

    def _choices(self) -> list[Any]:
        groups = self.session.run.explore.samples().groups
        found = [
            (f"{column}: {value or '(empty)'}", json.dumps([column, value]))
            for column in groups
            if column != "label"
            for value in sorted(groups[column].unique(), key=natural_key)
        ]
        labels = [_ALL, *self.session.run.training.classes]
        return [gr.update(choices=labels), gr.update(choices=[(_ALL, _ALL), *found])]

    def _page(self, *given: Any) -> list[Any]:
        *filters, sort, page, picked = given
        run = self.session.run
        try:
            found = run.explore.view(view_of(*filters, sort=tuple(sort), picked=picked))
            samples = run.explore.samples()
        except DiffInfError as error:
            return [markup.notice(str(error), "error"), *skipped(self.pager.outputs)]
        page, part = Pager.part(page, len(found))
        at: np.ndarray = found[part]
        rows = samples.table.iloc[at].join(samples.scores.iloc[at])
        table = explore_markup.samples_table(
            rows.assign(state=run.explore.states()[at]),
            list(samples.scores.columns),
            sort=sort[0],
            descending=sort[1],
            ranked_by=run.explore.scores.used(),
        )
        return [table, *Pager.shown(page, len(found), "samples")]

    def _first_page(self, *given: Any) -> list[Any]:
        return self._page(*given[:-2], 1, given[-1])

    def load(self, method: str, *given: Any) -> list[Any]:
        """Everything anew, with the filters as they are; a sentence where nothing is ranked yet."""
        try:
            self.session.run.explore.samples_key()
            return [
                "",
                *self._shown_map(method),
                *self._choices(),
                *self._page(*given),
            ]
        except DiffInfError as error:
            return [markup.notice(str(error), "empty"), *skipped(self.outputs[1:])]

    def tick(self, method: str) -> list[Any]:
        """How the making of the map goes."""
        return self._shown_map(method)

    def _begin(self, method: str) -> list[Any]:
        run = self.session.run
        try:
            self.session.jobs.start("map", lambda: run.explore.map.compute(method))
        except DiffInfError as error:
            return [gr.skip(), markup.notice(str(error), "error"), gr.skip()]
        return self._shown_map(method)

    def _all(self, *given: Any) -> str:
        *filters, sort, _, picked = given
        run = self.session.run
        found = run.explore.view(view_of(*filters, sort=tuple(sort), picked=picked))
        return " ".join(run.explore.samples().table["id"].iloc[found])

    # ------------------------------------------------------------ events

    def _wire(self, picked: gr.Textbox, handed: gr.Textbox) -> None:
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
        for control in self.filters:
            # A text says so only when its value has changed.
            listen = control.change if control is self.text else control.input
            listen(self._first_page, self.given, self.shown, js=WITH_PICKED, **quick)
        self.pager.wire(self._page, self.given, self.shown, WITH_PICKED)

        def sorted_(event: gr.EventData, *given: Any) -> list[Any]:
            asked = str(event.sort)
            known, descending = given[-3]
            # A score begins with the most suspicious, everything else with the first.
            first = asked in self.session.run.explore.samples().scores
            now = (asked, not descending if asked == known else first)
            return [now, *self._page(*given[:-3], now, 1, given[-1])]

        self.table.select(sorted_, self.given, [self.sort, *self.shown], js=WITH_PICKED, **quick)
        self.pager.extra.click(self._all, self.given, [handed], js=WITH_PICKED, **quick).then(
            None, [handed], None, js="(ids) => window.diExplore.add(ids)"
        )
        map_outputs = [self.map, self.map_words, self.make]
        self.make.click(self._begin, [self.method], map_outputs, **quick)
        self.method.input(self._shown_map, [self.method], map_outputs, **quick)
