"""The handlers of a page of Gradio, as its events call them, without a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr


def handler(blocks: gr.Blocks, elem_id: str, event: str) -> Any:
    """The first function that an event of the component with this id calls."""
    own = {b._id for b in blocks.blocks.values() if getattr(b, "elem_id", None) == elem_id}
    return next(
        f for f in blocks.fns.values() if any(i in own and e == event for i, e in f.targets)
    )


def tick(blocks: gr.Blocks, elem_id: str) -> Callable[..., dict[str, Any]]:
    """The timer that updates this component: called with its inputs, it answers by id."""
    found = next(
        f for f in blocks.fns.values()
        if any(e == "tick" for _, e in f.targets)
        and any(getattr(o, "elem_id", None) == elem_id for o in f.outputs)
    )  # fmt: skip

    def called(*given: Any) -> dict[str, Any]:
        names = ["seen", *(str(getattr(o, "elem_id", None)) for o in found.outputs[1:])]
        return dict(zip(names, found.fn(*given), strict=True))

    return called


def skips(value: Any) -> bool:
    """Whether an answer leaves its component as it is."""
    return isinstance(value, dict) and set(value) == {"__type__"}
