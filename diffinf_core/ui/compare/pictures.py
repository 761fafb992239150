"""The test pictures that one arm gets right and the other wrong, page by page."""

from __future__ import annotations

from functools import partial

import gradio as gr

from diffinf_core.records import DiffInfError
from diffinf_core.ui import markup
from diffinf_core.ui.compare import markup as compare_markup
from diffinf_core.ui.inputs import LenientRadio
from diffinf_core.ui.session import Session
from diffinf_core.ui.updates import Updates

_PAGE = 24
_ALWAYS, _MOSTLY = "in every seed", "in most seeds"
_GAINED, _LOST = "gained", "lost"


class PicturesPart:
    """The list; ``outputs`` are the components that :meth:`reset` updates."""

    def __init__(self, session: Session) -> None:
        self.session = session
        with gr.Row():
            self.direction = LenientRadio([], label="Test pictures", elem_id="compare-direction")
            self.steady = gr.Radio([_ALWAYS, _MOSTLY], value=_ALWAYS, label="Right and wrong")
        self.list = gr.HTML(elem_id="compare-found")
        with gr.Row(elem_classes="di-buttons"):
            self.earlier = gr.Button("Earlier", size="sm", elem_id="compare-earlier")
            self.later = gr.Button("Later", size="sm", elem_id="compare-later")
        self.page = gr.Number(0, precision=0, visible="hidden", elem_id="compare-page")
        self._listed = [self.page, self.list, self.earlier, self.later]
        self.outputs = [self.direction, self.steady, *self._listed]

    def reset(self, arm: str, against: str) -> Updates:
        """The first page for two arms, what ``arm`` gains over ``against`` first."""
        ways = [
            (f"{arm} right, {against} wrong", _GAINED),
            (f"{against} right, {arm} wrong", _LOST),
        ]
        return {
            self.direction: gr.update(choices=ways, value=_GAINED),
            self.steady: _ALWAYS,
            **self._part(arm, against, _GAINED, _ALWAYS, 0),
        }

    def _part(self, arm: str, against: str, way: str, steady: str, page: int) -> Updates:
        compare, every = self.session.run.compare, steady == _ALWAYS
        right, wrong = (arm, against) if way == _GAINED else (against, arm)
        rows = compare.changed(right, wrong, every)
        other = len(compare.changed(wrong, right, every))
        page = min(max(page, 0), max(0, (len(rows) - 1) // _PAGE))
        part = rows.iloc[page * _PAGE : (page + 1) * _PAGE]
        pages = f" Page {page + 1} of {-(-len(rows) // _PAGE)}." if len(rows) > _PAGE else ""
        note = markup.notice(
            f"{len(rows)} test pictures that {right} gets right and {wrong} wrong {steady}, "
            f"{other} the other way round.{pages} To look at only: nothing here can be edited, "
            "and settings chosen by it make the test split part of the training."
        )
        pictures = compare.test_pictures([str(i) for i in part["id"]])
        seeds = compare.comparison().measured.seeds
        return {
            self.page: page,
            self.list: note + compare_markup.cards(part, pictures, right, wrong, seeds),
            self.earlier: gr.update(interactive=page > 0),
            self.later: gr.update(interactive=(page + 1) * _PAGE < len(rows)),
        }

    def _turn(
        self, by: int | None, arm: str, against: str, way: str, steady: str, page: int
    ) -> Updates:
        """Another page, or with None the first one."""
        try:
            return self._part(arm, against, way, steady, 0 if by is None else page + by)
        except DiffInfError as error:
            return {self.page: 0, self.list: markup.notice(str(error), "error")}

    def wire(self, arm: gr.Dropdown, against: gr.Dropdown) -> None:
        """Let the controls list the pictures of the two arms that are chosen."""
        asked = [arm, against, self.direction, self.steady, self.page]
        for trigger, by in (
            (self.direction.input, None),
            (self.steady.input, None),
            (self.earlier.click, -1),
            (self.later.click, 1),
        ):
            trigger(partial(self._turn, by), asked, self._listed, queue=False)
