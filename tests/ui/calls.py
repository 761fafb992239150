"""Requests as a browser sends them, through Gradio's own checks; no browser."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gradio as gr
from gradio.state_holder import SessionState


class Calls:
    """One page of an app. ``forget`` stands for a restart: the server knows nothing of the page any more."""

    def __init__(self, blocks: gr.Blocks) -> None:
        self.blocks = blocks
        self.forget()

    def forget(self) -> None:
        self.state = SessionState(self.blocks)

    def functions(self, name: str, event: str) -> list[Any]:
        """What an event of the component with this element id, or of the tab with this id, runs."""
        named = {
            i
            for i, block in self.blocks.blocks.items()
            if name == getattr(block, "elem_id", None)
            or (isinstance(block, gr.Tab) and name == block.id)
        }
        return [
            fn
            for fn in self.blocks.fns.values()
            if fn.fn is not None and any(i in named and e == event for i, e in fn.targets)
        ]

    def tick(self, name: str) -> Any:
        """The function of the clock that fills the component with this element id."""
        return next(
            fn
            for fn in self.blocks.fns.values()
            if any(event == "tick" for _, event in fn.targets)
            and any(getattr(out, "elem_id", None) == name for out in fn.outputs)
        )

    def send(self, fn: Any, /, **given: Any) -> dict[str, Any]:
        """Call with the values of a new page but those that are given by element id; the answer likewise."""
        values = []
        for block in fn.inputs:
            usual = None if block.stateful else getattr(block, "value", None)
            name = (getattr(block, "elem_id", None) or "").replace("-", "_")
            values.append(
                given.get(name, "" if isinstance(block, gr.Textbox) and not usual else usual)
            )
        request: Any = gr.Request(username=None, session_hash="page")

        def call() -> Any:
            work = self.blocks.process_api(fn, values, state=self.state, request=request)
            return asyncio.run(work)

        # in a thread of its own: a browser of the same session has an event loop in this one
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(call).result()
        names = [getattr(block, "elem_id", None) or str(block._id) for block in fn.outputs]
        return dict(zip(names, answer["data"], strict=True))
