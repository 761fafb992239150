"""The settings of a re-edit: those with a control, and those that a version has besides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from diffinf_core.config import RepairConfig
from diffinf_core.engine import NOT_OF_A_VERSION
from diffinf_core.records import DiffInfError, Edit
from diffinf_core.ui.inputs import LenientDropdown, LenientSlider
from diffinf_core.ui.settings_text import setting, settings_apart, settings_of


@dataclass(frozen=True)
class Knob:
    """A setting of the repair as a slider."""

    key: str
    name: str
    low: float
    high: float
    step: float


KNOBS = (
    Knob("w_id", "w_id: same person", 0, 10, 0.1),
    Knob("lambda_struct", "lambda_struct: same layout", 0, 5, 0.1),
    Knob("lambda_perc", "lambda_perc: same look", 0, 5, 0.1),
    Knob("w_si", "w_si: less influential", 0, 5, 0.1),
    Knob("guidance", "guidance: towards the label", 0, 12, 0.1),
    Knob("covariate_guidance", "covariate_guidance: what stays", 0, 6, 0.1),
    Knob("mask_quantile", "mask_quantile: left as it is", 0, 0.95, 0.01),
    Knob("refine_t0", "refine_t0: detail of what is drawn", 0, 400, 25),
    Knob("t0", "t0: noise level", 100, 950, 50),
    Knob("steps", "steps: finer, slower", 2, 50, 1),
)
_WHOLE = {"t0", "steps", "refine_t0"}
#: sliders of the objective
_WEIGHTS = {"w_id", "lambda_struct", "lambda_perc", "w_si"}
RUN_DEFAULT = "run default"
SHOWN = "displayed version"
#: factors on the run's own settings
_PRESETS: dict[str, dict[str, float]] = {
    RUN_DEFAULT: {},
    "keep more of the person": {"w_id": 2, "guidance": 0.8, "t0": 0.75, "mask_quantile": 1.2},
    "reach the label": {"guidance": 1.5, "t0": 1.25, "mask_quantile": 0.8},
    "change less": {"lambda_perc": 2, "guidance": 0.8, "t0": 0.6, "mask_quantile": 1.4},
    "less influence": {"w_si": 3},
    "finer steps": {"steps": 2},
}


@dataclass(frozen=True)
class RunDefaults:
    """The settings that a run edits with, and whether its generator was trained to keep covariates."""

    repair: RepairConfig
    covariates: bool = False

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The sliders of settings that have an effect on edits by the run's method."""
        shown = {
            "mask_quantile": self.repair.masked,
            "refine_t0": self.inpaints,
            "covariate_guidance": self.covariates,
            **dict.fromkeys(_WEIGHTS, self.repair.weighted),
        }
        return tuple(knob for knob in KNOBS if shown.get(knob.key, True))

    @property
    def inpaints(self) -> bool:
        """Whether a region is drawn anew, from the inversion or the mean."""
        return self.repair.method == "inpaint"

    @property
    def controlled(self) -> set[str]:
        """The settings that have a control."""
        keys = {knob.key for knob in self.knobs}
        return keys | {"decode_from"} if self.inpaints else keys

    @property
    def uncontrolled(self) -> set[str]:
        """The other settings of a version."""
        return set(RepairConfig.model_fields) - self.controlled - NOT_OF_A_VERSION

    def presets(self) -> list[str]:
        """The names of the presets that move one of these sliders, and of the run's own settings."""
        keys = {knob.key for knob in self.knobs}
        return [name for name, factors in _PRESETS.items() if not factors or keys & set(factors)]

    def settings(self, preset: str = RUN_DEFAULT) -> dict[str, Any]:
        """All settings under a preset, which stays within the sliders' ranges."""
        out = self.repair.model_dump(mode="json")
        for knob in KNOBS:
            if factor := _PRESETS.get(preset, {}).get(knob.key):
                value = min(max(out[knob.key] * factor, knob.low), max(knob.high, out[knob.key]))
                out[knob.key] = round(value) if knob.key in _WHOLE else round(value, 3)
        return out


class Controls:
    """The widgets, :attr:`all` in the order in which :meth:`overrides` takes their values."""

    def __init__(self, defaults: RunDefaults) -> None:
        with gr.Row():
            self.preset = LenientDropdown(
                [*defaults.presets(), SHOWN],
                value=RUN_DEFAULT,
                label="Start from",
                elem_id="reedit-preset",
                min_width=120,
            )
            self.decode_from = LenientDropdown(
                ["mean", "inversion"],
                value=defaults.repair.decode_from,
                label="decode_from",
                visible=defaults.inpaints,
                elem_id="reedit-decode-from",
                min_width=120,
            )
        #: the settings of a version that have no control, as JSON; the browser keeps it
        self.uncontrolled = gr.Textbox("{}", visible="hidden", elem_id="reedit-uncontrolled")
        self.note = gr.HTML("", elem_id="reedit-note")
        self.sliders = [
            LenientSlider(
                **_track(knob, getattr(defaults.repair, knob.key)),
                step=knob.step,
                label=knob.name,
                visible=knob in defaults.knobs,
                elem_id=f"knob-{knob.key}",
            )
            for knob in KNOBS
        ]

    @property
    def all(self) -> list[Any]:
        """What an edit is asked for with."""
        return [self.uncontrolled, self.decode_from, *self.sliders]

    @property
    def filled(self) -> list[Any]:
        """What :meth:`loaded` and :meth:`start` fill."""
        return [self.preset, self.note, *self.all]

    def loaded(self, defaults: RunDefaults) -> list[Any]:
        """The controls with an effect under a run's settings, set to these."""
        _, note, uncontrolled, _, *sliders = self.start(defaults, RUN_DEFAULT)
        source = gr.update(visible=defaults.inpaints, value=defaults.repair.decode_from)
        chosen = gr.update(choices=[*defaults.presets(), SHOWN], value=RUN_DEFAULT)
        for knob, slider in zip(KNOBS, sliders, strict=True):
            slider["visible"] = knob in defaults.knobs
        return [chosen, note, uncontrolled, source, *sliders]

    @staticmethod
    def start(
        defaults: RunDefaults, preset: str, version: Edit | None = None, name: str = ""
    ) -> list[Any]:
        """Where a preset starts; with :data:`SHOWN` it is a ``version``, which the note calls ``name``.

        Where that is None, the run's settings, with a note that says so.
        """
        uncontrolled, note = {}, ""
        settings = usual = defaults.settings(preset)
        if preset == SHOWN and version is None:
            preset = RUN_DEFAULT
            note = _note("No version is displayed; these are the run's settings.")
        elif preset == SHOWN and version is not None:
            settings = settings_of(version)
            uncontrolled = {key: settings[key] for key in sorted(defaults.uncontrolled)}
            apart = [key for key in settings_apart(usual, settings) if key in uncontrolled]
            listed = ", ".join(f"{key} {setting(settings[key])}" for key in apart)
            note = _note(f"Also taken from {name}: {listed}.") if apart else ""
        sliders = [gr.update(**_track(knob, settings[knob.key])) for knob in KNOBS]
        return [preset, note, json.dumps(uncontrolled), settings["decode_from"], *sliders]

    @staticmethod
    def overrides(defaults: RunDefaults, values: Sequence[Any]) -> dict[str, Any]:
        """The settings of an edit that is asked for, of those that have an effect.

        Raises :class:`DiffInfError` for a slider without a number.
        """
        uncontrolled, source, *sliders = values
        allowed = defaults.uncontrolled
        out = {key: value for key, value in _read(uncontrolled).items() if key in allowed}
        if defaults.inpaints:
            out["decode_from"] = source
        for knob, value in zip(KNOBS, sliders, strict=True):
            if knob not in defaults.knobs:
                continue
            if value is None:
                raise DiffInfError(f"{knob.key} is empty; give a number.")
            out[knob.key] = int(value) if knob.key in _WHOLE else value
        return out


def _track(knob: Knob, value: float) -> dict[str, Any]:
    """A slider at a value, which its ends include."""
    return {
        "minimum": min(knob.low, value),
        "maximum": max(knob.high, value),
        "value": float(value),
    }


def _note(text: str) -> str:
    return f'<p class="di-hint">{escape(text)}</p>'


def _read(uncontrolled: str) -> dict[str, Any]:
    """The settings without a control, as the browser sends them back."""
    try:
        found = json.loads(uncontrolled)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DiffInfError(
            "the settings of the version cannot be read; choose an entry of Start from again."
        )
    return found
