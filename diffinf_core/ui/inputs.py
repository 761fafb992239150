"""Controls whose values reach their handlers unchecked.

Gradio compares a value with the choices or bounds that the server holds for the page, and drops the request
where it is not among them. A page outlives those: the server restarts, a tag loses its last sample, a filter
leaves fewer pages. So handlers check what they take, and answer in a sentence.
"""

from __future__ import annotations

from typing import Any

import gradio as gr


def _as_sent(_self: gr.components.Component, payload: Any) -> Any:
    """The value as it was sent."""
    return payload


class LenientDropdown(gr.Dropdown):
    """A dropdown whose value may no longer be among its choices."""

    is_template, preprocess = True, _as_sent


class LenientRadio(gr.Radio):
    """A radio group whose value may no longer be among its choices."""

    is_template, preprocess = True, _as_sent


class LenientSlider(gr.Slider):
    """A slider beside whose track a number beyond its ends can be typed."""

    is_template, preprocess = True, _as_sent


class NumberField(gr.Number):
    """A number that comes as it was typed: Gradio's own check would not say which key is meant."""

    is_template = True

    def preprocess(self, payload: float | None) -> float | int | None:
        """The number, whole where it is."""
        if isinstance(payload, float) and payload.is_integer():
            return int(payload)
        return payload
