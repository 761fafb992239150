"""The training sets of the controls: each differs from the noisy one where it says, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diffinf_core.baselines import CONTROLS, make_method
from diffinf_core.correction.quality import JUDGE_AGREES
from diffinf_core.data.part import Part, open_training
from diffinf_core.data.truth import open_truth
from diffinf_core.experiments.controls import (
    EDITING,
    build_set,
    distances,
    edited_by,
    edits_of,
    prepare_set,
    set_key,
)
from diffinf_core.influence.stage import ranking
from diffinf_core.records import DiffInfError
from diffinf_core.review.training_set import TrainingSet
from diffinf_core.runs.run import Run
from diffinf_core.runs.seal import seal


@pytest.fixture(scope="module")
def run(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with the edits of every control."""
    import shutil

    root = tmp_path_factory.mktemp("controls") / "run"
    shutil.copytree(finished_run, root)
    run = Run.open(root)
    for name in CONTROLS:
        list(prepare_set(run, name))
    return run


def made(run: Run, name: str) -> TrainingSet:
    """The set of a control."""
    out = build_set(run, make_method(name))
    assert isinstance(out, TrainingSet)
    return out


def known(run: Run) -> tuple[Part, np.ndarray, np.ndarray, np.ndarray]:
    """Training split, clean labels, which are wrong, which are high-influence."""
    truth = open_truth(run, "benchmark").training()
    assert truth is not None
    return open_training(run), *truth, ranking(run)["high"].to_numpy()


def test_relabelled_sets_keep_every_picture(run: Run) -> None:
    train, clean, wrong, high = known(run)
    assert wrong.any() and high.any()
    true = made(run, "true_relabel")
    np.testing.assert_array_equal(true.labels, np.where(high, clean, train.labels))
    network = made(run, "network_relabel")
    np.testing.assert_array_equal(network.labels[~high], train.labels[~high])
    assert set(network.labels[high].tolist()) <= set(range(len(train.classes)))
    np.testing.assert_array_equal(made(run, "clean").labels, clean)
    for each in (true, network):
        assert len(each) == len(train) and (each.edited == -1).all()


def test_oracle_removal_drops_as_many_and_only_wrong_ones(run: Run) -> None:
    train, _, wrong, high = known(run)
    oracle = made(run, "oracle_removal")
    dropped = np.setdiff1d(np.arange(len(train)), oracle.positions)
    assert len(dropped) == min(high.sum(), wrong.sum()) and wrong[dropped].all()
    np.testing.assert_array_equal(oracle.labels, train.labels[oracle.positions])
    order = ranking(run)["rank"].to_numpy()
    left = np.flatnonzero(wrong & ~np.isin(np.arange(len(train)), dropped))
    assert not len(left) or order[dropped].max() < order[left].min()


def test_edits_stand_for_the_high_influence_pictures_alone(run: Run) -> None:
    train, _, _, high = known(run)
    for name in ("repair", "reconstruction", "classifier_guided", "h_only"):
        data = made(run, name)
        np.testing.assert_array_equal(data.edited >= 0, high)
        np.testing.assert_array_equal(data.labels, train.labels)
        assert (data.images(np.flatnonzero(~high)) == train.images(np.flatnonzero(~high))).all()
    keys = {str(set_key(run, name)) for name in (*EDITING, "clean", "oracle_removal")}
    assert len(keys) == len(EDITING) + 1, "a perfect reviewer starts from the same edits as repair"


def test_reconstruction_is_the_decoding_of_the_inversion(run: Run) -> None:
    from diffinf_core.correction.edits import read_edit

    by = edited_by(run, "reconstruction")
    for edit in edits_of(run, "reconstruction"):
        picture = read_edit(by, edit.sample, edit.version).astype(int)
        plain = read_edit(by, edit.sample, edit.version, "reconstruction").astype(int)
        # the picture is stored after a guided loop, whose arithmetic is not the same to the last bit
        assert np.abs(picture - plain).max() <= 1


def test_a_perfect_reviewer_keeps_accepts_or_relabels(run: Run) -> None:
    train, clean, wrong, _ = known(run)
    data = made(run, "perfect_review")
    assert len(data) == len(train)
    for edit in edits_of(run, "repair"):
        at = train.position(edit.sample)
        if not wrong[at]:
            assert data.edited[at] == -1 and data.labels[at] == train.labels[at]
        elif edit.judge_after[train.labels[at]] >= JUDGE_AGREES:
            assert data.edited[at] >= 0 and data.labels[at] == train.labels[at]
        else:
            assert data.edited[at] == -1 and data.labels[at] == clean[at]


def test_controls_that_use_the_truth_say_so_and_cannot_be_made_under_a_seal(run: Run) -> None:
    needy = {name for name, kind in CONTROLS.items() if kind.needs.truth}
    assert needy == {"oracle_removal", "true_relabel", "perfect_review", "clean"}
    for name in CONTROLS:
        if not CONTROLS[name].needs.refined:
            continue
        with seal():
            if name in needy:
                with pytest.raises(DiffInfError, match="closed to training"):
                    build_set(run, make_method(name))
            else:
                build_set(run, make_method(name))


def test_without_truth_or_edits_a_sentence_says_so(run_copy: Path) -> None:
    run = Run.open(run_copy)
    with pytest.raises(
        DiffInfError, match=r"h-only editing needs the edits of .*; repair it first"
    ):
        build_set(run, make_method("h_only"))
    next(run.root.glob("stages/data-*/truth/*.csv")).unlink()
    with pytest.raises(DiffInfError, match="Oracle removal needs the true labels, and nobody"):
        build_set(run, make_method("oracle_removal"))
    with pytest.raises(DiffInfError, match="makes no training set for Noisy"):
        build_set(run, make_method("noisy"))


def test_distances_are_means_over_the_edits_of_a_class(run: Run) -> None:
    found = distances(run, ["noisy", "repair", "perfect_review", "reconstruction"])
    assert {r["method"] for r in found} == {"repair", "reconstruction"}
    for record in found:
        own = [e for e in edits_of(run, record["method"]) if e.label == record["label"]]
        assert record["n"] == len(own)
        assert record["mean"] == pytest.approx(np.mean([e.perceptual for e in own]))
