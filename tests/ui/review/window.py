"""A browser on the Review page, without the browser."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr

from diffinf_core.ui.review.page import Page
from diffinf_core.ui.review.presenter import Presenter
from diffinf_core.ui.review.state import DisplayedPair, PageState
from diffinf_core.ui.session import Session


class Window:
    """One browser on the page, without the browser."""

    head = view = message = showing = running = history = ""

    def __init__(self, page: Page, who: str | None = None, sample: str = "") -> None:
        self.page, self.page_state = page, PageState()
        query = {"sample": sample} if sample else {}
        self.request: Any = SimpleNamespace(username=who, query_params=query)
        self.take(page.queue.load(self.request, self.page_state))

    def take(self, answer: list[Any]) -> None:
        """What the browser has on the screen after an answer."""
        for name, value in zip(Presenter.names, answer[-len(Presenter.names) :], strict=True):
            if isinstance(value, str):
                setattr(self, name, value)

    @property
    def sample(self) -> str:
        return DisplayedPair.read(self.showing).sample

    def key(self, action: str, showing: str | None = None) -> str:
        """Press the key of a decision; the message."""
        showing = self.showing if showing is None else showing
        given = (self.request, self.page_state, showing, None, "", True)
        self.take(self.page.decide(action, *given))
        return str(self.message)

    def say(self, verb: str, value: str = "") -> list[Any]:
        """What a script of the page tells the server; the answer."""
        text = json.dumps({"verb": verb, "value": value})
        answer = self.page.on_message(self.request, text, self.page_state, self.showing, "", True)
        self.take(answer)
        return answer

    def undo(self) -> None:
        self.take(self.page.take_back("undo", self.request, self.page_state))

    def step(self, by: int = 1) -> str:
        self.take(self.page.step(by, self.request, self.page_state))
        return str(self.message)

    def bulk(self, action: str) -> tuple[str, Any]:
        """Preview a bulk decision; what it says and what Apply would be given."""
        said, plan, _ = self.page.many.preview(self.request, self.page_state, action, None)
        return said, plan

    def apply(self, plan: Any, *now: str | None) -> str:
        said, _, _, *shown = self.page.many.write(self.request, self.page_state, plan, *now)
        self.take(shown)
        return str(said)


def page_of(run: Path, shared: bool = False) -> Page:
    with gr.Blocks():
        return Page(Session(run, shared=shared))
