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
from diffinf_core.ui.review.knobs import KNOBS, RUN_DEFAULT, SHOWN, Controls, Usual
from diffinf_core.ui.review.presenter import Presenter
from diffinf_core.ui.review.state import PageState


@pytest.fixture(scope="module")
def edit(finished_run: Path) -> Edit:
    engine = open_run(finished_run)
    row = engine.queue.iloc[0]
    return engine.pictures.record(str(row["id"]), str(row["version"]))


def usual_of(name: str, covariates: bool = False, **over: Any) -> Usual:
    data = {"path": "faces", "labels": "labels.csv"} if name == "photographs" else {}
    return Usual(make_config(name, {"data": data, "repair": over}).repair, covariates)


def started(usual: Usual, name: str, shown: Edit | None) -> tuple[str, list[Any]]:
    """What is said, and the controls' values."""
    told, *values = Controls.start(usual, name, shown)
    return told, values


@pytest.mark.parametrize("source", ["demo", "photographs"])
def test_presets_start_from_the_run_and_stay_in_range(source: str, edit: Edit) -> None:
    usual = usual_of(source)
    keys = [k.key for k in KNOBS]
    assert usual.values(RUN_DEFAULT) == [float(getattr(usual.repair, key)) for key in keys]
    names = [name for name in usual.presets() if name != RUN_DEFAULT]
    assert len(names) == (5 if source == "demo" else 4)
    for name in names:
        values = usual.values(name)
        assert values != usual.values(RUN_DEFAULT)
        RepairConfig(**dict(zip(keys, values, strict=True)))
    shown = replace(edit, settings={**edit.settings, "guidance": 7.5, "t0": 300})
    values = dict(zip(keys, usual.values(SHOWN, shown), strict=True))
    assert values["guidance"] == 7.5 and values["t0"] == 300


@pytest.mark.parametrize("source", ["demo", "photographs"])
def test_the_run_is_asked_for_what_the_run_edits_with(source: str) -> None:
    usual = usual_of(source)
    asked = Controls.overrides(usual, started(usual, RUN_DEFAULT, None)[1])
    whole = usual.repair.model_dump(mode="json")
    assert set(asked) == usual.offered
    assert {**whole, **asked} == whole


@pytest.mark.parametrize(
    "source,changed",
    [
        ("demo", {"guide_from": "seen", "keep_colour": True, "w_id": 2.5}),
        ("photographs", {"decode_from": "inversion", "without_code": 0.5, "refine_t0": 0}),
    ],
)
def test_a_version_is_made_again_with_all_of_its_settings(
    source: str, changed: dict[str, Any], edit: Edit
) -> None:
    usual = usual_of(source)
    whole = usual.repair.model_dump(mode="json")
    made = {**whole, **changed, "batch_size": 3}
    told, values = started(usual, SHOWN, replace(edit, settings=made))
    asked = Controls.overrides(usual, values)
    assert {**whole, **asked} == {**whole, **changed}, "the batch size is not of a version"
    unseen = set(changed) - usual.offered
    assert all(key in told for key in unseen) and unseen
    assert not any(key in told for key in set(changed) & usual.offered)


def test_an_older_version_lacks_settings_and_is_one_of_the_run_there(edit: Edit) -> None:
    usual = usual_of("photographs")
    told, values = started(usual, SHOWN, replace(edit, settings={"guidance": 3.0}))
    whole = usual.repair.model_dump(mode="json")
    assert {**whole, **Controls.overrides(usual, values)} == {**whole, "guidance": 3.0}
    assert not told


def test_another_start_forgets_what_a_version_had(edit: Edit) -> None:
    usual = usual_of("demo")
    shown = replace(edit, settings={**usual.repair.model_dump(mode="json"), "guide_from": "seen"})
    assert "guide_from" in started(usual, SHOWN, shown)[0]
    told, values = started(usual, RUN_DEFAULT, shown)
    assert not told and "guide_from" not in Controls.overrides(usual, values)


def test_settings_beside_the_controls_that_are_no_settings_are_refused_or_left_out() -> None:
    usual = usual_of("demo")
    _, values = started(usual, RUN_DEFAULT, None)
    for broken in ("", "[]", "{"):
        with pytest.raises(DiffInfError, match="Start from"):
            Controls.overrides(usual, [broken, *values[1:]])
    foreign = '{"generator": "/etc/passwd", "w_id": 20, "nonsense": 1}'
    asked = Controls.overrides(usual, [foreign, *values[1:]])
    assert asked == Controls.overrides(usual, values)


def test_the_panel_follows_the_settings_of_the_run() -> None:
    """A run that was made while the page was open has its own controls, at its own settings."""
    session: Any = SimpleNamespace(
        usual=RepairConfig(),
        exists=True,
        run=SimpleNamespace(config=make_config("demo")),
        repair_settings=lambda: session.usual,
        follow=lambda: None,
    )
    page_state, request = PageState(), cast("Any", SimpleNamespace())
    with gr.Blocks():
        editor = Editor(session, Presenter(session))
    usual, controls = Usual(session.usual), editor.controls
    assert [slider.visible for slider in controls.sliders] == [k in usual.knobs for k in KNOBS]
    assert not controls.decode_from.visible
    assert editor.load(request, page_state)[0]["value"] == RUN_DEFAULT
    assert editor.load(request, page_state) == [gr.skip()] * len(editor.loaded)
    session.usual = usual_of("photographs").repair
    usual = Usual(session.usual)
    chosen, told, beside, source, *sliders = editor.load(request, page_state)
    assert chosen["choices"] == [*usual.presets(), SHOWN] and (told, beside) == ("", "{}")
    assert source["visible"] and source["value"] == "mean"
    assert [s["visible"] for s in sliders] == [k in usual.knobs for k in KNOBS]
    assert [s["value"] for s in sliders] == usual.values(RUN_DEFAULT)
    session.run.config = make_config(
        "photographs",
        {"data": {"path": "faces", "labels": "l.csv"}, "generator": {"covariates": ["sex"]}},
    )
    _, _, _, _, *sliders = editor.load(request, page_state)
    shown = {k.key for k, s in zip(KNOBS, sliders, strict=True) if s["visible"]}
    assert "covariate_guidance" in shown
    assert len(editor._set("change less", page_state)) == len(controls.started)


def test_only_settings_with_an_effect_are_offered() -> None:
    """A photograph's edit is made without the objective, so its weights would change nothing."""
    weights = {"w_id", "lambda_struct", "lambda_perc", "w_si"}
    demo, photographs = (usual_of(name).offered for name in ("demo", "photographs"))
    assert demo == weights | {"guidance", "t0", "steps"}
    of_a_region = {"mask_quantile", "decode_from", "refine_t0"}
    assert photographs == of_a_region | {"guidance", "t0", "steps"}
    assert usual_of("photographs", True).offered - photographs == {"covariate_guidance"}
    assert weights < usual_of("photographs", step_size=0.4).offered
    assert "less influence" not in usual_of("photographs").presets()
