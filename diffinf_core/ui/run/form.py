"""A form for the configuration, made from its models: one control per key, grouped by stage.

What a key is decides its control: choices a dropdown, a switch a checkbox, a number a field with its
bounds, a list a choice of several, all else text. Nothing is checked here: the models do that, in one
sentence that names the key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import floor, log10
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import gradio as gr
from gradio.components import Component
from pydantic.fields import FieldInfo

from diffinf_core.config import ARMS, AUTO, ON_REQUEST, SIGNALS, RunConfig, change
from diffinf_core.records import DiffInfError
from diffinf_core.ui.inputs import NumberField
from diffinf_core.ui.updates import Updates

#: sections that belong to a run's folder and cannot change once it is there
FIXED = ("data", "split", "noise")
#: what a list or a text can hold where its type does not say
_KNOWN = {"retrain.arms": ARMS, "influence.estimator": (*SIGNALS, *ON_REQUEST, AUTO)}


def _plain(annotation: Any) -> tuple[Any, bool]:
    """The type without None, and whether None is allowed."""
    if get_origin(annotation) in (Union, UnionType):
        kinds = [a for a in get_args(annotation) if a is not type(None)]
        return kinds[0], len(kinds) < len(get_args(annotation))
    return annotation, False


def _is_mapping(annotation: Any) -> bool:
    return get_origin(annotation) in (dict, Mapping)


def _written(value: Any) -> Any:
    """A value as its control shows it: a mapping as "a=b, c=d"."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={meaning}" for name, meaning in value.items())
    return value


def _pairs(text: str, key: str) -> dict[str, str]:
    """A mapping from how :func:`_written` shows it; :class:`DiffInfError` names the key."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    pairs = [part.partition("=") for part in parts]
    if wrong := [part for part, (_, sign, _) in zip(parts, pairs, strict=True) if not sign]:
        raise DiffInfError(f"{key}: write pairs as a=b, c=d; {wrong[0]!r} has no '='.")
    return {name.strip(): meaning.strip() for name, _, meaning in pairs}


def bounds(field: FieldInfo) -> dict[str, float]:
    """ge, gt, le and lt of a number, as far as it has them."""
    out = {}
    for rule in field.metadata:
        for name in ("ge", "gt", "le", "lt"):
            if getattr(rule, name, None) is not None:
                out[name] = getattr(rule, name)
    return out


def _range(limits: Mapping[str, float]) -> str:
    """Bounds in words; one that only keeps a seed in its type is not worth any."""
    if "ge" in limits and "le" in limits:
        return f"{limits['ge']:g} to {limits['le']:g}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return ", ".join(f"{words[k]} {limits[k]:g}" for k in words if limits.get(k, 1e9) < 1e9)


def _step(kind: type, default: float | None) -> float:
    """A tenth of a number's own size; whole numbers go by one."""
    if kind is int:
        return 1
    return 10.0 ** (floor(log10(abs(default))) - 1) if default else 0.1


def control(section: str, key: str, field: FieldInfo) -> Component:
    """The control of one key."""
    kind, optional = _plain(field.annotation)
    known = _KNOWN.get(f"{section}.{key}")
    info = field.description or ""
    if _is_mapping(kind):
        info += "; pairs, as a=b, c=d"
    # What is typed before the page has filled the form would be lost, so it is closed until then.
    common: dict[str, Any] = {
        "label": key,
        "elem_id": f"set-{section}-{key}",
        "interactive": False,
    }
    if get_origin(kind) is Literal:
        return gr.Dropdown(list(get_args(kind)), info=info, **common)
    if kind is bool:
        return gr.Checkbox(info=info, **common)
    if kind in (int, float):
        limits = bounds(field)
        more = [w for w in (_range(limits), "empty: left open" if optional else "") if w]
        return NumberField(
            info=f"{info} ({'; '.join(more)})" if more else info,
            minimum=limits.get("ge", limits.get("gt")),
            maximum=limits.get("le", limits.get("lt")),
            step=_step(kind, field.default),
            **common,
        )
    if get_origin(kind) is tuple:
        return gr.Dropdown(
            list(known or ()), multiselect=True, allow_custom_value=True, info=info, **common
        )
    if known:
        return gr.Dropdown(list(known), info=info, allow_custom_value=True, **common)
    return gr.Textbox(info=info, placeholder="empty: left open" if optional else None, **common)


class ConfigForm:
    """The controls of every key, made where it is built."""

    def __init__(self) -> None:
        self.keys: list[tuple[str, str]] = []
        self.inputs: list[Component] = []
        for section, stage in RunConfig.model_fields.items():
            model: Any = stage.annotation
            about = (model.__doc__ or "").split("\n")[0]
            with (
                gr.Accordion(f"{section}: {about}", open=False, elem_id=f"stage-{section}"),
                gr.Row(elem_classes="di-form"),
            ):
                for key, field in model.model_fields.items():
                    self.keys.append((section, key))
                    self.inputs.append(control(section, key, field))

    @property
    def changes(self) -> list[Any]:
        """The events at which a person has set a control: at once, or when a text field is left."""
        out = []
        for made in self.inputs:
            typed = isinstance(made, gr.Number | gr.Textbox)
            out += [made.blur, made.submit] if typed else [made.input]  # type: ignore[attr-defined]
        return out

    def show(
        self, values: Mapping[str, Mapping[str, Any]], closed: Collection[str] = ()
    ) -> Updates:
        """What each control shows of a configuration as a nested dict.

        ``closed`` are sections, or single keys as "data.path", that cannot be changed.
        """
        return {
            made: gr.update(
                value=_written(values[section][key]),
                interactive=section not in closed and f"{section}.{key}" not in closed,
            )
            for made, (section, key) in zip(self.inputs, self.keys, strict=True)
        }

    def read(
        self, values: Sequence[Any], over: Mapping[str, Mapping[str, Any]] | None = None
    ) -> RunConfig:
        """The configuration that the controls show, with overrides.

        :class:`DiffInfError` names the key that is wrong.
        """
        found: dict[str, dict[str, Any]] = {}
        for (section, key), value in zip(self.keys, values, strict=True):
            model: Any = RunConfig.model_fields[section].annotation
            kind, optional = _plain(model.model_fields[key].annotation)
            if _is_mapping(kind):
                value = _pairs(value or "", f"{section}.{key}")
            empty = value is None or value == "" or value == []
            found.setdefault(section, {})[key] = None if optional and empty else value
        for section, more in (over or {}).items():
            found[section] |= more
        return change(RunConfig(), found, "Settings")
