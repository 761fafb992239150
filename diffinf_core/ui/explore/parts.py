"""What the parts of the Explore page share: pages of a long list, and watching a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from diffinf_core.ui import markup
from diffinf_core.ui.inputs import NumberField
from diffinf_core.ui.session import Session
from diffinf_core.ui.web.pictures import LIBRARY

#: rows that leave the server at a time
ROWS = 50
#: what is not shown while a notice above it says why there is nothing; by a rule of style, because
#: another visibility makes Gradio draw the whole page anew
BODY = "di-body"
#: hands tables to the script, which keeps the checkboxes in step with the selection
TABLE_SCRIPT = "window.diExplore.table(element, trigger, watch)"
#: the script's selection, where only that is to be listed, as the last of a handler's inputs
WITH_PICKED = "(...given) => [...given.slice(0, -1), window.diExplore.wanted()]"


def library_link() -> str:
    """Head of the page: where the drawing library lies, to be fetched when nothing else is to do."""
    return f'<link rel="prefetch" as="script" id="di-library" href="{LIBRARY}">'


class Pager:
    """Buttons and a number for a list that comes in pages of :data:`ROWS`, and one more button."""

    def __init__(self, name: str, extra: str = "") -> None:
        with gr.Row(elem_classes="di-pager"):
            self.back = gr.Button("← Previous", size="sm", elem_id=f"{name}-back", min_width=90)
            self.page = NumberField(
                1,
                label="Page",
                show_label=False,
                container=False,
                precision=0,
                minimum=1,
                elem_id=f"{name}-page",
                min_width=90,
            )
            self.forward = gr.Button("Next →", size="sm", elem_id=f"{name}-next", min_width=90)
            self.words = gr.HTML(elem_id=f"{name}-count")
            self.extra = gr.Button(extra, size="sm", elem_id=f"{name}-extra", visible=bool(extra))

    @property
    def outputs(self) -> list[Any]:
        """What :meth:`shown` gives values for."""
        return [self.page, self.words]

    def wire(
        self, show: Callable[..., list[Any]], given: list[Any], outputs: list[Any], js: Any = None
    ) -> None:
        """Turn the page: ``show`` takes the values of ``given``, of which one is the page."""
        at = given.index(self.page)
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "js": js}
        self.page.submit(show, given, outputs, **quick)
        for button, step in ((self.back, -1), (self.forward, 1)):

            def turned(*values: Any, step: int = step) -> list[Any]:
                page = max(1, int(values[at] or 1) + step)
                return show(*values[:at], page, *values[at + 1 :])

            button.click(turned, given, outputs, **quick)

    @staticmethod
    def part(page: float | None, total: int) -> tuple[int, slice]:
        """The nearest page there is, from 1, and its rows."""
        page = min(max(1, int(page or 1)), max(1, -(-total // ROWS)))
        return page, slice((page - 1) * ROWS, page * ROWS)

    @staticmethod
    def shown(page: int, total: int, noun: str) -> list[Any]:
        """Number of the page, and where it lies in the whole."""
        pages = max(1, -(-total // ROWS))
        begin, end = min(total, (page - 1) * ROWS + 1), min(total, page * ROWS)
        text = f"{begin:,} to {end:,} of {total:,} {noun}" if total else f"no {noun}"
        return [
            gr.update(value=page, maximum=pages),
            f'<p class="di-count" role="status">{text}; page {page} of {pages:,}</p>',
        ]


def progress(session: Session, job: str) -> str:
    """How far a job of the Explore page is; nothing where another job ran last."""
    snapshot = session.jobs.snapshot()
    if snapshot.name != job or snapshot.state in ("idle", "done"):
        return ""
    if snapshot.state == "failed":
        return markup.notice(snapshot.error, "error")
    if snapshot.stopping:
        return markup.notice("Stopping at the next step.")
    if not snapshot.stages:
        return markup.notice("Starting.")
    event = list(snapshot.stages.values())[-1]
    left = snapshot.left.get(event.stage)
    tail = f", {markup.duration(left)} left" if left and snapshot.state == "running" else ""
    return markup.notice(f"{snapshot.state}: {event.done:,} of {event.total:,}, {event.note}{tail}")


def skipped(outputs: Sequence[Any]) -> list[Any]:
    """Leave every one of these as it is."""
    return [gr.skip()] * len(outputs)
