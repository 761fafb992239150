"""Which pairs are on the table: as the filters ask, as the address asks, as Explore hands them over."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import gradio as gr

from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.filters import Filter, subgroups
from diffinf_core.ui.review.presenter import Presenter, enter
from diffinf_core.ui.review.state import PageState
from diffinf_core.ui.session import Session


class Queue:
    """Fills the table. Answers begin with the filters' controls, the classes and the switch of blind mode,
    but that of :meth:`refilter`, whose controls are as they were asked."""

    def __init__(self, session: Session, presenter: Presenter) -> None:
        self.session, self.presenter = session, presenter

    def refilter(self, request: gr.Request, page_state: PageState, *given: Any) -> list[Any]:
        """The filters changed."""
        who = enter(request, page_state)
        with page_state.turn:
            try:
                wanted = Filter.asked(*given)
                if wanted.reveals and (page_state.blind or self.session.run.config.review.blind):
                    raise DiffInfError(
                        "In blind mode pairs are not chosen or ordered by scores, flags or suggestions."
                    )
            except DiffInfError as error:
                return self.presenter.render(
                    page_state, who, None, markup.notice(str(error), "error")
                )
            return self.presenter.refill(page_state, who, wanted)

    def blindly(self, request: gr.Request, page_state: PageState) -> list[Any]:
        """Blind mode was switched on or off: the same pair, without a filter that says what is hidden."""
        who = enter(request, page_state)
        with page_state.turn:
            wanted, sample = page_state.wanted, page_state.sample
            if not page_state.blind or not wanted.reveals:
                return [*self._same(), *self.presenter.render(page_state, who, page_state.version)]
            shown = self.presenter.refill(page_state, who, wanted.concealing(), sample)
            return [*self._choices(page_state.wanted, page_state), *shown]

    def load(self, request: gr.Request, page_state: PageState) -> list[Any]:
        """The page was opened; ``?sample=`` names a pair, ``?run=`` the run it belongs to."""
        query = dict(request.query_params) if request else {}
        asked = str(query.get("run", ""))
        if asked and asked != self.session.root.name:
            own = self.session.root.name
            text = f"This app shows the run {own!r}; open the other with 'diffinf review {asked}'."
            page_state.trouble = text
            return [*self._same(), *self.presenter.blank(text, "error")]
        first, who = str(query.get("sample", "")), enter(request, page_state)
        try:
            self.session.follow()
        except DiffInfError as error:
            page_state.trouble = str(error)
            return [*self._same(), *self.presenter.blank(page_state.trouble, "error")]
        with page_state.turn:
            shown = self.presenter.refill(page_state, who, Filter(), first)
        return [*self._choices(Filter(), page_state), *shown]

    def again(self, request: gr.Request, page_state: PageState) -> list[Any]:
        """Back from another page: the same pair, unless the queue changed or pictures were selected."""
        who = enter(request, page_state)
        with page_state.turn:
            if self.session.take_selection(who):
                wanted = Filter(state="selection")
                return [
                    *self._choices(wanted, page_state),
                    *self.presenter.refill(page_state, who, wanted),
                ]
            if (
                not page_state.known
            ):  # nothing was shown yet, so the address still says what to show
                return self.load(request, page_state)
            try:
                now = self.session.run.queue_key()
            except DiffInfError as error:
                return [*self._same(), *self.presenter.blank(str(error))]
            if page_state.order and now == page_state.known:
                return [
                    *self._same(),
                    *self.presenter.render(page_state, who, page_state.version or None),
                ]
            return [
                *self._choices(page_state.wanted, page_state),
                *self.presenter.refill(page_state, who, page_state.wanted),
            ]

    def _same(self) -> list[Any]:
        """Filters and classes as they are."""
        return [gr.skip()] * (len(fields(Filter)) + 2)

    def _choices(self, wanted: Filter, page_state: PageState) -> list[Any]:
        """The filters' controls as ``wanted`` has them, with what can be chosen now."""
        try:
            classes = list(self.session.run.training.classes)
            groups = subgroups(self.session.run.queue)
            people = sorted({d.reviewer for d in self.session.run.review.decisions().values()})
        except DiffInfError:
            return self._same()
        choices = {"label": classes, "reviewer": people, "group": groups}
        out = []
        for each in fields(Filter):
            value = getattr(wanted, each.name)
            if each.name in choices:
                out.append(gr.update(choices=["all", *choices[each.name]], value=value))
            else:
                out.append(gr.update(value="" if value is None else value))
        return [*out, gr.update(choices=classes), self._blind(page_state)]

    def _blind(self, page_state: PageState) -> Any:
        """The switch of blind mode; where the run is reviewed so, it is on and stays on."""
        always = self.session.run.config.review.blind
        return gr.update(value=always or page_state.blind, interactive=not always)
