"""Controls whose values reach their handlers unchecked.

Gradio compares a value with the choices or bounds that the server holds for the page, and drops the request
where it is not among them. A page outlives those: the server restarts, a tag loses its last sample, a filter
leaves fewer pages. So handlers check what they take, and answer in a sentence.

Each class spells its method out: Gradio writes a stub of this file, with its classes and nothing else.
"""

from __future__ import annotations

from typing import Any

import gradio as gr


class LenientDropdown(gr.Dropdown):
    """A dropdown whose value may no longer be among its choices."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """The value as it was sent."""
        return payload


class LenientRadio(gr.Radio):
    """A radio group whose value may no longer be among its choices."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """The value as it was sent."""
        return payload


class LenientSlider(gr.Slider):
    """A slider beside whose track a number beyond its ends can be typed."""

    is_template = True

    def preprocess(self, payload: float) -> float:
        """The number as it was typed."""
        return payload


class NumberField(gr.Number):
    """A number that comes as it was typed: Gradio's own check would not say which key is meant."""

    is_template = True

    def preprocess(self, payload: float | None) -> float | int | None:
        """The number, whole where it is."""
        if isinstance(payload, float) and payload.is_integer():
            return int(payload)
        return payload
