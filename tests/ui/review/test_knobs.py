"""The settings of a re-edit: which are offered, where they start, and what a version had beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr
import pytest

from diffinf_core.config import RepairConfig, make_config
from diffinf_core.engine import open_run
from diffinf_core.records import DiffInfError, Edit
from diffinf_core.ui.review.edit import Editor
from diffinf_core.ui.review.knobs import KNOBS, RUN_DEFAULT, SHOWN, Controls, RunDefaults
from diffinf_core.ui.review.presenter import Presenter
from diffinf_core.ui.review.state import PageState
from diffinf_core.ui.settings_text import differs


@pytest.fixture(scope="module")
def edit(finished_run: Path) -> Edit:
    engine = open_run(finished_run)
    row = engine.queue.iloc[0]
    return engine.pictures.record(str(row["id"]), str(row["version"]))


def defaults_of(preset: str, covariates: bool = False, **over: Any) -> RunDefaults:
    data = {"path": "faces", "labels": "labels.csv"} if preset == "photographs" else {}
    return RunDefaults(make_config(preset, {"data": data, "repair": over}).repair, covariates)


def whole(defaults: RunDefaults) -> dict[str, Any]:
    return defaults.repair.model_dump(mode="json")


def started(
    defaults: RunDefaults, preset: str, version: Edit | None = None
) -> tuple[str, list[Any]]:
    """The note, and what the controls then send."""
    _, note, uncontrolled, source, *sliders = Controls.start(defaults, preset, version, "version 2")
    return note, [uncontrolled, source, *(slider["value"] for slider in sliders)]


def again(defaults: RunDefaults, version: Edit) -> dict[str, Any]:
    """The settings that a version is edited again with."""
    asked = Controls.overrides(defaults, started(defaults, SHOWN, version)[1])
    return RepairConfig(**{**whole(defaults), **asked}).model_dump(mode="json")


@pytest.mark.parametrize("source", ["demo", "photographs"])
def test_presets_start_from_the_run_and_stay_in_range(source: str) -> None:
    defaults = defaults_of(source)
    assert defaults.settings() == whole(defaults)
    names = [name for name in defaults.presets() if name != RUN_DEFAULT]
    assert len(names) == (5 if source == "demo" else 4)
    knobs = {knob.key: knob for knob in KNOBS}
    for name in names:
        settings = defaults.settings(name)
        apart = {key for key in settings if settings[key] != defaults.settings()[key]}
        assert apart and apart <= set(knobs)
        assert all(knobs[key].low <= settings[key] <= knobs[key].high for key in apart)
        RepairConfig(**settings)


@pytest.mark.parametrize("over", [{}, {"t0": 60, "steps": 1, "guidance": 1.2345, "w_si": 8.0}])
@pytest.mark.parametrize("source", ["demo", "photographs"])
def test_the_run_is_asked_for_what_the_run_edits_with(source: str, over: dict[str, Any]) -> None:
    defaults = defaults_of(source, **over)
    asked = Controls.overrides(defaults, started(defaults, RUN_DEFAULT)[1])
    assert set(asked) == defaults.controlled
    assert {**whole(defaults), **asked} == whole(defaults)


@pytest.mark.parametrize(
    "source,changed",
    [
        ("demo", {"guide_from": "seen", "keep_colour": True, "w_id": 2.5}),
        ("demo", {"precision": "float32", "seed": 3, "t0": 60, "steps": 1, "w_si": 6.0}),
        ("photographs", {"decode_from": "inversion", "without_code": 0.5, "refine_t0": 0}),
        ("photographs", {"method": "guided", "transfer": "masked", "guidance": 12.0}),
    ],
)
def test_a_version_is_edited_again_with_all_of_its_settings(
    source: str, changed: dict[str, Any], edit: Edit
) -> None:
    defaults = defaults_of(source)
    others = {"batch_size": 3, "generator": "other.safetensors", "tries": "all"}
    version = replace(edit, settings={**whole(defaults), **changed, **others})
    assert again(defaults, version) == {**whole(defaults), **changed}


def test_the_note_names_what_has_no_control_and_where_it_is_from(edit: Edit) -> None:
    defaults = defaults_of("demo")
    changed = {"guide_from": "seen", "keep_colour": True, "w_id": 2.5, "tries": "all"}
    version = replace(edit, settings={**whole(defaults), **changed})
    note, _ = started(defaults, SHOWN, version)
    assert "Also taken from version 2: guide_from seen, keep_colour True." in note
    assert not started(defaults, SHOWN, replace(edit, settings=whole(defaults)))[0]


def test_what_came_after_a_version_was_made_has_its_default(edit: Edit) -> None:
    """It was decoded from the inversion before there was another way."""
    defaults = defaults_of("photographs")
    older = {k: v for k, v in whole(defaults).items() if k not in ("decode_from", "refine_t0")}
    version = replace(edit, settings=older)
    assert again(defaults, version) == {**whole(defaults), "decode_from": "inversion"}
    assert "decode_from inversion" in differs(version, whole(defaults))


def test_a_version_keeps_its_settings_when_those_of_the_run_change(edit: Edit) -> None:
    before, after = defaults_of("demo"), defaults_of("demo", keep_colour=True)
    version = replace(edit, settings=whole(before))
    asked = Controls.overrides(after, started(before, SHOWN, version)[1])
    assert {**whole(after), **asked} == whole(before)


def test_where_no_version_is_displayed_the_run_s_settings_are_shown_and_named() -> None:
    defaults = defaults_of("demo")
    preset, note, uncontrolled, *_ = Controls.start(defaults, SHOWN)
    assert preset == RUN_DEFAULT and "No version is displayed" in note and uncontrolled == "{}"
    asked = Controls.overrides(defaults, started(defaults, SHOWN)[1])
    assert {**whole(defaults), **asked} == whole(defaults)


def test_another_start_forgets_what_a_version_had(edit: Edit) -> None:
    defaults = defaults_of("demo")
    version = replace(edit, settings={**whole(defaults), "guide_from": "seen"})
    assert again(defaults, version)["guide_from"] == "seen"
    note, values = started(defaults, RUN_DEFAULT, version)
    assert not note and "guide_from" not in Controls.overrides(defaults, values)


def test_settings_without_a_control_that_are_none_are_refused_or_left_out() -> None:
    defaults = defaults_of("demo")
    _, values = started(defaults, RUN_DEFAULT)
    for broken in ("", "[]", "{"):
        with pytest.raises(DiffInfError, match="Start from"):
            Controls.overrides(defaults, [broken, *values[1:]])
    foreign = '{"generator": "/etc/passwd", "w_id": 20, "nonsense": 1}'
    asked = Controls.overrides(defaults, [foreign, *values[1:]])
    assert asked == Controls.overrides(defaults, values)


def test_the_panel_follows_the_settings_of_the_run() -> None:
    """A run that was made while the page was open has its own controls, at its own settings."""
    generator = SimpleNamespace(keeps_covariates=False)
    session: Any = SimpleNamespace(
        repair=RepairConfig(),
        exists=True,
        run=SimpleNamespace(repair=generator),
        repair_settings=lambda: session.repair,
        follow=lambda: None,
    )
    page_state, request = PageState(), cast("Any", SimpleNamespace())
    with gr.Blocks():
        editor = Editor(session, Presenter(session))
    defaults, controls = RunDefaults(session.repair), editor.controls
    assert [slider.visible for slider in controls.sliders] == [k in defaults.knobs for k in KNOBS]
    assert not controls.decode_from.visible
    assert editor.load(request, page_state)[0]["value"] == RUN_DEFAULT
    assert editor.load(request, page_state) == [gr.skip()] * len(editor.loaded)
    session.repair = defaults_of("photographs").repair
    defaults = RunDefaults(session.repair)
    chosen, note, uncontrolled, source, *sliders = editor.load(request, page_state)
    assert chosen["choices"] == [*defaults.presets(), SHOWN] and (note, uncontrolled) == ("", "{}")
    assert source["visible"] and source["value"] == "mean"
    assert [s["visible"] for s in sliders] == [k in defaults.knobs for k in KNOBS]
    assert [s["value"] for s in sliders] == [defaults.settings()[k.key] for k in KNOBS]
    generator.keeps_covariates = True
    _, _, _, _, *sliders = editor.load(request, page_state)
    shown = {k.key for k, s in zip(KNOBS, sliders, strict=True) if s["visible"]}
    assert "covariate_guidance" in shown


def test_only_settings_with_an_effect_are_offered() -> None:
    """A photograph's edit is made without the objective, so its weights would change nothing."""
    weights = {"w_id", "lambda_struct", "lambda_perc", "w_si"}
    demo, photographs = (defaults_of(name).controlled for name in ("demo", "photographs"))
    assert demo == weights | {"guidance", "t0", "steps"}
    of_a_region = {"mask_quantile", "decode_from", "refine_t0"}
    assert photographs == of_a_region | {"guidance", "t0", "steps"}
    assert defaults_of("photographs", True).controlled - photographs == {"covariate_guidance"}
    assert weights < defaults_of("photographs", step_size=0.4).controlled
    assert "less influence" not in defaults_of("photographs").presets()
