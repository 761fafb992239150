"""Configurations: nothing is lost on the way to YAML and back; a mistake is one sentence."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from diffinf_core.config import (
    PRESETS,
    SIGNALS,
    RunConfig,
    Section,
    change,
    described_yaml,
    from_yaml,
    make_config,
    parse_overrides,
    preset_for,
    to_yaml,
)
from diffinf_core.records import DiffInfError

STAGES = {name: type(getattr(RunConfig(), name)) for name in RunConfig.model_fields}
FIELDS = [(stage, field) for stage, model in STAGES.items() for field in model.model_fields]
#: the paper's presets read a folder and do not know yours
FOLDER = {"data": {"path": "pictures"}}


def preset(name: str, over: dict[str, Any] | None = None) -> RunConfig:
    """A preset made complete."""
    return make_config(name, over if name == "demo" else {**FOLDER, **(over or {})})


def refusal(call: Any, *args: Any) -> str:
    """The one sentence of a refused call."""
    with pytest.raises(DiffInfError) as caught:
        call(*args)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text, text
    assert not re.search(r"[.!?]\s+[A-Z]", text), f"more than one sentence: {text}"
    return text


# ---------------------------------------------------------------- there and back


def test_photographs_keep_their_own_labels_and_are_edited_within_a_region() -> None:
    config = preset_for("photographs", {"data": {"source": "folder", "path": "pictures"}})
    assert config.noise.rate == 0 and config.data.image_size == 128
    assert config.repair.method == "inpaint" and config.repair.transfer == "gated"
    assert config.repair.steps <= config.repair.t0


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_goes_to_yaml_and_back_without_loss(name: str) -> None:
    config = preset(name)
    described = described_yaml(config)
    assert all("  # " in line for line in described.splitlines()), "every key says what it means"
    assert from_yaml(to_yaml(config)) == config


positive = st.floats(1e-9, 10)
weight = st.floats(0, 20)
words = st.text(min_size=1, max_size=20)


@st.composite
def overrides(draw: st.DrawFn) -> dict[str, Any]:
    """Valid values of keys of every type."""
    epochs = draw(st.integers(1, 500))
    return {
        "data": {
            "path": draw(words),
            "label_column": draw(words.filter(lambda w: not w.endswith("-group"))),
            "group_column": draw(st.none() | words.map(lambda w: w + "-group")),
            "classes": draw(st.none() | st.lists(words, min_size=2, max_size=5, unique=True)),
            "image_size": draw(st.sampled_from([32, 64, 128, 256])),
            "demo_faces": draw(st.integers(60, 10**6)),
        },
        "split": {
            "val_share": draw(st.floats(0.001, 0.499)),
            "test_share": draw(st.floats(0.001, 0.499)),
            "seed": draw(st.integers(0, 2**31)),
        },
        "noise": {"rate": draw(st.floats(0, 1, exclude_max=True))},
        "classifier": {
            "epochs": epochs,
            "checkpoints": draw(st.integers(1, epochs)),
            "learning_rate": draw(positive),
            "augment": draw(st.booleans()),
        },
        "influence": {
            "estimator": draw(st.sampled_from(SIGNALS)),
            "tau": draw(st.floats(0, 100, exclude_min=True)),
        },
        "repair": {
            "generator": draw(st.none() | words),
            "w_id": draw(weight),
            "w_si": draw(weight),
            "t0": draw(st.integers(100, 999)),
        },
        "retrain": {"arms": draw(st.lists(st.sampled_from(["noisy", "removal", "clean"])))},
    }


@settings(max_examples=40)
@given(name=st.sampled_from(list(PRESETS)), over=overrides())
def test_any_valid_values_go_to_yaml_and_back_without_loss(name: str, over: dict[str, Any]) -> None:
    described = described_yaml(make_config(name, over))
    assert from_yaml(described) == make_config(name, over)
    config = make_config(name, over)
    back = from_yaml(to_yaml(config))
    assert back == config
    assert back.model_dump(mode="json") == config.model_dump(mode="json")
    for stage, values in over.items():
        dumped = getattr(back, stage).model_dump()
        for key, value in values.items():
            if key not in ("path", "generator"):  # "a/" and "a" are the same path
                expected = tuple(value) if isinstance(value, list) else value
                assert dumped[key] == expected, f"{stage}.{key}"


def test_a_hand_written_part_leaves_the_rest_at_its_default() -> None:
    config = from_yaml("influence:\n  tau: 20\n")
    assert config.influence.tau == 20
    assert config.model_copy(update={"influence": RunConfig().influence}) == RunConfig()


def test_an_override_of_one_key_keeps_the_preset_beside_it() -> None:
    config = make_config("demo", {"split": {"val_share": 0.3}})
    assert (config.split.val_share, config.split.test_share) == (0.3, 0.40)
    assert preset("demo").split.val_share == 0.10


def test_a_configuration_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        RunConfig().noise.rate = 0.5  # type: ignore[misc]


# ---------------------------------------------------------------- the documented values


@pytest.mark.parametrize(
    "name,rate,classes",
    [
        ("paper-age", 0.30, ("Young", "Middle", "Old")),
        ("paper-expression", 0.20, ("happy", "neutral", "surprised", "sad")),
    ],
)
def test_the_paper_presets_hold_the_papers_setting(
    name: str, rate: float, classes: tuple[str, ...]
) -> None:
    config = preset(name)
    assert config.data.source == "folder" and config.data.image_size == 128
    assert config.data.classes == classes
    assert config.noise.rate == rate
    assert config.classifier.architecture == "resnet18" and config.classifier.pretrained
    assert (config.classifier.epochs, config.classifier.batch_size) == (100, 64)
    assert (config.classifier.learning_rate, config.classifier.schedule) == (1e-4, "constant")
    assert config.influence.tau == 10 and config.influence.estimator == "self_influence"
    assert config.influence.checkpoint_rule == "all"
    assert (config.retrain.epochs, config.retrain.learning_rate) == (100, 1e-4)
    assert (config.split.val_share, config.split.test_share) == (0.10, 0.20)


def test_the_demo_preset_holds_what_the_manual_says() -> None:
    config = make_config()
    assert config.data.source == "demo" and config.data.demo_faces == 5000
    assert config.data.image_size == 64 and config.data.attribute == "expression"
    assert config.noise.rate == 0.20
    assert config.influence.estimator == "self_influence" and config.influence.tau == 10
    assert config.classifier.architecture == "small" and not config.classifier.augment
    assert config.repair.w_sem == 0  # classifier guidance is the control


@pytest.mark.parametrize("stage,field", FIELDS, ids=lambda v: v)
def test_every_key_is_described(stage: str, field: str) -> None:
    text = STAGES[stage].model_fields[field].description
    assert text and len(text.strip()) > 2


def test_every_stage_says_what_it_is() -> None:
    for model in STAGES.values():
        assert issubclass(model, Section)
        assert model.__doc__ and model.__doc__ != Section.__doc__


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize("stage,field", FIELDS, ids=lambda v: v)
def test_every_key_refuses_a_senseless_value_by_name(stage: str, field: str) -> None:
    text = refusal(make_config, "demo", {stage: {field: [["x"]]}})
    assert f"{stage}.{field}" in text and "['x']" in text


@pytest.mark.parametrize(
    "key,value",
    [
        ("data.image_size", 65),
        ("data.image_size", 96),
        ("data.image_size", 272),
        ("data.demo_faces", 59),
        ("data.source", "web"),
        ("data.attribute", "gender"),
        ("split.val_share", 0),
        ("split.test_share", 0.5),
        ("noise.rate", 1),
        ("noise.rate", -0.1),
        ("noise.rate", float("nan")),
        ("classifier.epochs", 0),
        ("classifier.batch_size", 1),
        ("classifier.learning_rate", 0),
        ("classifier.architecture", "resnet50"),
        ("influence.tau", 0),
        ("influence.tau", 100.5),
        ("influence.estimator", "magic"),
        ("predictor.folds", 1),
        ("repair.w_id", -1),
        ("repair.w_reg", 21),
        ("repair.t0", 1000),
        ("repair.steps", 2.5),
        ("retrain.seeds", 0),
    ],
)
def test_an_impossible_value_is_named_with_its_key(key: str, value: Any) -> None:
    stage, field = key.split(".")
    made = refusal(make_config, "demo", {stage: {field: value}})
    read = refusal(from_yaml, f"{stage}:\n  {field}: {'.nan' if value != value else value}\n", "x")
    for text in (made, read):
        assert key in text and repr(value) in text
    assert read.startswith("x: ")


@pytest.mark.parametrize(
    "key,over",
    [("nois", {"nois": {"rate": 0.1}}), ("noise.ratee", {"noise": {"ratee": 0.1}})],
    ids=["stage", "key"],
)
def test_an_unknown_key_is_named(key: str, over: dict[str, Any]) -> None:
    for text in (refusal(make_config, "demo", over), refusal(from_yaml, yaml.safe_dump(over))):
        assert f"Unknown configuration key {key!r}" in text


def test_keys_that_contradict_each_other_are_named() -> None:
    text = refusal(make_config, "demo", {"classifier": {"epochs": 3, "checkpoints": 5}})
    assert "classifier" in text and "checkpoints 5" in text and "epochs 3" in text
    assert "'nonsense'" in refusal(make_config, "demo", {"retrain": {"arms": ["nonsense"]}})
    assert "needs a path" in refusal(make_config, "paper-age")


def test_several_mistakes_are_counted_in_one_sentence() -> None:
    text = refusal(make_config, "demo", {"noise": {"rate": 3}, "influence": {"tau": 0, "x": 1}})
    assert "noise.rate" in text and "(2 more)" in text


def test_a_section_that_is_no_mapping_is_named_with_its_value() -> None:
    text = refusal(from_yaml, "noise: 3\n")
    assert "'noise'" in text and "3" in text


def test_an_unknown_preset_is_answered_with_the_choice() -> None:
    text = refusal(make_config, "papr-age")
    assert "'papr-age'" in text and all(name in text for name in PRESETS)


@pytest.mark.parametrize(
    "text", ["noise: [1", "a: b: c", "- 1\n- 2", "just words", "a: \x00", "a: 1\n---\nb: 2"]
)
def test_text_that_is_no_configuration_is_refused_under_its_name(text: str) -> None:
    assert "my.yaml" in refusal(from_yaml, text, "my.yaml")


def test_yaml_cannot_build_python_objects() -> None:
    refusal(from_yaml, "data: !!python/object/apply:os.getcwd []\n")


def test_more_steps_than_noise_levels_are_refused() -> None:
    assert "cannot exceed t0 5" in refusal(make_config, "demo", {"repair": {"t0": 5}})


@pytest.mark.parametrize("text", ["1: 2\n", "data: {path: 2024-13-45}\n"])
def test_a_key_that_is_a_number_and_a_date_that_is_none_are_refused(text: str) -> None:
    refusal(from_yaml, text)


@pytest.mark.parametrize("text", ["[]", "false", "0", "''"])
def test_an_empty_value_that_is_no_mapping_is_refused(text: str) -> None:
    refusal(from_yaml, text)


@pytest.mark.parametrize("key", ["classifier.learning_rate", "predictor.feature_noise"])
def test_infinity_is_refused(key: str) -> None:
    assert key in refusal(make_config, "demo", parse_overrides([f"{key}=.inf"]))


@pytest.mark.parametrize("key", ["noise.seed", "predictor.seed", "data.seed"])
def test_a_seed_below_zero_is_refused(key: str) -> None:
    assert key in refusal(make_config, "demo", parse_overrides([f"{key}=-1"]))


# ---------------------------------------------------------------- stage.key=value


def test_overrides_are_read_as_yaml_and_nested() -> None:
    found = parse_overrides(
        ["influence.tau=20", " noise.rate =0", "data.path=a=b", "data.classes=[x, y]",
         "classifier.augment=true", "data.group_column=", "influence.tau=30"]
    )  # fmt: skip
    assert found == {
        "influence": {"tau": 30},
        "noise": {"rate": 0},
        "data": {"path": "a=b", "classes": ["x", "y"], "group_column": None},
        "classifier": {"augment": True},
    }
    assert parse_overrides([]) == {}


def test_an_exponent_without_a_dot_is_still_a_number() -> None:
    over = parse_overrides(["classifier.learning_rate=1e-3"])
    assert make_config("demo", over).classifier.learning_rate == 1e-3


@pytest.mark.parametrize("pair", ["tau=20", "influence.tau", "", "influence.tau=[1"])
def test_an_override_that_cannot_be_read_is_quoted(pair: str) -> None:
    assert repr(pair) in refusal(parse_overrides, [pair])


@pytest.mark.parametrize(
    "pairs", [["influence.tau=20", "influence.tau.x=3"], ["data.path=2024-13-45"]]
)
def test_an_override_below_a_value_and_a_date_that_is_none_are_refused(pairs: list[str]) -> None:
    refusal(lambda: make_config("demo", parse_overrides(pairs)))


def test_null_takes_a_changed_setting_back() -> None:
    config = make_config("demo", {"influence": {"estimator": "aum", "tau": 33.0}})
    back = change(
        config, parse_overrides(["influence.estimator=null", "influence.batch_size=null"])
    )
    assert back.influence.estimator == "self_influence" and back.influence.tau == 33.0
    assert back.influence.batch_size is None
    for value in ("1", "null"):
        with pytest.raises(DiffInfError, match=r"Unknown configuration key 'influence\.nothing'"):
            change(config, parse_overrides([f"influence.nothing={value}"]))


@pytest.mark.parametrize(
    "pair",
    ["classifier.epochs=10000000000", "predictor.epochs=10000000000", "retrain.epochs=1000001",
     "retrain.seeds=1000000", "classifier.checkpoints=10000000000", "classifier.batch_size=10000000000",
     "repair.batch_size=10000000000", "influence.batch_size=10000000000", "predictor.hidden=10000000000",
     "influence.folds=10000000000", "predictor.folds=10000000000", "data.demo_faces=10000000000",
     "influence.curvature_samples=100000000000", "classifier.learning_rate=1e30",
     "predictor.learning_rate=1e30", "retrain.learning_rate=1e30", "influence.damping=1e300"],
)  # fmt: skip
def test_a_value_that_cannot_be_right_is_refused_with_the_reason(pair: str) -> None:
    with pytest.raises(DiffInfError, match="less than or equal to") as caught:
        change(make_config("demo", {}), parse_overrides([pair]))
    assert pair.partition("=")[0] in str(caught.value) and len(str(caught.value)) < 300


def test_every_count_and_rate_has_an_upper_limit() -> None:
    """A field that is added later is limited, too: what has no limit begins work that never ends."""
    for section in RunConfig.model_fields.values():
        for name, field in section.annotation.model_fields.items():
            bounds = {type(bound).__name__ for bound in field.metadata}
            if bounds & {"Ge", "Gt"}:
                assert bounds & {"Le", "Lt"}, f"{section.annotation.__name__}.{name}"


@pytest.mark.parametrize(
    "text,words",
    [
        ("a: " + "[" * 100_000, "nested too deeply"),
        ("{a: " * 5_000, "nested too deeply"),
        ("x" * 1_000_001, "1,000,000 are allowed"),
        ("a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
        ) + "data: {labels: *j}", "data.labels"),
    ],
)  # fmt: skip
def test_a_hostile_configuration_is_one_sentence(text: str, words: str) -> None:
    with pytest.raises(DiffInfError, match=words) as caught:
        from_yaml(text)
    assert len(str(caught.value)) < 500


def test_a_value_that_unfolds_is_shown_in_short() -> None:
    lines = "".join(f"- &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n  " for i in range(9))
    text = "data:\n  labels:\n  - &a [x,x,x,x,x,x,x,x,x]\n  " + lines
    with pytest.raises(DiffInfError, match=r"data\.labels") as caught:
        from_yaml(text)
    assert len(str(caught.value)) < 500
