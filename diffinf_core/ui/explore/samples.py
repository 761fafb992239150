"""Samples: a map of every training picture, and the list that goes with it, as a table or a grid."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np

from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.explore import markup as explore_markup
from diffinf_core.ui.explore.filters import Filters
from diffinf_core.ui.explore.listing import Grid, Positions
from diffinf_core.ui.explore.map import MapPart
from diffinf_core.ui.explore.parts import BODY, TABLE_SCRIPT, WITH_PICKED, Pager, skipped
from diffinf_core.ui.explore.unseen import UnseenPart
from diffinf_core.ui.explore.views import Views
from diffinf_core.ui.session import Session


class SamplesPart:
    """The map above, the list below; ``load`` refreshes both."""

    def __init__(
        self, session: Session, picked: gr.Textbox, handed: gr.Textbox, listed: gr.State
    ) -> None:
        self.session = session
        self.empty = gr.HTML(elem_id="explore-empty", elem_classes=["di-optional", "di-gate"])
        with gr.Column(elem_classes=BODY):
            self.map = MapPart(session)
            self.views = Views(session)
            self.filters = Filters(session)
            with gr.Column(elem_id="explore-lists"):
                self._build_list()
            self.unseen = UnseenPart(session)
        self.again = gr.Button("Refresh", visible="hidden", elem_id="explore-again")
        self.given = [*self.filters.inputs, self.pager.page, picked]
        self.shown = [self.message, self.table, self.grid.html, *self.pager.outputs, listed]
        self.outputs = [
            self.empty, self.map.method, *self.map.outputs, self.views.name, self.unseen.label,
            *self.filters.outputs, *self.shown,
        ]  # fmt: skip
        self._wire(handed)
        self.unseen.wire(self.filters, self.given, handed)
        for event in self.unseen.events:
            self.refresh(event)

    def _build_list(self) -> None:
        with gr.Row(elem_classes="di-list-bar"):
            self.mode = gr.Radio(
                ["table", "grid"],
                value="table",
                label="Show as",
                elem_id="explore-mode",
                scale=0,
                min_width=190,
            )
            self.pager = Pager("table", "Select all that fit")
        self.message = gr.HTML(elem_id="explore-list-message", elem_classes="di-optional")
        self.table = gr.HTML(
            elem_id="explore-table", js_on_load=TABLE_SCRIPT, apply_default_css=False
        )
        self.grid = Grid(self.session)

    # ------------------------------------------------------------ handlers

    def _found(self, *given: Any) -> Positions:
        *filters, _, picked = given
        return self.session.run.explore.view(Filters.view(*filters, picked=picked))

    def _page(self, *given: Any, stay: bool = True) -> list[Any]:
        run = self.session.run
        try:
            listed = run.review.journal.last()
            found = self._found(*given)
            samples = run.explore.samples()
            grid = self.grid.value(found, stay)
        except DiffInfError as error:
            return [markup.notice(str(error), "error"), *skipped(self.shown[1:])]
        page, part = Pager.part(given[-2], len(found))
        at: np.ndarray = found[part]
        rows = samples.table.iloc[at].join(samples.scores.iloc[at])
        measured = run.explore.measures.table()
        if measured is not None:
            rows = rows.join(measured.table.iloc[at])
        sort, descending = Filters.order(*given[:-2])
        table = explore_markup.samples_table(
            rows.assign(state=run.explore.states()[at]),
            list(samples.scores.columns),
            [] if measured is None else list(measured.table.columns),
            sort=sort,
            descending=descending,
            ranked_by=run.explore.scores.used(),
        )
        return ["", table, grid, *Pager.shown(page, len(found), "samples"), listed]

    def _first_page(self, *given: Any) -> list[Any]:
        return self._page(*given[:-2], 1, given[-1], stay=False)

    def load(self, method: str, *given: Any) -> list[Any]:
        """Everything anew, with the filters as they are; a sentence where nothing is ranked yet."""
        try:
            self.session.run.explore.samples_key()
            return [
                "",
                self.map.names(method),
                *self.map.shown(method),
                self.views.names(),
                self.unseen.labels(),
                *self.filters.choices(*given[:-2]),
                *self._page(*self._offered(*given)),
            ]
        except DiffInfError as error:
            return [markup.notice(str(error), "empty"), *skipped(self.outputs[1:])]

    def _offered(self, *given: Any) -> tuple[Any, ...]:
        return (*self.filters.offered(*given[:-2]), *given[-2:])

    def _all(self, *given: Any) -> list[Any]:
        try:
            found = self._found(*given)
            return ["", " ".join(self.session.run.explore.samples().table["id"].iloc[found])]
        except DiffInfError as error:
            return [markup.notice(str(error), "error"), ""]

    # ------------------------------------------------------------ events

    def refresh(self, event: Any) -> None:
        """Read the list and the map anew after an event, at the place where they are."""
        event.then(
            lambda method, *given: [
                self.filters.tags(*given[:-2]),
                *self.map.shown(method),
                *self._page(*self._offered(*given)),
            ],
            [self.map.method, *self.given],
            [self.filters.tag, *self.map.outputs, *self.shown],
            js=WITH_PICKED,
            queue=False,
            show_progress="hidden",
        )

    def _wire(self, handed: gr.Textbox) -> None:
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "js": WITH_PICKED}
        # one event asks for all, so that an answer that comes late cannot replace that to a later filter
        ask: dict[str, Any] = {"fn": None, "js": "() => window.diExplore.filtered()"}
        gr.on(self.filters.changes(), **ask)
        self.again.click(
            self._first_page, self.given, self.shown, trigger_mode="always_last", **quick
        )
        self.grid.html.select(self._page, self.given, self.shown, **quick)
        self.mode.change(None, [self.mode], None, js="(name) => window.diExplore.mode(name)")
        self.pager.wire(self._page, self.given, self.shown, WITH_PICKED)

        def sorted_(event: gr.EventData, *given: Any) -> list[Any]:
            asked = str(event.sort)
            known, descending = Filters.order(*given[:-2])
            # A score begins with the most suspicious, everything else with the first.
            first = asked in self.session.run.explore.samples().scores
            now = (asked, not descending if asked == known else first)
            given = (*Filters.ordered(given[:-2], *now), 1, given[-1])
            return [*now, *self._page(*given, stay=False)]

        opened = self.views.wire(self.filters, self.map.method, self.mode)
        opened.then(**ask)
        opened.then(self.map.shown, [self.map.method], self.map.outputs, queue=False)
        order = [self.filters.sort, self.filters.descending]
        self.table.select(sorted_, self.given, [*order, *self.shown], **quick)
        self.pager.extra.click(self._all, self.given, [self.message, handed], **quick).then(
            None, [handed], None, js="(ids) => window.diExplore.add(ids)"
        )
