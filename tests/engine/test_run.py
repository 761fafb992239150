"""The run as a whole: nothing is done twice, a kill costs nothing, doors stay shut."""

from __future__ import annotations

import json
import random
import shutil
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from diffinf_core.config import RunConfig, change, from_yaml, make_config, to_yaml
from diffinf_core.correction.stage import REPAIR
from diffinf_core.diffusion.published import PublishedArchitecture
from diffinf_core.engine import STAGES, OpenRun, open_run
from diffinf_core.experiments import retrain
from diffinf_core.influence.stage import INFLUENCE
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.run import Run
from tests.checked import problems_of
from tests.forks import FORKS
from tests.published import checkpoint_of, shaken


def files_of(root: Path) -> dict[str, int]:
    """Every file with its time of change."""
    return {
        str(p.relative_to(root)): p.stat().st_mtime_ns
        for p in sorted(root.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


def test_the_same_run_again_does_nothing(run_copy: Path, tiny_config: RunConfig) -> None:
    before = files_of(run_copy)
    events = list(open_run(run_copy, tiny_config).compute())
    assert [e.note for e in events] == ["done already"] * len(STAGES)
    assert files_of(run_copy) == before


def test_another_tau_redoes_only_what_depends_on_it(run_copy: Path, tiny_config: RunConfig) -> None:
    before = files_of(run_copy)
    changed = tiny_config.model_copy(
        update={"influence": tiny_config.influence.model_copy(update={"tau": 12.0})}
    )
    events = list(open_run(run_copy, changed).compute("predictor"))
    redone = {e.stage for e in events if e.note != "done already"}
    assert redone == {"predictor"}
    after = files_of(run_copy)
    touched = {
        k.split("/")[1].split("-")[0] for k in after if after[k] != before.get(k) and "/" in k
    }
    assert touched == {"predictor", "index.json"}
    # And back: what the first tau made is still there.
    assert all(open_run(run_copy, tiny_config).status().values())


def _compute(root: Path, config: str, events: Connection) -> None:
    torch.set_num_threads(1)
    for _ in open_run(root, from_yaml(config)).compute():
        events.send(None)


@pytest.mark.slow
def test_ten_kills_lose_nothing(finished_run: Path, tiny_config: RunConfig, tmp_path: Path) -> None:
    """SIGKILL at ten moments spread over all stages; the scores must equal an undisturbed run's."""
    root = tmp_path / "run"
    draw = random.Random(5)
    # Events of an undisturbed run, about: faces, pictures, batches, slices, folds, repairs.
    for kill in range(10):
        events, theirs = FORKS.Pipe(duplex=False)
        child = FORKS.Process(target=_compute, args=(root, to_yaml(tiny_config), theirs))
        child.start()
        theirs.close()
        with suppress(EOFError):
            for _ in range(draw.randint(1, 6 + 2 * kill)):
                events.recv()
        time.sleep(draw.random() * 0.05)
        child.kill()
        child.join()
    engine = open_run(root, tiny_config)
    for _ in engine.compute():
        pass
    whole = open_run(finished_run)
    read = [(INFLUENCE.folder(e.folder) / "scores.csv").read_bytes() for e in (engine, whole)]
    assert read[0] == read[1]
    pd.testing.assert_frame_equal(engine.queue, whole.queue, rtol=1e-4)
    assert not [p for p in root.rglob("*") if p.name.endswith(".part")]


def test_a_second_process_in_the_same_folder_is_refused(run_copy: Path) -> None:
    engine = open_run(run_copy)
    events = engine.compute()
    next(events)
    with pytest.raises(DiffInfError, match="Another process"):
        next(open_run(run_copy).compute())
    events.close()
    next(open_run(run_copy).compute())


def test_decisions_make_the_reviewed_arm_and_the_export(run_copy: Path, tmp_path: Path) -> None:
    engine = open_run(run_copy)
    queue = engine.queue
    ids, versions = list(queue["id"]), list(queue["version"])
    train = engine.training
    new = next(c for c in train.classes if c != queue["label"].iloc[1])
    engine.review.decide(ids[0], "accept", "me", versions[0])
    engine.review.decide(ids[1], "relabel", "me", new_label=new)
    engine.review.decide(ids[2], "drop", "me", comment="=HYPERLINK(1)")
    engine.review.decide(ids[3], "keep", "me")
    target = tmp_path / "export"
    for _ in engine.export(target):
        pass
    table = pd.read_csv(target / "labels.csv", dtype=str).set_index("id")
    manifest = json.loads((target / "manifest.json").read_text())
    assert len(table) == len(train) - 1 == manifest["n"]
    assert ids[2] not in table.index and manifest["dropped"] == [ids[2]]
    assert table.at[ids[1], "label"] == new
    assert table.at[ids[0], "source"] == "repaired"
    entries = {e["id"]: e for e in manifest["samples"]}
    assert entries[ids[0]]["synthetic"] is True
    assert entries[ids[0]]["decision"]["reviewer"] == "reviewer 1", "a pseudonym"
    # Originals are the same bytes, and the source folder is as it was.
    source = run_copy / "faces" / entries[ids[3]]["original"]
    assert (target / entries[ids[3]]["file"]).read_bytes() == source.read_bytes()
    assert [e.note for e in engine.export(target)] == ["done already: nothing has changed"]
    (target / "mine.txt").write_text("mine")
    with pytest.raises(DiffInfError, match=r"mine\.txt is not part of the export"):
        next(engine.export(target))

    for _ in engine.retrain(workers=1):
        pass
    arms = engine.report()["arms"]
    assert set(arms) == {"noisy", "removal", "repaired", "reviewed"}
    assert arms["removal"]["n_train"] == len(train) - len(queue)
    assert arms["repaired"]["n_train"] == arms["noisy"]["n_train"] == len(train)
    assert arms["reviewed"]["n_train"] == len(train) - 1


def test_export_of_everything_repaired_keeps_the_size(run_copy: Path, tmp_path: Path) -> None:
    engine = open_run(run_copy)
    for _ in engine.export(tmp_path / "out", "repaired"):
        pass
    table = pd.read_csv(tmp_path / "out" / "labels.csv")
    assert len(table) == len(engine.training)
    assert (table["source"] == "repaired").sum() == len(engine.queue)
    # A fresh run can read what was exported.
    data = {
        "source": "folder",
        "path": str(tmp_path / "out"),
        "classes": list(engine.training.classes),
    }
    listing, problems = problems_of(make_config("demo", {"data": data}).data)
    assert len(listing.rows) == len(table) and not problems


def test_re_edit_makes_a_version_and_the_second_time_is_instant(run_copy: Path) -> None:
    engine = open_run(run_copy)
    sample = str(engine.queue["id"].iloc[0])
    first = list(engine.repair.edit(sample, {"w_id": 2.5}))
    assert len(first) == engine.config.repair.steps + 1
    assert len(engine.pictures.versions(sample)) == 2
    began = time.perf_counter()
    again = list(engine.repair.edit(sample, {"w_id": 2.5}))
    assert len(again) == 1 and again[0] == first[-1]
    assert time.perf_counter() - began < 1
    with pytest.raises(DiffInfError, match="w_id"):
        next(engine.repair.edit(sample, {"w_id": -1}))
    with pytest.raises(DiffInfError, match="no training sample"):
        next(engine.repair.edit("0" * 12))


def test_report_has_the_promised_shape(finished_run: Path) -> None:
    report = json.loads(json.dumps(open_run(finished_run).report(), allow_nan=False))
    assert set(report["dataset"]) >= {"n_train", "n_test", "classes", "noise_rate"}
    assert set(report["influence"]) >= {
        "estimator", "average_precision", "precision_at_tau", "seconds", "by_signal",
    }  # fmt: skip
    assert "auroc" in report["predictor"]
    assert set(report["repair"]) >= {
        "n", "judge", "seconds_per_image", "judge_agreement_before", "judge_agreement_after",
        "judge_agreement_by_class", "judge_agreement_mislabelled", "identity_mean",
        "identity_p10", "lpips_mean", "lpips_by_class", "ssim_mean", "flagged",
    }  # fmt: skip
    assert report["review"]["accepted"] == 0
    assert report["arms"] == {}


def test_report_of_an_empty_run_is_null_not_an_error(tmp_path: Path) -> None:
    report = open_run(tmp_path / "run", make_config("demo")).report()
    assert report["dataset"] is None and report["repair"] is None and report["arms"] == {}


def test_scores_are_the_same_in_another_process(
    finished_run: Path, tiny_config: RunConfig, tmp_path: Path
) -> None:
    root = tmp_path / "again"
    shutil.copytree(finished_run, root)
    for stage in ("classifier", "influence"):
        for folder in (root / "stages").glob(f"{stage}-*"):
            shutil.rmtree(folder)
    engine = open_run(root, from_yaml(to_yaml(tiny_config)))
    for _ in engine.compute("influence"):
        pass
    np.testing.assert_array_equal(
        engine.ranking()["score"].to_numpy(), open_run(finished_run).ranking()["score"].to_numpy()
    )


def test_a_published_generator_repairs_without_being_told_a_label(run_copy: Path) -> None:
    """Random weights in the published layout: the way is whole, the pictures are not worth showing."""
    architecture = PublishedArchitecture(
        image_size=64,
        channels=32,
        multipliers=(1, 1, 2),
        encoder_multipliers=(1, 1, 2, 2),
        encoder_res_blocks=1,
        res_blocks=1,
        embed=32,
        z_dim=32,
    )
    file = run_copy.parent / "last.ckpt"
    torch.save(checkpoint_of(shaken(architecture)), file)
    settings = {"repair": {"generator": str(file), "steps": 2}}
    engine = open_run(run_copy, change(open_run(run_copy).config, settings))
    for _ in engine.compute():
        pass
    figures = engine.report()["repair"]
    assert figures["n"] == len(engine.queue) and figures["label_conditioned"] is False
    assert engine.pictures.record(*next(iter(latest(engine).items()))).generator.startswith(
        "last.ckpt "
    )
    # earlier versions stored this figure under another name
    done = REPAIR.folder(Run(run_copy, engine.config)) / "done.json"
    stored = read_json(done)
    write_json(done, {"told_label": stored.pop("label_conditioned"), **stored})
    earlier = open_run(run_copy, engine.config).report()["repair"]
    assert earlier["label_conditioned"] is False
    gone = {"repair": {"generator": str(file.with_name("gone.ckpt"))}}
    with pytest.raises(DiffInfError, match=r"gone\.ckpt does not exist"):
        for _ in open_run(run_copy, change(engine.config, gone)).compute():
            pass


def latest(engine: OpenRun) -> dict[str, str]:
    """The version in the queue of each sample."""
    return dict(zip(engine.queue["id"], engine.queue["version"], strict=True))


def test_a_decision_made_during_retraining_is_said(
    run_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data of the arm "reviewed" follow the journal; they must not pass for those of before."""
    engine = open_run(run_copy)
    engine = open_run(run_copy, change(engine.config, {"retrain": {"arms": ["reviewed"]}}))
    first, second = list(engine.queue["id"])[:2]
    engine.review.decide(first, "keep", "a")
    build = retrain.build_arm

    def deciding(run: Run, name: str) -> object:
        found = build(run, name)
        if not engine.review.decisions().get(second):
            asked.append(name)
            if len(asked) == 1:
                engine.review.decide(second, "drop", "b")
        return found

    asked: list[str] = []
    monkeypatch.setattr(retrain, "build_arm", deciding)
    with pytest.raises(DiffInfError, match="retrain again"):
        for _ in engine.retrain(workers=1):
            pass
    for _ in engine.retrain(workers=1):
        pass
    assert "reviewed" in engine.report()["arms"]


def test_what_is_slow_is_a_job_with_a_result_and_a_callback(run_copy: Path, tmp_path: Path) -> None:
    opened, events = open_run(run_copy), list[Progress]()
    assert opened.compute(callback=events.append).result() == opened.status()
    assert events and {e.note for e in events} == {"done already"}
    export = opened.export(tmp_path / "out", "repaired").result()
    export.verify()
    assert set(export.table["source"]) == {"original", "repaired"}
    assert opened.score("aum").result().equals(opened.ranking("aum"))
    assert len(opened.explore.map.compute().result()[0]) == len(opened.training)
    assert opened.explore.duplicates.compute().result().equals(opened.explore.duplicates.pairs())
    job = opened.export(tmp_path / "cut")
    next(job)
    job.close()
    with pytest.raises(DiffInfError, match="closed before it had a result"):
        job.result()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "run"]


def test_a_decision_while_an_arm_trains_belongs_to_the_next_training(run_copy: Path) -> None:
    opened = open_run(run_copy)
    opened = open_run(run_copy, change(opened.config, {"retrain": {"arms": ["reviewed"]}}))
    first, second = list(opened.queue["id"])[:2]
    opened.review.decide(first, "keep", "a")
    for event in opened.retrain(workers=1):
        if event.values and not opened.review.decisions().get(second):
            opened.review.decide(second, "drop", "b")
    assert second in opened.review.decisions()
    assert "reviewed" not in opened.report()["arms"], "it was trained before the second decision"
    for _ in opened.retrain(workers=1):
        pass
    assert opened.report()["arms"]["reviewed"]["n_train"] == len(opened.training) - 1
    assert opened.compare.comparison().n_train["reviewed"] == len(opened.training) - 1
