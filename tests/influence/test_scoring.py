"""Scoring: which checkpoints, in slices and batches that fit, and what can go wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from diffinf_core.classifier.network import build_classifier
from diffinf_core.classifier.stage import CLASSIFIER
from diffinf_core.data.part import open_training
from diffinf_core.influence import batching
from diffinf_core.influence.checkpoints import checkpoint_epochs, last_useful_epoch
from diffinf_core.influence.scoring import GRADIENTS, Scorer
from diffinf_core.influence.stage import INFLUENCE, read_scores
from diffinf_core.records import DiffInfError
from diffinf_core.runs import slices
from diffinf_core.runs.files import read_tensors, write_json, write_tensors
from diffinf_core.runs.run import Run, StageFolder
from tests.influence.runs import forget, with_influence

# ---------------------------------------------------------------- checkpoints


@pytest.mark.parametrize(
    "losses,epochs",
    [([4, 3, 2, 1], [1, 2, 3, 4]), ([4, 3, 1, 2], [1, 2, 3]), ([1, 2, 3, 4], [1, 2]),
     ([2, 1, 1, 3], [1, 2])],
)  # fmt: skip
def test_the_early_rule_stops_at_the_lowest_validation_loss(
    copy: Callable[[], Run], losses: list[float], epochs: list[int]
) -> None:
    run = with_influence(copy(), checkpoint_rule="early")
    history = [{"epoch": i + 1, "val_loss": value} for i, value in enumerate(losses)]
    write_json(CLASSIFIER.folder(run) / "history.json", history)
    assert checkpoint_epochs(run) == epochs
    assert checkpoint_epochs(with_influence(run, checkpoint_rule="all")) == [1, 2, 3, 4]


def test_the_early_rule_has_scores_of_its_own(copy: Callable[[], Run]) -> None:
    run = with_influence(copy(), checkpoint_rule="early")
    history = [{"epoch": i + 1, "val_loss": v} for i, v in enumerate([2, 1, 3, 4])]
    write_json(CLASSIFIER.folder(run) / "history.json", history)
    everything = read_scores(with_influence(run, checkpoint_rule="all"))
    with pytest.raises(DiffInfError, match="not ranked yet"):
        read_scores(run)
    for _ in INFLUENCE.compute(run):
        pass
    early = read_scores(run)
    assert INFLUENCE.folder(run).figures["checkpoint_epochs"] == [1, 2]
    assert (early["self_influence"] < everything["self_influence"]).all()
    logged = np.load(CLASSIFIER.folder(run) / "signals.npy").astype(float)
    np.testing.assert_allclose(early["mean_loss"], logged[:2, :, 0].mean(0), rtol=1e-5)


# ---------------------------------------------------------------- which checkpoints


@pytest.mark.parametrize(
    "train,val,epoch",
    [
        ([0.3, 0.5, 0.6, 0.7], [0.3, 0.5, 0.6, 0.7], 4),  # fits no better than it generalises
        ([0.3, 0.5, 0.7, 0.9], [0.3, 0.5, 0.6, 0.6], 2),
        ([0.3, 0.5, 0.9, 0.6], [0.3, 0.5, 0.6, 0.6], 2),  # once is enough
        ([0.9, 0.9, 0.9, 0.9], [0.3, 0.5, 0.6, 0.6], 0),
    ],
)
def test_the_agreement_rule_stops_where_the_fit_outruns_validation(
    train: list[float], val: list[float], epoch: int
) -> None:
    curve = [
        {"epoch": i + 1, "train_agreement": t, "val_accuracy": v, "val_loss": 1.0}
        for i, (t, v) in enumerate(zip(train, val, strict=True))
    ]
    assert last_useful_epoch(curve, "agreement") == epoch
    assert last_useful_epoch(curve, "all") == 4


def test_the_agreement_rule_keeps_two_checkpoints_at_least(copy: Callable[[], Run]) -> None:
    run = with_influence(copy(), checkpoint_rule="agreement")
    history = [{"epoch": e, "train_agreement": 1.0, "val_accuracy": 0.0} for e in (1, 2, 3, 4)]
    write_json(CLASSIFIER.folder(run) / "history.json", history)
    assert checkpoint_epochs(run) == [1, 2]


# ---------------------------------------------------------------- slices


def test_a_stopped_scoring_goes_on_with_the_next_slice(
    copy: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE", 32)
    scored: list[int] = []
    terms = Scorer.__call__

    def counting(self: Scorer, train: Any, positions: np.ndarray, batch: int) -> np.ndarray:
        scored.append(int(positions[0]))
        return terms(self, train, positions, batch)

    monkeypatch.setattr(Scorer, "__call__", counting)
    whole, cut = copy("whole"), copy("cut")
    for run in (whole, cut):
        forget(run, 32)
    n = len(open_training(cut))
    assert n > 64
    events = INFLUENCE.compute(cut)
    assert [next(events).done for _ in range(3)] == [0, 32, 64]
    events.close()
    assert not INFLUENCE.folder(cut).done
    scored.clear()
    again = INFLUENCE.compute(cut)
    assert next(again).done == 64, "what is there is one event, so that it does not pass for speed"
    for _ in again:
        pass
    assert scored == list(range(64, n, 32))
    for _ in INFLUENCE.compute(whole):
        pass
    files = [(INFLUENCE.folder(r) / "scores.csv").read_bytes() for r in (whole, cut)]
    assert files[0] == files[1]


def test_slices_give_the_scores_of_one_piece(ranked: Run, copy: Callable[[], Run]) -> None:
    run = copy()
    forget(run, 50)
    for _ in INFLUENCE.compute(run):
        pass
    found, known = read_scores(run), read_scores(ranked)
    pd.testing.assert_frame_equal(found, known, rtol=2e-3)


# ---------------------------------------------------------------- batches that fit


class Wide(torch.nn.Module):
    """Keeps its input of 1000 doubles for the way back."""

    def __init__(self) -> None:
        super().__init__()
        self.out = torch.nn.Linear(1000, 3).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x.exp())


def test_the_memory_of_a_sample_is_counted_without_the_weights() -> None:
    net, x = Wide(), torch.randn(4, 1000).double()
    kept = batching.bytes_per_sample(net, x)
    assert 8000 <= kept < 12000, "exp keeps its result; the weight of 24 kB is not a sample's"


@pytest.mark.parametrize("free,batch", [(10**12, 64), (40 * 2 * 9000, 8), (1, 1)])
def test_the_batch_is_a_power_of_two_that_fits(
    monkeypatch: pytest.MonkeyPatch, free: int, batch: int
) -> None:
    monkeypatch.setattr(batching, "free_memory", lambda device: free)
    assert batching.fitting_batch(Wide(), torch.randn(2, 1000).double()) == batch


def test_a_resumed_stage_keeps_its_plan(copy: Callable[[], Run]) -> None:
    stage = GRADIENTS.folder(copy())
    (stage / "plan.json").unlink()
    assert slices.stored_slicing(stage, 64, lambda: 8) == slices.Slicing(64, 8)
    assert slices.stored_slicing(stage, 16, lambda: 32) == slices.Slicing(64, 8)


def test_a_batch_given_later_goes_before_the_stored_one(
    copy: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever ran out of memory can lower it; the slices that are there still fit."""
    run = copy()
    forget(run)
    batches: list[int] = []
    terms = Scorer.terms

    def looking(self: Scorer, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
        batches.append(len(x))
        return terms(self, x, y)

    monkeypatch.setattr(Scorer, "terms", looking)
    for _ in INFLUENCE.compute(with_influence(run, batch_size=5)):
        pass
    assert max(batches) == 5


def test_a_lack_of_memory_is_one_sentence(
    copy: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy()
    forget(run)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Scorer, "terms", full)
    with pytest.raises(DiffInfError, match=r"smaller influence\.batch_size"):
        for _ in INFLUENCE.compute(run):
            pass


@pytest.mark.parametrize(
    "side,checkpoints,size",
    [(64, 10, 64), (128, 10, 64), (256, 10, 16), (256, 100, 1), (32, 1, 64)],
)
def test_a_slice_is_less_the_more_work_a_sample_is(side: int, checkpoints: int, size: int) -> None:
    assert slices.slice_size(side * side, checkpoints) == size


# ---------------------------------------------------------------- what can go wrong


def rescored(run: Run) -> None:
    forget(run)
    for _ in INFLUENCE.compute(run):
        pass


def test_a_gradient_that_is_no_number_names_the_sample(copy: Callable[[], Run]) -> None:
    run = copy()
    file = CLASSIFIER.folder(run) / "epoch-003.pt"
    state = read_tensors(file)
    state["net"]["output.bias"] = torch.full_like(state["net"]["output.bias"], torch.nan)
    write_tensors(file, state)
    first = str(open_training(run).ids[0])
    with pytest.raises(DiffInfError, match=f"sample '{first}' at checkpoint 3 of 4"):
        rescored(run)
    assert not INFLUENCE.folder(run).done


def test_a_truncated_checkpoint_is_named(copy: Callable[[], Run]) -> None:
    run = copy()
    file = CLASSIFIER.folder(run) / "epoch-002.pt"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DiffInfError, match=r"epoch-002\.pt is missing, damaged") as caught:
        rescored(run)
    # what the sentence says to do does help
    folder = CLASSIFIER.folder(run).path
    assert f"remove the folder {folder} " in str(caught.value)
    shutil.rmtree(folder)
    for stage in (CLASSIFIER, INFLUENCE):
        for _ in stage.compute(run):
            pass
    assert INFLUENCE.folder(run).done


def test_a_checkpoint_of_another_architecture_is_named(copy: Callable[[], Run]) -> None:
    run = copy()
    file = CLASSIFIER.folder(run) / "epoch-002.pt"
    other = build_classifier("small", 7).state_dict()
    write_tensors(file, {"net": other, "learning_rate": 1e-3, "epoch": 2})
    with pytest.raises(DiffInfError, match=r"epoch-002\.pt is .* of another network"):
        rescored(run)


def test_pictures_are_read_a_pass_at_a_time_and_the_scores_streamed(tmp_path: Path) -> None:
    """What memory holds does not depend on how many samples there are."""
    train, n = Endless(), 1000
    snapshots = [(build_classifier("small", 3), 1e-3)] * 2
    stage = StageFolder(tmp_path, "key")

    with Scorer(snapshots) as scorer:

        def score(rows: np.ndarray) -> np.ndarray:
            return scorer(train, rows, 16)  # type: ignore[arg-type]

        for event in slices.map_slices(stage, n, 64, score, "stream", lambda: "scoring"):
            assert event.total == n and event.stage == "stream"
            assert len(list(tmp_path.glob("slice-*.npy"))) == -(-event.done // 64)
    assert train.most == 16 and train.read == n, "every picture once, whatever the checkpoints"
    assert slices.read_slices(stage, n, 64).shape == (n, 2, 2)


class Endless:
    """A training split of any length that draws its pictures when they are read."""

    def __init__(self) -> None:
        self.most = self.read = 0
        self.labels = np.zeros(100_000, np.int64)
        self.ids = np.arange(100_000).astype(str)

    def tensors(self, positions: Any) -> torch.Tensor:
        self.most = max(self.most, len(positions))
        self.read += len(positions)
        draw = torch.Generator().manual_seed(int(positions[0]))
        return torch.randn(len(positions), 3, 32, 32, generator=draw)
