"""The Run page: a form made from the models, a new run from nothing, and both in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import gradio as gr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diffinf_core.config import PRESETS, RunConfig, change, make_config, to_yaml
from diffinf_core.engine import open_run
from diffinf_core.records import DiffInfError
from diffinf_core.runs.run import Run
from diffinf_core.ui.inputs import NumberField
from diffinf_core.ui.run import markup as run_markup
from diffinf_core.ui.run.form import FIXED, ConfigForm
from diffinf_core.ui.run.new import presets_of, where
from diffinf_core.ui.run.page import RunPage
from diffinf_core.ui.session import Session
from tests.ui.browser import (
    NO_TOUR,
    SHOTS,
    Server,
    eventually,
    open_page,
    settled,
    ticked,
    type_in,
)


@pytest.fixture(scope="module")
def form() -> ConfigForm:
    with gr.Blocks():
        return ConfigForm()


def shown(form: ConfigForm, config: RunConfig) -> list[Any]:
    """What the browser would send back: every control's value, through its own reading."""
    updates = form.show(config.model_dump(mode="json"))
    return [
        c.preprocess(c.postprocess(u["value"])) if isinstance(c, gr.Number) else u["value"]
        for c, u in updates.items()
    ]


def keyed(form: ConfigForm, values: list[Any], key: str, value: Any) -> list[Any]:
    at = form.keys.index(tuple(key.split(".")))  # type: ignore[arg-type]
    return [*values[:at], value, *values[at + 1 :]]


# ------------------------------------------------------------------ the form


def test_every_key_has_one_control_of_its_kind(form: ConfigForm) -> None:
    keys = [
        (section, key)
        for section, stage in RunConfig.model_fields.items()
        for key in stage.annotation.model_fields  # type: ignore[union-attr]
    ]
    assert form.keys == keys and len(form.inputs) == len(keys)
    for (section, key), made in zip(form.keys, form.inputs, strict=True):
        field = RunConfig.model_fields[section].annotation.model_fields[key]  # type: ignore[union-attr]
        assert made.label == key and str(field.description) in str(made.info)
        if get_origin(field.annotation) is Literal:
            assert [v for _, v in made.choices] == list(get_args(field.annotation))
        elif field.annotation is bool:
            assert isinstance(made, gr.Checkbox)
        elif field.annotation in (int, float):
            assert isinstance(made, NumberField)


def test_bounds_reach_the_control_and_its_words(form: ConfigForm) -> None:
    made = dict(zip(form.keys, form.inputs, strict=True))
    weight = made["repair", "w_id"]
    assert (weight.minimum, weight.maximum, weight.step) == (0, 20, 0.1)
    assert "(0 to 20)" in weight.info
    assert "(1 to 100000)" in made["classifier", "epochs"].info
    assert made["classifier", "epochs"].step == 1
    assert "above 0" in made["influence", "tau"].info
    assert "4.29" not in made["split", "seed"].info
    assert "empty: left open" in made["influence", "batch_size"].info
    assert made["retrain", "arms"].multiselect


@pytest.mark.parametrize("preset", PRESETS)
def test_what_the_form_shows_reads_back_the_same(form: ConfigForm, preset: str) -> None:
    over = {} if preset.startswith("demo") else {"data": {"path": "/pictures"}}
    config = make_config(preset, over)
    assert form.read(shown(form, config)) == config


@settings(max_examples=40)
@given(
    st.floats(0, 20),
    st.integers(1, 500),
    st.sampled_from(["mean_loss", "aum+el2n"]),
    st.none() | st.integers(1, 64),
    st.lists(st.sampled_from(["noisy", "removal", "clean"]), min_size=1, unique=True),
)
def test_any_valid_configuration_reads_back_the_same(
    form: ConfigForm, weight: float, epochs: int, by: str, batch: int | None, arms: list[str]
) -> None:
    config = change(
        RunConfig(),
        {
            "repair": {"w_id": weight},
            "classifier": {"epochs": epochs, "checkpoints": 1},
            "influence": {"estimator": by, "batch_size": batch},
            "retrain": {"arms": arms},
        },
    )
    assert form.read(shown(form, config)) == config


@pytest.mark.parametrize(
    "key,value,said",
    [
        ("repair.w_id", 30, "repair.w_id.*20.*30"),
        ("classifier.epochs", 2.5, "classifier.epochs"),
        ("classifier.epochs", None, "classifier.epochs"),
        ("influence.tau", 0, "influence.tau"),
        ("influence.estimator", "magic", "unknown estimator 'magic'"),
        ("retrain.arms", ["noisy", "rest"], "unknown arm 'rest'"),
        ("classifier.checkpoints", 999, "checkpoints 999 cannot exceed"),
    ],
)
def test_a_wrong_value_is_a_sentence_that_names_its_key(
    form: ConfigForm, key: str, value: Any, said: str
) -> None:
    values = keyed(form, shown(form, RunConfig()), key, value)
    with pytest.raises(DiffInfError, match=said):
        form.read(values)


def test_a_mapping_is_written_as_pairs(form: ConfigForm) -> None:
    config = make_config("demo", {"judge": {"classes": {"grin": "happy", "junior": "0-19"}}})
    shown = form.show(config.model_dump(mode="json"))
    values = [update["value"] for update in shown.values()]
    at = form.keys.index(("judge", "classes"))
    assert values[at] == "grin=happy, junior=0-19"
    assert form.read(values) == config
    values[at] = " grin = happy ,"
    assert form.read(values).judge.classes == {"grin": "happy"}
    values[at] = "grin"
    with pytest.raises(DiffInfError, match="write pairs as a=b, c=d; 'grin' has no"):
        form.read(values)


def test_a_number_comes_as_it_was_typed() -> None:
    field = NumberField(minimum=0, maximum=20)
    assert field.preprocess(30) == 30  # the model's sentence names the key, Gradio's would not
    assert field.preprocess(3.0) == 3 and isinstance(field.preprocess(3.0), int)
    assert field.preprocess(0.25) == 0.25 and field.preprocess(None) is None
    assert field.get_block_name() == "number"


def test_what_belongs_to_the_run_folder_is_closed(form: ConfigForm) -> None:
    updates = form.show(RunConfig().model_dump(mode="json"), FIXED)
    open_ = {k for k, u in zip(form.keys, updates.values(), strict=True) if u["interactive"]}
    assert not {s for s, _ in open_} & set(FIXED) and ("repair", "w_id") in open_
    one = form.show(RunConfig().model_dump(mode="json"), ["data.path"])
    assert [k for k, u in zip(form.keys, one.values(), strict=True) if not u["interactive"]] == [
        ("data", "path")
    ]


# ------------------------------------------------------------------ no run yet


def test_a_session_can_be_without_a_run(tmp_path: Path, tiny_config: RunConfig) -> None:
    session = Session(tmp_path / "new")
    assert not session.exists and not session.ready()
    with pytest.raises(DiffInfError, match="No run yet: "):
        _ = session.run
    assert not (tmp_path / "new").exists()
    session.configure(tiny_config)
    assert session.exists and session.run.config == tiny_config
    assert Session(tmp_path / "new").exists


def test_a_folder_with_something_else_is_no_place_for_a_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DiffInfError, match="not a run folder"):
        Session(tmp_path)


def test_a_bad_folder_makes_no_run(tmp_path: Path) -> None:
    session = Session(tmp_path / "new")
    config = make_config("demo", {"data": {"source": "folder", "path": str(tmp_path / "gone")}})
    with pytest.raises(DiffInfError, match="gone does not exist"):
        session.configure(config)
    assert not session.exists and not (tmp_path / "new").exists()


def test_a_second_window_does_not_make_the_run_again(tmp_path: Path) -> None:
    session = Session(tmp_path / "new")
    with gr.Blocks(), gr.Tab("Run") as tab:
        page = RunPage(session, tab)
    before = page.load()
    seen = before[page.seen]
    values = [before[c]["value"] for c in page.settings.form.inputs]
    assert "Made" in page._make("demo", "", "", *values)[page.message]
    session.set_tau(23)
    refused = page._make("demo", "", "", *values)
    assert "There is a run in" in refused[page.message] and session.stored().influence.tau == 23
    assert not refused[page.new.panel]["visible"] and refused[page.existing]["visible"]
    drawn = page._tick(seen)
    assert not drawn[page.new.panel]["visible"] and drawn[page.settings.buttons]["visible"]
    assert page.settings.stale in drawn, "the form shows what is stored"
    assert page.new.panel not in page._tick(drawn[page.seen])
    assert page.settings.stale not in page._tick(refused[page.seen])


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_can_be_filled_in_on_any_run(finished_run: Path, preset: str) -> None:
    with gr.Blocks(), gr.Tab("Run") as tab:
        page = RunPage(Session(finished_run), tab).settings
    filled = page._take_preset(preset)
    assert f"Filled in {preset}" in filled[page.message]
    shown = dict(zip(page.form.keys, page.form.inputs, strict=True))
    kept, wished = page.session.run.config, make_config(preset, {"data": {"path": "x"}})
    assert filled[shown["data", "path"]]["value"] == kept.data.path
    assert filled[shown["repair", "method"]]["value"] == wished.repair.method


def test_a_preset_that_cannot_be_filled_in_is_a_sentence(finished_run: Path) -> None:
    with gr.Blocks(), gr.Tab("Run") as tab:
        page = RunPage(Session(finished_run), tab).settings
    assert "Unknown preset" in page._take_preset("gone")[page.message]


def test_presets_fit_the_pictures_and_a_path_is_whole() -> None:
    assert [n for _, n in presets_of("demo")] == ["demo", "demo-age"]
    of_folder = ["demo", "paper-age", "paper-expression", "photographs"]
    assert [n for _, n in presets_of("folder")] == of_folder
    assert where("demo", "/x") == {"data": {"source": "demo", "path": None}}
    assert where("folder", " ~/x ")["data"]["path"] == str(Path.home() / "x")


def test_names_of_data_are_not_markup() -> None:
    bad = "<img src=x onerror=alert(1)>"
    found = {
        "name": bad, "size": 64, "noise": 0.25, "unlabelled": 3, "round": 2,
        "classes": [{"name": bad, "train": 1, "val": 1, "test": 1}], "sheet": {bad: ["s"]},
    }  # fmt: skip
    text = run_markup.glance(found, lambda sample: f'/di/"{sample}')
    assert text.count("<img") == 1 and "25.0%" in text and "Round 2." in text
    assert 'src="/di/&quot;s"' in text
    assert "not known" in run_markup.glance({**found, "noise": None}, str)


# ------------------------------------------------------------------ in a browser


def settings_of(page: Any) -> None:
    page.get_by_role("tab", name="Run", exact=True).click()
    page.get_by_role("button", name="Settings").click()
    page.wait_for_selector("#stage-repair")


@pytest.mark.browser
def test_the_form_and_the_yaml_follow_each_other_and_save(chromium: Any, server: Server) -> None:
    page = open_page(chromium, server)
    page.set_viewport_size({"width": 1440, "height": 4000})  # the editor draws what can be seen
    settings_of(page)
    page.locator("#stage-retrain > button").click()
    type_in(page, "#set-retrain-seeds input", "0")
    page.wait_for_selector("#form-message :text('retrain.seeds')")
    page.click("#form-save")
    settled(page)
    assert open_run(server.run).config.retrain.seeds == 1
    type_in(page, "#set-retrain-seeds input", "2")
    page.wait_for_function(
        "document.querySelector('#form-message')?.textContent.includes('seeds') === false"
    )
    page.get_by_role("tab", name="Expert (YAML)").click()
    page.locator("#run-config .cm-line", has_text="seeds: 2").wait_for()

    page.click("#run-config .cm-content")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(
        to_yaml(change(open_run(server.run).config, {"retrain": {"seeds": 4}}))
    )
    page.get_by_role("tab", name="Form").click()
    page.wait_for_function("document.querySelector('#set-retrain-seeds input')?.value === '4'")
    page.click("#form-save")
    page.wait_for_selector("#form-message :text('Saved')")
    assert open_run(server.run).config.retrain.seeds == 4
    # what the command line stores under an open app is shown, kept and used
    Run.prepare(server.run, change(open_run(server.run).config, {"retrain": {"epochs": 7}})).store()
    page.reload()
    page.wait_for_selector("#review-pair img", timeout=60_000)
    settings_of(page)
    page.locator("#stage-retrain > button").click()
    page.wait_for_function("document.querySelector('#set-retrain-epochs input')?.value === '7'")
    type_in(page, "#set-retrain-seeds input", "3")
    page.get_by_role("tab", name="Expert (YAML)").click()
    page.locator("#run-config .cm-line", has_text="seeds: 3").wait_for()
    page.get_by_role("tab", name="Form").click()
    page.click("#form-save")
    page.wait_for_selector("#form-message :text('Saved')")
    stored = open_run(server.run).config.retrain
    assert (stored.seeds, stored.epochs) == (3, 7)
    page.locator("#stage-data > button").click()
    page.wait_for_selector("#set-data-demo_faces input:disabled")
    page.close()


@pytest.mark.browser
def test_a_preset_fills_the_form_but_not_the_data(chromium: Any, server: Server) -> None:
    page = open_page(chromium, server)
    settings_of(page)
    page.click("#form-preset input")
    page.get_by_role("option", name="paper-age").click()
    page.wait_for_selector("#form-message :text('Filled in paper-age')")
    page.locator("#stage-classifier > button").click()
    page.wait_for_function(
        "document.querySelector('#set-classifier-epochs input')?.value === '100'"
    )
    page.locator("#stage-data > button").click()
    assert page.input_value("#set-data-source input") == "demo"
    page.click("#form-undo")
    page.wait_for_function("document.querySelector('#set-classifier-epochs input')?.value === '3'")
    page.close()


@pytest.mark.browser
def test_the_data_set_at_a_glance(chromium: Any, server: Server) -> None:
    page = open_page(chromium, server)
    page.get_by_role("tab", name="Run", exact=True).click()
    page.wait_for_selector("#run-data .di-figures")
    assert "Rendered faces, 64 x 64 pixels" in page.inner_text("#run-data")
    page.wait_for_function(
        "[...document.querySelectorAll('#run-data img')].every(i => i.complete && i.naturalWidth > 0)"
    )
    assert page.locator("#run-data img").count() == 24
    page.close()


@pytest.mark.browser
def test_a_new_run_from_a_folder(chromium: Any, tmp_path: Path) -> None:
    SHOTS.mkdir(exist_ok=True)
    data, root = tmp_path / "data", tmp_path / "runs" / "mine"
    data.mkdir()
    draw = np.random.default_rng(0)
    lines = ["file,label"]
    for i in range(60):
        name = f"{i:02d}.png"
        Image.fromarray(draw.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(data / name)
        lines.append(f"{name},{'ab'[i % 2]}")
    table = data / "labels.csv"
    table.write_text("\n".join([*lines, "ghost.png,a", ""]))
    with Server(root) as server:
        page = chromium.new_page(viewport={"width": 1024, "height": 950}, color_scheme="dark")
        page.add_init_script(NO_TOUR)
        page.on("pageerror", lambda error: pytest.fail(f"page error: {error}"))
        page.goto(server.address + "?__theme=dark")
        page.wait_for_selector("#new-create", timeout=60_000)
        settled(page)
        ticked(page, "run-stages")  # nor does what the page asks by itself make a run
        assert not page.locator("#run-start").is_visible() and not root.exists()
        for name in ("Review", "Explore", "Compare", "Export"):
            page.get_by_role("tab", name=name, exact=True).click()
            page.locator(".di-notice:visible").first.wait_for()
        page.get_by_role("tab", name="Run", exact=True).click()
        page.get_by_label("a folder of pictures").click()
        page.wait_for_selector("#new-path textarea, #new-path input")
        page.click("#new-create")
        page.wait_for_selector("#run-message :text('Type the folder')")
        page.fill("#new-path textarea, #new-path input", "~nobody-at-all/pictures")
        page.click("#new-create")
        page.wait_for_selector("#run-message :text('is no folder')")
        page.fill("#new-path textarea, #new-path input", str(data))
        page.click("#new-create")
        page.wait_for_selector("#run-message :text('Check the data set first')")
        page.fill("#new-path textarea, #new-path input", "~nobody-at-all/pictures")
        page.click("#new-preset input")
        page.get_by_role("option", name="paper-age").click()
        page.wait_for_selector("#new-found :text('is no folder')")
        page.click("#new-preset input")
        page.get_by_role("option", name="demo:").click()
        page.fill("#new-path textarea, #new-path input", str(data))
        page.click("#new-check")
        page.wait_for_selector("#new-found .di-check-finding")
        assert "60 readable pictures in 2 classes" in page.inner_text("#new-found")
        assert "A run refuses this data set for 1 problem" in page.inner_text("#new-found")
        page.get_by_text("Named: 1").click()
        page.wait_for_selector("#new-found :text('ghost.png')")
        shown = page.locator("#new-found img")
        assert shown.evaluate_all("all => all.every(i => i.complete && i.naturalWidth === 96)")
        assert shown.count() == 12
        page.screenshot(path=SHOTS / "new-run-1024-dark.png", full_page=True)
        page.click("#new-create")
        page.wait_for_selector("#run-message :text('names what stops a run')")
        assert not root.exists()
        table.write_text("\n".join([*lines, ""]))
        page.fill("#new-path textarea, #new-path input", f"table:{data}")
        page.click("#new-check")
        page.wait_for_selector("#new-found :text('A run can begin')")
        page.screenshot(path=SHOTS / "new-run-checked-1024-dark.png", full_page=True)
        page.fill("#new-path textarea, #new-path input", str(data))
        page.click("#new-create")
        page.wait_for_selector("#run-message :text('changed since the check')")
        assert not root.exists()
        page.fill("#new-path textarea, #new-path input", f"table:{data}")
        page.click("#new-create")
        page.wait_for_selector("#run-message :text('Made')")
        made = open_run(root).config
        assert made.data.path == data and made.data.kind == "table" and made.noise.rate == 0
        assert made.split.copies == "together"
        assert not page.locator("#new-create").is_visible()
        page.click("#run-until input")
        page.get_by_role("option", name="data:").click()
        page.click("#run-start")
        page.wait_for_selector("#run-data .di-figures", timeout=60_000)
        eventually(lambda: open_run(root).status()["data"])
        assert not open_run(root).status()["classifier"]
        page.close()
