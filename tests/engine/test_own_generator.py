"""A run on photographs from the folder to the edits: its own generator is trained on the way."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diffinf_core.config import RunConfig, change, preset_for
from diffinf_core.correction.edits import load_edit
from diffinf_core.correction.stage import REPAIR
from diffinf_core.engine import OpenRun, open_run, own_generator
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import file_digest, read_json, read_tensors, write_json, write_tensors
from diffinf_core.runs.run import Run
from diffinf_core.ui import markup
from diffinf_core.ui.jobs import Jobs
from diffinf_core.weights.files import shipped
from tests.conftest import TINY
from tests.first_stages import write_first_stage

TRAINING: dict[str, Any] = {
    "steps": 3, "evaluate_every": 2, "checkpoint_every": 1, "copies": 1, "label_free_after": 1,
}  # fmt: skip


def photographs(folder: Path, first_stage: Path | str, **over: Any) -> RunConfig:
    """The preset on a folder of pictures, small enough for a test."""
    data = {
        "source": "folder", "path": str(folder), "label_column": "expression",
        "group_column": "identity", "image_size": 64,
    }  # fmt: skip
    small = {k: v for k, v in TINY.items() if k not in ("data", "repair")}
    generator = {"first_stage": str(first_stage), "training": TRAINING, **over}
    return preset_for(
        "photographs",
        {**small, "data": data, "generator": generator, "repair": {"steps": 2, "batch_size": 8}},
    )


@pytest.fixture(scope="module")
def first_stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_first_stage(tmp_path_factory.mktemp("first") / "networks")


@pytest.fixture(scope="module")
def judged(finished_run: Path, first_stage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on photographs that is complete up to the judge. Read only: copy it to change it."""
    root = tmp_path_factory.mktemp("judged") / "run"
    config = photographs(finished_run / "faces", first_stage, covariates=("skin",))
    stages = [event.stage for event in open_run(root, config).compute("judge")]
    assert "judge" in stages and "train-generator" not in stages
    return root


@pytest.fixture(autouse=True)
def small_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with a small batch, whose numbers are of one type whatever a measurement says."""
    monkeypatch.setitem(own_generator.BY_DEVICE, "cpu", {"minutes": 1.0, "batch_size": 4})
    where = "diffinf_core.diffusion.on_latents.measured_precision"
    monkeypatch.setattr(where, lambda stage, x: "float32")


def copied(judged: Path, target: Path) -> OpenRun:
    shutil.copytree(judged, target)
    return open_run(target)


def until_repair(events: Iterator[Progress]) -> list[Progress]:
    """The events before the first edit; the rest is left."""
    out = []
    for event in events:
        if event.stage == "repair":
            break
        out.append(event)
    return out


def test_one_command_trains_the_generator_between_judge_and_repair_and_only_once(
    judged: Path, tmp_path: Path
) -> None:
    run = copied(judged, tmp_path / "run")
    assert list(run.steps())[-3:] == ["judge", "train-generator", "repair"]
    assert run.steps()["judge"] and not run.steps()["train-generator"]
    events = list(run.compute())
    order = list(dict.fromkeys(event.stage for event in events))
    assert order.index("judge") < order.index("train-generator") < order.index("repair")
    training = [event for event in events if event.stage == "train-generator"]
    assert [e.done for e in training if e.total == 3][:3] == [1, 2, 3]
    assert training[-1].note.startswith("done in")
    assert all(run.status().values()) and all(run.steps().values())
    folder = run.folder.root / "generator"
    assert {"generator.safetensors", "generator.md", "curve.html", "grids"} <= {
        path.name for path in folder.iterdir()
    }
    assert not list(folder.glob("*.ckpt")) and not (folder / "device.json").exists()
    assert "Kept fixed in an edit: skin, coarse colour" in (folder / "generator.md").read_text()
    assert "lowest feature_confidence, the others" in (folder / "generator.md").read_text()
    versions = read_json(REPAIR.folder(run.folder) / "versions.json")
    sample, version = next(iter(versions.items()))
    edit = load_edit(run.folder, sample, version)
    assert file_digest(folder / "generator.safetensors")[:12] in edit.generator
    again = open_run(run.folder.root)
    assert {event.note for event in again.compute()} == {"done already"}


@pytest.mark.parametrize("over", [{"confidence": False}, {}])
def test_labels_are_trusted_by_the_loss_alone_where_the_other_score_is_not_wanted_or_not_to_be_had(
    judged: Path, tmp_path: Path, over: dict[str, Any]
) -> None:
    run = copied(judged, tmp_path / "run")
    # so many folds that one of them holds all of a class
    config = change(run.config, {"generator": over, "influence": {"folds": 1000}})
    events = until_repair(open_run(run.folder.root, config).compute())
    said = [e.note for e in events if "labels are trusted by their losses: " in e.note]
    assert bool(said) == (not over)
    card = (run.folder.root / "generator" / "generator.md").read_text()
    assert "lowest mean_loss, the others" in card


@pytest.mark.parametrize("former", [False, True])
def test_a_cancelled_training_goes_on_bit_for_bit_whatever_device_it_meets(
    former: bool, judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = copied(judged, tmp_path / "whole")
    until_repair(whole.compute())
    stopped = copied(judged, tmp_path / "stopped")
    jobs = Jobs()

    def work() -> Iterator[Progress]:
        for event in stopped.compute():
            if event.stage == "train-generator" and event.done == 1 and event.total == 3:
                jobs.cancel()
            yield event

    jobs.start("run", work)
    jobs.wait()
    snapshot = jobs.snapshot()
    assert snapshot.state == "cancelled"
    assert "stopped at 1 of 3" in markup.stages(snapshot, stopped.steps())
    checkpoint = stopped.folder.root / "generator" / "generator.ckpt"
    if (
        former
    ):  # an earlier version kept the name of the device alone, and knew no label without the code
        monkeypatch.setitem(own_generator._FORMERLY, "cpu", {"minutes": 1.0, "batch_size": 4})
        write_json(checkpoint.with_name("device.json"), {"device": "cpu"})
        state = read_tensors(checkpoint)
        assert state["provenance"]["architecture"]["label_alone"]
        state["provenance"]["architecture"]["label_alone"] = False
        write_tensors(checkpoint, state)
    monkeypatch.setattr(own_generator, "_device", lambda: "cuda")  # its batch is another
    events = until_repair(open_run(stopped.folder.root).compute())
    steps = [e.done for e in events if e.stage == "train-generator" and e.total == 3]
    assert steps[0] == 2
    one, two = (r.folder.root / "generator" / "generator.safetensors" for r in (whole, stopped))
    assert file_digest(one) == file_digest(two)
    card = read_json(two.with_suffix(".json"))
    assert card["training"]["batch_size"] == 4 and card["training"]["minutes"] is None


def test_larger_pictures_are_trained_on_in_smaller_batches_on_a_gpu(
    finished_run: Path, first_stage: Path
) -> None:
    config = photographs(finished_run / "faces", first_stage)
    sizes = {}
    for size in (64, 128, 256):
        sized = change(config, {"data": {"image_size": size}})
        sizes[size] = own_generator._suiting(sized, "cuda")["batch_size"]
    assert sizes == {64: 256, 128: 256, 256: 64}


def test_a_time_budget_says_what_is_left(judged: Path, tmp_path: Path) -> None:
    run = copied(judged, tmp_path / "run")
    training = {k: v for k, v in TRAINING.items() if k != "steps"}
    config = run.config.model_dump(mode="json")
    config["generator"] |= {"training": training, "minutes": 6000.0}
    work = iter(open_run(run.folder.root, RunConfig(**config)).compute())
    told = (e.note for e in work if e.stage == "train-generator" and "minutes" in e.note)
    notes = [next(told), next(told)]
    assert "for about 6000 minutes" in notes[0]
    assert re.fullmatch(r"about (6000|59\d\d) minutes left", notes[1])
    assert Run.open(run.folder.root).config.generator.minutes == 6000  # kept once it has begun


def test_weights_whose_card_a_kill_prevented_are_finished_first(
    judged: Path, tmp_path: Path
) -> None:
    run = copied(judged, tmp_path / "run")
    for event in run.compute():
        if event.note == "measuring reconstruction":
            break
    folder = run.folder.root / "generator"
    (folder / "generator.safetensors").write_bytes(b"half of a publication")
    events = until_repair(open_run(run.folder.root).compute())
    assert any(event.stage == "train-generator" for event in events)
    assert (folder / "generator.json").exists() and not (folder / "generator.ckpt").exists()


@pytest.mark.parametrize(
    "over,sentence",
    [
        ({"first_stage": "taef2"}, "taef2 is not in"),
        ({"first_stage": "nowhere"}, "nowhere does not exist"),
        ({"training": {"copies": 0}}, "copies"),
        ({"first_stage_minutes": 3.0}, "first_stage_minutes has no effect"),
        ({"training": {"inpaint": 0}}, "set repair.method=guided"),
        ({"training": {"stepps": 3}}, "stepps"),
    ],
)
def test_what_cannot_train_is_refused_before_anything_is_computed(
    over: dict[str, Any],
    sentence: str,
    finished_run: Path,
    first_stage: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIFFINF_WEIGHTS", str(tmp_path / "weights"))
    config = photographs(finished_run / "faces", **{"first_stage": first_stage, **over})
    assert sentence in str(own_generator.shortfall(config))
    with pytest.raises(DiffInfError, match=sentence):
        next(open_run(tmp_path / "run", config).compute())
    assert not (tmp_path / "run").exists()
    # without the repair there is nothing to refuse
    assert next(open_run(tmp_path / "run", config).compute("judge")).stage == "data"


def test_a_covariate_that_is_no_column_is_refused_before_anything_is_trained(
    finished_run: Path, first_stage: Path, tmp_path: Path
) -> None:
    config = photographs(finished_run / "faces", first_stage, covariates=("mood",))
    run = open_run(tmp_path / "run", config)
    with pytest.raises(DiffInfError, match="no column 'mood'"):
        run.compute().result()
    assert run.status()["data"] and not run.status()["classifier"]


def test_a_generator_that_cannot_edit_by_the_method_is_refused_before_anything_is_computed(
    finished_run: Path, first_stage: Path, tmp_path: Path
) -> None:
    config = change(
        photographs(finished_run / "faces", first_stage),
        {"repair": {"generator": str(shipped("generator"))}},
    )
    with pytest.raises(DiffInfError, match="not trained to inpaint"):
        next(open_run(tmp_path / "run", config).compute())
    assert not (tmp_path / "run").exists()


def test_a_direction_without_the_code_needs_a_training_that_drops_it(
    finished_run: Path, first_stage: Path, tmp_path: Path
) -> None:
    usual = photographs(finished_run / "faces", first_stage, training={"z_dropout": 0.0})
    asked = change(usual, {"repair": {"without_code": 0.5}})
    with pytest.raises(DiffInfError, match=r"set repair\.without_code=0"):
        next(open_run(tmp_path / "run", asked).compute())
    nothing = change(usual, {"repair": {"covariate_guidance": 2.0}})
    with pytest.raises(DiffInfError, match="name columns by --covariate"):
        next(open_run(tmp_path / "run", nothing).compute())
    given = change(
        usual,
        {
            "repair": {
                "method": "guided",
                "without_code": 0.5,
                "generator": str(shipped("generator")),
            }
        },
    )
    with pytest.raises(DiffInfError, match=r"leave repair\.without_code and"):
        next(open_run(tmp_path / "run", given).compute())
    assert not (tmp_path / "run").exists()


def test_no_generator_is_trained_where_one_is_there(
    run_copy: Path, finished_run: Path, first_stage: Path, tmp_path: Path
) -> None:
    demo = change(open_run(run_copy).config, {"generator": {"train": True}})
    run = open_run(run_copy, demo)
    assert own_generator.before_repair(run.folder) == {} and "train-generator" not in run.steps()
    assert all(run.status().values())
    shipped = tmp_path / "elsewhere"
    config = photographs(finished_run / "faces", first_stage)
    given = change(config, {"repair": {"generator": str(shipped)}})
    assert own_generator.shortfall(given) is None
    with pytest.raises(DiffInfError, match="elsewhere does not exist"):
        next(open_run(tmp_path / "new", given).compute())
    asked_not = change(config, {"generator": {"train": False}})
    assert own_generator.before_repair(Run.prepare(tmp_path / "new", asked_not)) == {}


def test_a_run_without_a_published_first_stage_trains_its_own(
    finished_run: Path, judged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a published one comes between a kill and the resume."""
    weights = tmp_path / "weights"
    monkeypatch.setenv("DIFFINF_WEIGHTS", str(weights))
    run = copied(judged, tmp_path / "run")
    asked = {"generator": {"first_stage": "auto", "first_stage_minutes": 0.02}}
    config = change(run.config, asked)
    assert own_generator.shortfall(config) is None
    work = open_run(run.folder.root, config).compute()
    notes = []
    for event in work:
        notes.append(event.note)
        if event.stage == "first-stage" and event.values:
            break
    work.close()
    assert any("'diffinf weights fetch taef2'): training one" in note for note in notes)
    published = write_first_stage(tmp_path / "published")
    weights.mkdir()
    for part in ("encoder", "decoder"):
        shutil.copy(published / f"own_{part}.safetensors", weights / f"taef2_{part}.safetensors")
    folder = run.folder.root / "generator"
    assert (folder / "precision.json").exists() and not (
        folder / "first_stage.safetensors"
    ).exists()
    open_run(run.folder.root).compute().result()
    card = read_json(folder / "first_stage.json")
    assert card["first_stage"]["family"] == "small" and card["figures"]["psnr"] > 20
    assert read_json(folder / "generator.json")["architecture"]["latent"]["name"] == "own"
    assert not list(folder.glob("*.ckpt"))
    assert all(open_run(run.folder.root).status().values())
