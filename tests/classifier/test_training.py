"""Training of the classifier: the same every time, stopped or not, and honest about its signals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.classifier import stage
from diffinf_core.classifier.network import IMAGENET_FILE, build_classifier
from diffinf_core.classifier.training import (
    SIGNAL_COLUMNS,
    _augment,
    learning_rate,
    load_classifier,
    predict_probabilities,
    read_ahead,
    snapshot_epochs,
    train_classifier,
)
from diffinf_core.config import ClassifierConfig, make_config
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import read_json, read_tensors
from diffinf_core.runs.run import Run

CLASSES = 3


@dataclass
class Toy:
    """Pictures whose colour gives the class away, with noise."""

    pictures: Tensor
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def tensors(self, positions: Sequence[int] | NDArray[np.int64]) -> Tensor:
        return self.pictures[torch.as_tensor(np.asarray(positions))]


def toy(n: int, seed: int = 0, strength: float = 0.6) -> Toy:
    """A separable set of n pictures of 16 pixels."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % CLASSES
    pictures = 0.5 * torch.randn(n, 3, 16, 16, generator=draw)
    pictures[torch.arange(n), labels] += strength
    return Toy(pictures.clamp(-1, 1), labels.numpy())


def config(**over: Any) -> ClassifierConfig:
    """A training of a second."""
    return ClassifierConfig(**{"epochs": 4, "checkpoints": 2, "batch_size": 16, **over})


def train(folder: Path, data: Toy, c: ClassifierConfig, **more: Any) -> list[Progress]:
    """Train to the end."""
    return list(train_classifier(data, CLASSES, c, folder, **more))


def weights(file: Path) -> dict[str, Tensor]:
    """The weights in a file."""
    return read_tensors(file)["net"]


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# ---------------------------------------------------------------- learning


def test_the_loss_falls_and_unseen_pictures_are_told_apart(tmp_path: Path) -> None:
    data, other = toy(90), toy(60, seed=1)
    train(tmp_path, data, config(epochs=6), validation=other)
    history = read_json(tmp_path / "history.json")
    losses = [row["train_loss"] for row in history]
    assert losses[-1] < 0.3 * losses[0] and losses[0] < 2 * np.log(CLASSES)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1]["train_agreement"] > 0.95 and history[-1]["val_accuracy"] > 0.9
    net = load_classifier(tmp_path / "final.pt", "small", CLASSES)
    p = predict_probabilities(net, other)
    assert p.shape == (60, CLASSES) and p.dtype == np.float64
    np.testing.assert_allclose(p.sum(1), 1)
    assert (p.argmax(1) == other.labels).mean() == history[-1]["val_accuracy"]
    assert -np.log(p[np.arange(60), other.labels]).mean() == pytest.approx(history[-1]["val_loss"])


def test_progress_counts_every_step_to_the_end(tmp_path: Path) -> None:
    events = train(tmp_path, toy(40), config(epochs=2, checkpoints=1), note="hello")
    assert [e.done for e in events] == [1, 2, 3, 3, 4, 5, 6, 6]
    assert {e.total for e in events} == {6} and {e.note for e in events} == {"hello"}


# ---------------------------------------------------------------- repeatable


def step_by_step(data: Toy, c: ClassifierConfig) -> tuple[dict[str, Tensor], NDArray[np.float32]]:
    """The training written down plainly: each batch is read when it is its turn."""
    torch.manual_seed(c.seed)
    net = build_classifier(c.architecture, CLASSES).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(net.parameters(), c.learning_rate)
    draw = torch.Generator().manual_seed(c.seed + 1)
    labels = torch.from_numpy(data.labels)
    signals = np.zeros((c.epochs, len(data), len(SIGNAL_COLUMNS)), np.float32)
    for epoch in range(c.epochs):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(c, epoch)
        net.train()
        for rows in torch.randperm(len(data), generator=draw).split(c.batch_size):
            x, y = data.tensors(rows.numpy()), labels[rows]
            logits = net(_augment(x, draw) if c.augment else x)
            loss = F.cross_entropy(logits, y, reduction="none")
            optimiser.zero_grad()
            loss.mean().backward()
            optimiser.step()
            with torch.no_grad():
                own = logits[torch.arange(len(y)), y]
                hot = F.one_hot(y, CLASSES)
                margin = own - logits.masked_fill(hot.bool(), -torch.inf).amax(1)
                el2n = (F.softmax(logits, 1) - hot.float()).norm(dim=1)
                signals[epoch, rows.numpy()] = torch.stack([loss, margin, el2n], 1).numpy()
    return net.state_dict(), signals


@pytest.mark.parametrize("augment", [False, True])
def test_reading_ahead_changes_no_bit(tmp_path: Path, augment: bool) -> None:
    data, c = toy(48), config(epochs=2, checkpoints=1, augment=augment)
    train(tmp_path, data, c)
    state, signals = step_by_step(data, c)
    assert equal(weights(tmp_path / "final.pt"), state)
    np.testing.assert_array_equal(np.load(tmp_path / "signals.npy"), signals)


def test_batches_are_read_ahead_but_not_far(tmp_path: Path) -> None:
    read: list[int] = []

    class Counting(Toy):
        def tensors(self, positions: Sequence[int] | NDArray[np.int64]) -> Tensor:
            read.append(int(positions[0]))
            return super().tensors(positions)

    data = toy(60)
    batches = list(torch.arange(60).split(4))
    ahead = read_ahead(Counting(data.pictures, data.labels), batches, torch.device("cpu"))
    assert torch.equal(next(ahead), data.pictures[:4])
    assert len(read) <= 3, "what waits in memory is bounded"
    assert torch.equal(torch.cat(list(ahead)), data.pictures[4:])
    assert read == list(range(0, 60, 4)), "in their order, each once"


def test_a_picture_that_cannot_be_read_ends_the_training(tmp_path: Path) -> None:
    class Broken(Toy):
        def tensors(self, positions: Sequence[int] | NDArray[np.int64]) -> Tensor:
            if 20 in positions:
                raise DiffInfError("picture 20 is damaged")
            return super().tensors(positions)

    data = toy(40)
    with pytest.raises(DiffInfError, match="picture 20 is damaged"):
        train(tmp_path, Broken(data.pictures, data.labels), config())
    assert not (tmp_path / "final.pt").exists()


@pytest.mark.parametrize(
    "over", [{}, {"augment": True, "schedule": "cosine"}], ids=["plain", "all"]
)
def test_the_same_seed_gives_the_same_bits_and_another_does_not(
    tmp_path: Path, over: dict[str, Any]
) -> None:
    data = toy(40)
    for before, (name, seed) in enumerate((("a", 3), ("b", 3), ("c", 4))):
        torch.manual_seed(before)  # what was drawn before must not matter
        train(tmp_path / name, data, config(seed=seed, **over))
    for file in ("final.pt", "epoch-002.pt", "epoch-004.pt"):
        assert equal(weights(tmp_path / "a" / file), weights(tmp_path / "b" / file))
        assert not equal(weights(tmp_path / "a" / file), weights(tmp_path / "c" / file))
    signals = [(tmp_path / name / "signals.npy").read_bytes() for name in "abc"]
    assert signals[0] == signals[1] != signals[2]


@pytest.mark.parametrize("steps", [1, 4, 5, 7, 11])
@pytest.mark.parametrize("augment", [False, True])
def test_a_training_stopped_anywhere_ends_like_an_undisturbed_one(
    tmp_path: Path, steps: int, augment: bool
) -> None:
    """40 pictures in batches of 16 are four events an epoch: three steps and its end."""
    data, c = toy(40), config(augment=augment, epochs=3, checkpoints=3)
    train(tmp_path / "whole", data, c, validation=toy(30, seed=1))

    def begin() -> Iterator[Progress]:
        return train_classifier(data, CLASSES, c, tmp_path / "cut", toy(30, seed=1))

    events = begin()
    for _ in range(steps):
        next(events)
    events.close()
    assert not (tmp_path / "cut" / "final.pt").exists()
    torch.randn(5)
    rest = list(begin())
    # Whole epochs before the stop are not trained again.
    assert rest[0].done == (steps // 4) * 3 + 1
    for file in ("final.pt", "epoch-001.pt", "epoch-002.pt", "epoch-003.pt"):
        assert equal(weights(tmp_path / "whole" / file), weights(tmp_path / "cut" / file)), file
    for file in ("signals.npy", "history.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()
    names = [{p.name for p in (tmp_path / d).iterdir()} for d in ("whole", "cut")]
    assert names[0] == names[1] and "last.pt" not in names[0]


def test_a_training_stopped_twice_in_different_epochs_ends_the_same(tmp_path: Path) -> None:
    data, c = toy(40), config()
    train(tmp_path / "whole", data, c)
    for steps in (6, 5):
        events = train_classifier(data, CLASSES, c, tmp_path / "cut")
        for _ in range(steps):
            next(events)
        events.close()
    train(tmp_path / "cut", data, c)
    assert equal(weights(tmp_path / "whole" / "final.pt"), weights(tmp_path / "cut" / "final.pt"))


# ---------------------------------------------------------------- signals


def test_logged_signals_equal_a_direct_recomputation(tmp_path: Path) -> None:
    """A plain loop that knows only the definitions: mean loss, AUM's margin and EL2N."""
    data, c = toy(40, strength=0.2), config(epochs=3, checkpoints=1, schedule="cosine")
    train(tmp_path, data, c)
    found = np.load(tmp_path / "signals.npy")
    assert found.shape == (3, 40, 3) and SIGNAL_COLUMNS == ("loss", "margin", "el2n")

    torch.manual_seed(c.seed)
    net = build_classifier("small", CLASSES).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.Adam(net.parameters(), c.learning_rate)
    draw = torch.Generator().manual_seed(c.seed + 1)
    for epoch in range(3):
        for group in optimiser.param_groups:
            group["lr"] = c.learning_rate * max(0.02, (1 + np.cos(np.pi * epoch / 3)) / 2)
        order = torch.randperm(40, generator=draw)
        for start in range(0, 40, 16):
            rows = order[start : start + 16]
            y = torch.from_numpy(data.labels)[rows]
            logits = net(data.tensors(rows.numpy()))
            p = logits.detach().double().softmax(1).numpy()
            for i, row in enumerate(rows.tolist()):
                z, label = logits[i].detach().numpy(), int(y[i])
                loss = -np.log(p[i, label])
                margin = z[label] - max(z[k] for k in range(CLASSES) if k != label)
                el2n = np.sqrt(sum((p[i, k] - (k == label)) ** 2 for k in range(CLASSES)))
                np.testing.assert_allclose(found[epoch, row], [loss, margin, el2n], atol=2e-5)
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(logits, y).backward()
            optimiser.step()
    assert equal(net.state_dict(), weights(tmp_path / "final.pt"))


def test_wrong_labels_stand_out_in_every_signal(tmp_path: Path) -> None:
    data = toy(90)
    wrong = np.arange(0, 90, 10)
    data.labels[wrong] = (data.labels[wrong] + 1) % CLASSES
    train(tmp_path, data, config(epochs=6))
    loss, margin, el2n = np.load(tmp_path / "signals.npy").mean(0).T
    right = np.setdiff1d(np.arange(90), wrong)
    for high in (loss, -margin, el2n):
        assert np.median(high[wrong]) > np.quantile(high[right], 0.95)


def test_a_picture_left_over_in_an_epoch_is_not_logged_as_perfectly_learnt(tmp_path: Path) -> None:
    train(tmp_path, toy(33), config(epochs=2, checkpoints=1))
    found = np.load(tmp_path / "signals.npy")
    assert not (found == 0).all(2).any()


def test_an_odd_last_picture_does_not_stop_the_training(tmp_path: Path) -> None:
    events = train(tmp_path, toy(33), config(epochs=2, checkpoints=1))
    assert events[-1].done == events[-1].total
    assert all(torch.isfinite(v).all() for v in weights(tmp_path / "final.pt").values())


# ---------------------------------------------------------------- snapshots and rates


@settings(max_examples=200)
@given(epochs=st.integers(1, 300), data=st.data())
def test_snapshots_come_at_regular_intervals_and_the_last_is_the_end(
    epochs: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, epochs))
    found = snapshot_epochs(ClassifierConfig(epochs=epochs, checkpoints=count))
    assert len(found) == len(set(found)) == count
    assert found == sorted(found) and found[0] >= 1 and found[-1] == epochs
    assert np.abs(np.diff([0, *found]) - epochs / count).max() <= 1


def test_a_snapshot_holds_the_weights_and_the_rate_of_its_epoch(tmp_path: Path) -> None:
    c = config(epochs=4, checkpoints=2, schedule="cosine")
    train(tmp_path, toy(40), c)
    assert sorted(p.name for p in tmp_path.glob("epoch-*.pt")) == ["epoch-002.pt", "epoch-004.pt"]
    history = read_json(tmp_path / "history.json")
    for epoch in (2, 4):
        state = read_tensors(tmp_path / f"epoch-{epoch:03d}.pt")
        assert state["learning_rate"] == learning_rate(c, epoch - 1) and state["epoch"] == epoch
        assert state["learning_rate"] == history[epoch - 1]["learning_rate"]
    assert equal(weights(tmp_path / "epoch-004.pt"), weights(tmp_path / "final.pt"))
    assert not equal(weights(tmp_path / "epoch-002.pt"), weights(tmp_path / "final.pt"))


def test_snapshots_can_be_left_out(tmp_path: Path) -> None:
    train(tmp_path, toy(40), config(epochs=2), keep_snapshots=False)
    assert not list(tmp_path.glob("epoch-*.pt")) and (tmp_path / "final.pt").exists()


def test_the_rate_is_constant_or_falls_along_a_cosine() -> None:
    constant = config(epochs=10, learning_rate=0.01)
    assert {learning_rate(constant, e) for e in range(10)} == {0.01}
    cosine = config(epochs=10, learning_rate=0.01, schedule="cosine")
    rates = [learning_rate(cosine, e) for e in range(10)]
    assert rates[0] == 0.01 and rates[5] == pytest.approx(0.005)
    assert rates == sorted(rates, reverse=True) and rates[-1] >= 0.0002


def test_training_that_diverges_says_which_key_to_turn(tmp_path: Path) -> None:
    data = toy(40)
    data.pictures[7] = torch.nan
    with pytest.raises(DiffInfError, match=r"classifier\.learning_rate"):
        train(tmp_path, data, config())
    assert not (tmp_path / "final.pt").exists()


# ---------------------------------------------------------------- loading and augmenting


def test_a_loaded_classifier_is_frozen_in_evaluation_mode_and_fits_its_file(tmp_path: Path) -> None:
    train(tmp_path, toy(40), config(epochs=1, checkpoints=1))
    net = load_classifier(tmp_path / "final.pt", "small", CLASSES)
    assert not net.training and not any(p.requires_grad for p in net.parameters())
    assert equal(net.state_dict(), weights(tmp_path / "final.pt"))
    with pytest.raises(DiffInfError, match=r"final\.pt does not fit a 'small' classifier with 4"):
        load_classifier(tmp_path / "final.pt", "small", 4)
    with pytest.raises(DiffInfError, match=r"final\.pt does not fit a 'resnet18'"):
        load_classifier(tmp_path / "final.pt", "resnet18", CLASSES)


def test_features_and_the_output_layer_make_the_logits() -> None:
    net = build_classifier("small", 4).eval()
    x = torch.randn(2, 3, 32, 32)
    g = net.features(x)
    assert g.shape == (2, net.feature_width) and (g >= 0).all()
    torch.testing.assert_close(net.output(g), net(x))


def test_imagenet_weights_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.pth").write_text("nothing")
    with pytest.raises(DiffInfError, match=r"bad\.pth is not a readable file"):
        build_classifier("resnet18", 3, tmp_path / "bad.pth")


def test_augmenting_flips_some_pictures_and_shifts_by_at_most_four_per_cent() -> None:
    x = torch.linspace(-1, 1, 64).expand(32, 3, 64, 64).contiguous()
    seen = set()
    for seed in range(30):
        y = _augment(x, torch.Generator().manual_seed(seed))
        assert y.shape == x.shape
        rising = y[:, 0, 0, -1] > y[:, 0, 0, 0]
        assert 0 < rising.sum() < 32
        # The middle of an unflipped ramp tells the shift in pixels.
        shift = ((y[rising][0, 0, 32, 32] - x[0, 0, 32, 32]) / (2 / 63)).round().item()
        seen.add(shift)
    assert max(seen) <= 3 and min(seen) >= -3 and len(seen) > 3


def test_weights_put_in_place_make_another_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run trained from scratch must not pass for one that started from ImageNet."""
    monkeypatch.setenv("DIFFINF_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    run = Run(tmp_path, make_config("paper-age", {"data": {"path": str(tmp_path)}}))
    small = Run(tmp_path, make_config("demo"))
    before = [stage.CLASSIFIER.key(r) for r in (run, small)]
    (tmp_path / "weights" / IMAGENET_FILE).write_bytes(b"weights")
    after = [stage.CLASSIFIER.key(r) for r in (run, small)]
    assert after[0] != before[0] and after[1] == before[1]
