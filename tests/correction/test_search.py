"""Which of several edits is proposed, and what a run does with its flagged ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffinf_core.config import RepairConfig, change
from diffinf_core.correction.edits import load_edit, read_edit, versions_of
from diffinf_core.correction.repairer import Repairer
from diffinf_core.correction.search import objectives, pareto, propose, t0_schedule, variants
from diffinf_core.correction.stage import REPAIR
from diffinf_core.data.part import open_training, to_tensor
from diffinf_core.engine import open_run
from diffinf_core.records import DiffInfError, Edit
from diffinf_core.report.summary import summarise
from diffinf_core.runs.files import read_json, write_json
from diffinf_core.runs.run import Run

CLASSES = ("a", "b")


def edit(judge: float, same: float, far: float, **over: Any) -> Edit:
    """An edit with the label a and these objectives."""
    base = Edit(
        sample="0" * 12, version="0" * 16, label="a", settings={}, generator="", identity_name="",
        perceptual_name="", judge_name="", identity=same, perceptual=far, perceptual_floor=0.0,
        ssim=0.5, l1=5.0, h_before=0.5, h_after=0.1, influence_before=1.0, influence_after=0.1,
        judge_before=[0.0, 1.0], judge_after=[judge, 1 - judge], classifier_before=[0.0, 1.0],
        classifier_after=[1.0, 0.0], losses={}, flags={}, seconds=1.0,
    )  # fmt: skip
    return replace(base, **over)


def test_variants_are_different_valid_and_begin_with_the_settings() -> None:
    for config in (
        RepairConfig(),
        RepairConfig(use_label=False),
        RepairConfig(t0=8, w_si=20),
        RepairConfig(guidance=12),
        RepairConfig(method="inpaint", guidance=9, mask_quantile=0.95, t0=999),
    ):
        made = variants(config)
        assert made[0] == config and len(made) >= 3
        assert len({m.model_dump_json() for m in made}) == len(made)
        for m in made:  # a copy is not validated by itself
            assert RepairConfig(**m.model_dump()) == m
    photograph = RepairConfig(method="inpaint", transfer="delta", step_size=0.0, t0=900)
    masks = [c.mask_quantile for c in variants(photograph)]
    assert min(masks) < photograph.mask_quantile < max(masks)
    assert {c.decode_from for c in variants(photograph)} == {"inversion", "mean"}
    assert {c.decode_from for c in variants(RepairConfig())} == {"inversion"}
    assert {c.w_si for c in variants(photograph)} == {photograph.w_si}  # it would change nothing
    # what a generator without labels ignores is not tried; its probe is
    unconditional = variants(RepairConfig(), conditioned=False, probed=True)
    assert {m.guidance for m in unconditional} == {RepairConfig().guidance}
    assert len({m.probe_margin for m in unconditional}) == 3


scores = st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])] * 3)


@settings(max_examples=100)
@given(st.lists(scores, min_size=1, max_size=8))
def test_the_front_is_what_nothing_beats(found: list[tuple[float, float, float]]) -> None:
    edits = [edit(*s) for s in found]
    front = pareto(edits, CLASSES)
    assert front
    for e in edits:
        beaten = any(
            objectives(o, CLASSES) != objectives(e, CLASSES)
            and all(
                x >= y for x, y in zip(objectives(o, CLASSES), objectives(e, CLASSES), strict=True)
            )
            for o in edits
        )
        assert (e in front) is not beaten


def test_a_flagged_first_gives_way_to_the_judge_then_to_few_flags_then_to_the_person() -> None:
    flag = {"adversarial": "x"}
    first = edit(0.1, 0.99, 0.1, flags=flag)
    agrees = edit(0.9, 0.8, 0.3, flags={"blurred": "x"})
    assert propose([first, agrees], CLASSES) is agrees
    clean = edit(0.7, 0.7, 0.3)
    same = edit(0.6, 0.9, 0.4)
    assert propose([first, agrees, clean, same], CLASSES) is same
    assert propose([first], CLASSES) is first
    better = edit(0.99, 0.99, 0.05)
    assert propose([first, clean, better], CLASSES) is better


def test_without_a_face_likeness_counts() -> None:
    assert objectives(edit(0.5, 0.0, 0.2, identity=None), CLASSES)[1] == 0.5


def test_flagged_edits_are_tried_again_and_the_proposed_stand_in_the_queue(run_copy: Path) -> None:
    # with too little guidance some wrong labels stay, and the judge disagrees
    unguided = change(Run.open(run_copy).config, {"repair": {"guidance": 0.6}})
    before = Run(run_copy, unguided)
    there = {s: len(versions_of(before, s)) for s in open_training(before).ids.tolist()}
    for _ in REPAIR.compute(before):
        pass
    one = read_json(REPAIR.folder(before) / "versions.json")
    flagged = {s for s, v in one.items() if load_edit(before, s, v).flags}
    assert flagged and len(flagged) < len(one)
    run = Run(run_copy, change(unguided, {"repair": {"tries": "flagged"}}))
    assert REPAIR.key(run) != REPAIR.key(before)
    events = list(REPAIR.compute(run))
    several = [e for e in events if e.stage == "several"]
    assert several[-1].done == several[-1].total == len(flagged)
    two = read_json(REPAIR.folder(run) / "versions.json")
    for sample, version in one.items():
        tried = len(versions_of(run, sample)) - there[sample]
        assert tried == (len(variants(run.config.repair)) if sample in flagged else 1)
        assert sample in flagged or two[sample] == version
    agree = [
        sum(load_edit(run, s, v).judge_after[list_index(run, s, v)] > 0.5 for s, v in t.items())
        for t in (one, two)
    ]
    assert agree[1] >= agree[0]
    # and again: nothing is edited a second time
    assert not any(e.values for e in REPAIR.compute(run))


def test_the_smallest_change_that_the_checkpoints_see_stands_in_the_queue(run_copy: Path) -> None:
    base = change(Run.open(run_copy).config, {"repair": {"t0": 500, "tries": "smallest"}})
    run = Run(run_copy, base)
    grid = t0_schedule(run.config.repair)
    assert [c.t0 for c in grid] == [415, 460, 500]
    # killed between two levels, it goes on
    events = REPAIR.compute(run)
    next(e for e in events if e.stage == "several" and e.done)
    events.close()
    assert not REPAIR.folder(run).done
    list(REPAIR.compute(run))
    repairer = Repairer(run)
    chosen = read_json(REPAIR.folder(run) / "versions.json")
    before = {c.t0: 0 for c in grid}
    seconds = 0.0
    for sample, version in chosen.items():
        position = repairer.train.position(sample)
        levels = [repairer.version(position, c) for c in grid]
        made = [v for v in levels if v in versions_of(run, sample)]
        assert made == levels[: len(made)], "from a low t0 upwards, and no higher than needed"
        ratios = [
            float(repairer.label_ratio(np.array([position]), read_edit(run, sample, v)[None])[0])
            for v in made
        ]
        seconds += sum(load_edit(run, sample, v).seconds for v in made)
        assert all(ratio < run.config.repair.reached for ratio in ratios[:-1])
        assert len(made) == len(grid) or ratios[-1] >= run.config.repair.reached
        assert version == made[int(np.argmax(ratios))]
        before[load_edit(run, sample, version).settings["t0"]] += 1
    assert sum(n > 0 for n in before.values()) > 1, "pictures differ in the t0 that they need"
    figures = summarise(run)["repair"]
    assert figures["seconds_per_image"] == pytest.approx(seconds / len(chosen))
    # and again: nothing is edited a second time
    assert not any(e.values for e in REPAIR.compute(run))


def test_t0_rises_to_the_configured_one_and_holds_the_steps() -> None:
    config = RepairConfig(t0=600, steps=8)
    assert [c.t0 for c in t0_schedule(config)] == [498, 552, 600] and t0_schedule(config)[
        -1
    ] == config
    assert [c.t0 for c in t0_schedule(RepairConfig(t0=600, steps=100))] == [498, 552, 600]
    assert [c.t0 for c in t0_schedule(RepairConfig(t0=60, steps=58))] == [58, 60]


def test_what_ends_the_search_is_in_the_key_only_where_it_counts(run_copy: Path) -> None:
    config = Run.open(run_copy).config

    def key(**repair: Any) -> str:
        return REPAIR.folder(Run(run_copy, change(config, {"repair": repair}))).key

    assert key(reached=3.0) == key()
    assert key(reached=3.0, tries="smallest") != key(tries="smallest") != key()


def test_the_label_ratio_is_one_of_mean_probabilities(run_copy: Path) -> None:
    repairer = Repairer(Run.open(run_copy))
    positions = np.arange(3)
    images = repairer.train.images(positions)
    probabilities = repairer._class_probabilities(to_tensor(images)).detach().numpy()
    for k, (row, p) in enumerate(zip(probabilities, positions, strict=True)):
        y = int(repairer.train.labels[p])
        want = row[y] / max(row[i] for i in range(len(row)) if i != y)
        assert repairer.label_ratio(positions, images)[k] == pytest.approx(want, rel=1e-4)


def list_index(run: Run, sample: str, version: str) -> int:
    classes = read_json(next((run.root / "stages").glob("data-*")) / "classes.json")
    return classes.index(load_edit(run, sample, version).label)


def test_the_engine_ends_with_the_proposed_version(run_copy: Path) -> None:
    engine = open_run(run_copy)
    sample = engine.queue["id"].iloc[0]
    found = [e for e in engine.repair.best_of(sample, {"steps": 2}) if isinstance(e, Edit)]
    *tried, proposed = found
    assert len(tried) == len(variants(engine.config.repair))
    assert proposed == propose(tried, engine.training.classes)
    assert {e.version for e in tried} <= set(engine.pictures.versions(sample))
    with pytest.raises(DiffInfError, match="w_id"):
        next(engine.repair.best_of(sample, {"w_id": -1}))


def test_an_edit_towards_another_label_cannot_be_accepted(run_copy: Path) -> None:
    engine = open_run(run_copy)
    row = engine.queue.iloc[0]
    file = run_copy / "edits" / str(row["id"]) / str(row["version"]) / "edit.json"
    record = read_json(file)
    other = next(c for c in engine.training.classes if c != record["label"])
    write_json(file, {**record, "label": other})
    with pytest.raises(DiffInfError, match=f"shows '{other}'"):
        engine.review.decide(str(row["id"]), "accept", "t", version=str(row["version"]))
    assert not engine.review.decisions()
