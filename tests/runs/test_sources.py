"""Changed code never reuses stale results: who changes a stage's code says what it means for results."""

from __future__ import annotations

import ast
import json
from dataclasses import replace

import pytest

from diffinf_core.engine.pipeline import PIPELINE, every_stage
from diffinf_core.runs.stages import Stage
from tests.runs.sources import RECORD, ROOT, files_of, module_of, sources, without_words

COMMAND = "python -m tests.runs.sources"


def named(stages: tuple[Stage, ...]) -> dict[str, Stage]:
    """Stages by name; a family stands for all its members."""
    return {stage.name: stage for stage in stages}


@pytest.mark.parametrize("name", sorted(named(every_stage())))
def test_changed_code_has_another_version(name: str) -> None:
    stage = named(every_stage())[name]
    recorded = json.loads(RECORD.read_text()).get(name)
    assert recorded is not None, f"record the stage {name!r}: {COMMAND}"
    now, then = sources(stage), recorded["sources"]
    if stage.version == recorded["version"]:
        changed = sorted(
            file for file in now.keys() | then.keys() if now.get(file) != then.get(file)
        )
        assert not changed, (
            f"The code behind the stage {name!r} changed in {', '.join(changed)} and its version did not. "
            f"Raise its version in {module_of(stage).__name__} and record the sources: {COMMAND}. "
            "Record them with the version unchanged only if results are bit-identical."
        )
    assert stage.version >= recorded["version"], "a version is never used twice"
    assert stage.version == recorded["version"], f"record the sources: {COMMAND}"


def test_nothing_is_recorded_that_is_not_there() -> None:
    assert set(json.loads(RECORD.read_text())) == set(named(every_stage()))


def test_the_pipeline_is_in_the_order_of_its_inputs() -> None:
    before: list[Stage] = []
    for stage in PIPELINE:
        assert all(above in before for above in stage.inputs)
        before.append(stage)
    names = [stage.name for stage in PIPELINE]
    assert len(set(names)) == len(names)


def test_the_sources_of_a_stage_are_what_its_inputs_do_not_stand_for() -> None:
    stages = named(every_stage())
    repair = files_of(stages["repair"])
    rooms = {file.parts[file.parts.index("diffinf_core") + 1] for file in repair}
    # the judge, its input, stands for the reading of weights
    assert rooms == {"correction", "diffusion", "weights"}
    assert [file.name for file in repair if "weights" in file.parts] == ["lpips.py"]
    assert {"files.py", "pretrained.py"} <= {file.name for file in files_of(stages["judge"])}
    assert {"guidance.py", "sampling.py", "network.py"} <= {file.name for file in repair}
    assert [file.name for file in files_of(stages["predictor"])] == ["predictor.py"]


@pytest.mark.parametrize(
    "file,stages",
    [
        (
            "data/part.py",
            {"classifier", "judge", "duplicates", "quality", "identity_features", "arm-noisy"}
            | {"feature_confidence"},
        ),
        (
            "classifier/training.py",
            {"classifier", "judge", "identity_features", "arm-noisy", "feature_confidence"},
        ),
        ("influence/gradients.py", {"gradients", "inverse_curvature"}),
        ("review/refine.py", {"arm-noisy", "retrain", "ablation"}),
        ("diffusion/sampling.py", {"repair", "identity_features"}),
        # every other key holds that of the data stage
        ("diffinf_core/records.py", {"data"}),
    ],
)
def test_a_module_counts_for_every_stage_whose_key_would_not_show_its_change(
    file: str, stages: set[str]
) -> None:
    holding = {s.name for s in every_stage() for f in files_of(s) if f.as_posix().endswith(file)}
    assert holding == stages


def test_every_module_that_computes_results_counts_for_a_stage() -> None:
    """Apart: what trains shipped weights, shows figures, starts stages, or runs without a run."""
    counted = {file for stage in every_stage() for file in files_of(stage)}
    package = ROOT / "diffinf_core"
    apart = {
        "classifier/__init__.py", "correction/__init__.py", "correction/published/__init__.py",
        "data/__init__.py", "influence/__init__.py",
        "correction/assets.py", "correction/originals.py", "correction/train_perceptors.py",
        "data/rendered/scenes.py", "data/show.py",
        "data/update.py", "data/alignment.py", "data/check/__init__.py", "data/check/result.py",
        "data/check/measure.py", "data/check/findings.py", "data/check/run.py",
        "diffusion/assets.py", "diffusion/attributes.py", "diffusion/monitor.py", "diffusion/sources.py",
        "diffusion/own_first_stage.py", "diffusion/pairs.py",
        "diffusion/conditions.py", "diffusion/label_free.py", "diffusion/latent_source.py",
        "diffusion/latents.py", "diffusion/on_latents.py", "diffusion/card.py", "diffusion/copies.py",
        "diffusion/speed.py", "diffusion/start.py",
        "diffusion/loss.py", "diffusion/processes.py", "diffusion/rate.py", "diffusion/settings.py",
        "diffusion/trainer.py", "diffusion/unlabelled.py",
        "correction/repair.py", "influence/arrays.py", "influence/labels.py", "influence/predict.py",
        "influence/self_influence.py",
    }  # fmt: skip
    rooms = ("data", "classifier", "influence", "diffusion", "correction")
    missing = {f for room in rooms for f in (package / room).rglob("*.py")} - counted
    assert {f.relative_to(package).as_posix() for f in missing} - apart == set()


def test_a_step_and_its_stage_have_one_version_between_them() -> None:
    """Scores hang on the code of the gradients that they are computed from."""
    stages = named(every_stage())
    for stage in stages.values():
        newer = replace(stage, steps=tuple(replace(s, version=s.version + 1) for s in stage.steps))
        assert (newer.code == stage.code) is (not stage.steps)
    assert stages["gradients"] in stages["influence"].steps


def test_words_and_layout_do_not_count_and_code_does() -> None:
    def of(text: str) -> str:
        return without_words(ast.parse(text))

    first = of('"""A."""\ndef f(x):\n    """B."""\n    return x + 1\n')
    assert first == of('"""Z."""\n\n\ndef f(x):  # why\n    return (x + 1)\n')
    assert first != of("def f(x):\n    return x + 2\n")
