"""The settings of a re-edit: sliders, what the region is decoded from, and what a version had beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from diffinf_core.config import RepairConfig
from diffinf_core.records import DiffInfError, Edit
from diffinf_core.ui.inputs import LenientDropdown, LenientSlider


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
#: settings of the machine or of the run, which a version is not made again with
_NOT_OF_A_VERSION = {"generator", "batch_size", "precision"}
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
class Usual:
    """The settings that a run edits with, and whether its generator was trained to keep columns."""

    repair: RepairConfig
    covariates: bool = False

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The sliders of settings that have an effect on edits by the run's method."""
        shown = {
            "mask_quantile": self.repair.masked,
            "refine_t0": self.decodes_anew,
            "covariate_guidance": self.covariates or self.repair.covariate_guidance > 0,
            **dict.fromkeys(_WEIGHTS, self.repair.weighted),
        }
        return tuple(knob for knob in KNOBS if shown.get(knob.key, True))

    @property
    def decodes_anew(self) -> bool:
        """Whether there is a region, which can be decoded from the inversion or the mean."""
        return self.repair.method == "inpaint"

    @property
    def offered(self) -> set[str]:
        """The settings that can be chosen."""
        keys = {knob.key for knob in self.knobs}
        return keys | {"decode_from"} if self.decodes_anew else keys

    def presets(self) -> list[str]:
        """The names of the presets that move one of these sliders, and of the run's own settings."""
        keys = {knob.key for knob in self.knobs}
        return [name for name, factors in _PRESETS.items() if not factors or keys & set(factors)]

    def values(self, name: str, shown: Edit | None = None) -> list[float]:
        """Values of all sliders under a preset, in their order, within their ranges."""
        factors = _PRESETS.get(name, {})
        out = []
        for knob in KNOBS:
            value = float(getattr(self.repair, knob.key))
            if name == SHOWN and shown is not None:
                value = float(shown.settings.get(knob.key, value))
            value = min(max(value * factors.get(knob.key, 1), knob.low), max(knob.high, value))
            out.append(float(round(value)) if knob.key in _WHOLE else round(value, 3))
        return out

    def decoded_from(self, name: str, shown: Edit | None = None) -> str:
        """What a preset decodes the region from."""
        usual = self.repair.decode_from
        return (
            str(shown.settings.get("decode_from", usual)) if name == SHOWN and shown else str(usual)
        )

    def beside(self, shown: Edit) -> dict[str, Any]:
        """The settings of a version that are not the run's and that no control shows."""
        usual = self.repair.model_dump(mode="json")
        hidden = set(usual) - self.offered - _NOT_OF_A_VERSION
        return {
            key: shown.settings[key]
            for key in usual
            if key in hidden and shown.settings.get(key, usual[key]) != usual[key]
        }


class Controls:
    """The widgets, :attr:`all` in the order in which :meth:`overrides` takes their values."""

    def __init__(self, usual: Usual) -> None:
        with gr.Row():
            self.preset = LenientDropdown(
                [*usual.presets(), SHOWN],
                value=RUN_DEFAULT,
                label="Start from",
                elem_id="reedit-preset",
                min_width=120,
            )
            self.decode_from = LenientDropdown(
                ["mean", "inversion"],
                value=usual.repair.decode_from,
                label="decode_from",
                visible=usual.decodes_anew,
                elem_id="reedit-decode-from",
                min_width=120,
            )
        self.beside = gr.Textbox("{}", visible="hidden", elem_id="reedit-beside")
        self.told = gr.HTML("", elem_id="reedit-told")
        self.sliders = []
        for knob, value in zip(KNOBS, usual.values(RUN_DEFAULT), strict=True):
            low, high = min(knob.low, value), max(knob.high, value)
            self.sliders.append(
                LenientSlider(
                    low,
                    high,
                    value,
                    step=knob.step,
                    label=knob.name,
                    visible=knob in usual.knobs,
                    elem_id=f"knob-{knob.key}",
                )
            )

    @property
    def all(self) -> list[Any]:
        """What an edit is asked for with."""
        return [self.beside, self.decode_from, *self.sliders]

    @property
    def filled(self) -> list[Any]:
        """What :meth:`loaded` fills."""
        return [self.preset, self.told, *self.all]

    @property
    def started(self) -> list[Any]:
        """What :meth:`start` fills."""
        return [self.told, *self.all]

    def loaded(self, usual: Usual) -> list[Any]:
        """The controls with an effect under a run's settings, set to these."""
        sliders = [
            gr.update(
                visible=knob in usual.knobs,
                value=value,
                minimum=min(knob.low, value),
                maximum=max(knob.high, value),
            )
            for knob, value in zip(KNOBS, usual.values(RUN_DEFAULT), strict=True)
        ]
        source = gr.update(visible=usual.decodes_anew, value=usual.repair.decode_from)
        chosen = gr.update(choices=[*usual.presets(), SHOWN], value=RUN_DEFAULT)
        return [chosen, "", "{}", source, *sliders]

    @staticmethod
    def start(usual: Usual, name: str, shown: Edit | None) -> list[Any]:
        """Where a preset, or a version, starts."""
        beside = usual.beside(shown) if name == SHOWN and shown is not None else {}
        listed = ", ".join(f"{key} {value}" for key, value in beside.items())
        told = f'<p class="di-hint">As displayed, too: {escape(listed)}.</p>' if beside else ""
        return [
            told,
            json.dumps(beside),
            usual.decoded_from(name, shown),
            *usual.values(name, shown),
        ]

    @staticmethod
    def overrides(usual: Usual, values: Sequence[Any]) -> dict[str, Any]:
        """The settings that the controls show, of those that have an effect.

        Raises :class:`DiffInfError` for a slider without a number.
        """
        beside, source, *sliders = values
        hidden = set(RepairConfig.model_fields) - usual.offered - _NOT_OF_A_VERSION
        out = {key: value for key, value in _read(beside).items() if key in hidden}
        if usual.decodes_anew:
            out["decode_from"] = source
        for knob, value in zip(KNOBS, sliders, strict=True):
            if knob not in usual.knobs:
                continue
            if value is None:
                raise DiffInfError(f"{knob.key} is empty; give a number.")
            out[knob.key] = int(value) if knob.key in _WHOLE else value
        return out


def _read(beside: str) -> dict[str, Any]:
    """The settings beside the controls, as the browser sends them back."""
    try:
        found = json.loads(beside)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise DiffInfError(
            "the settings beside the sliders cannot be read; choose Start from again."
        )
    return found
