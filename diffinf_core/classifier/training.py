"""Training of f_theta: cross-entropy, Adam, snapshots, and per-sample signals at no extra pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.classifier.metrics import evaluate
from diffinf_core.classifier.network import Classifier, build_classifier
from diffinf_core.config import ClassifierConfig
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.divergence import check_loss, lower
from diffinf_core.runs.files import read_json, read_tensors, write_array, write_json, write_tensors
from diffinf_core.runs.seal import under_seal
from diffinf_core.runs.workers import in_order

_BATCH_EVAL = 256
#: batches that are read before they are asked for
_AHEAD = 3
#: order of the last axis of signals.npy
SIGNAL_COLUMNS = ("loss", "margin", "el2n")


class TrainingSet(Protocol):
    """Labelled pictures by position."""

    @property
    def labels(self) -> NDArray[np.int64]: ...

    def __len__(self) -> int: ...

    def tensors(self, positions: Sequence[int] | NDArray[np.int64]) -> Tensor: ...


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def chosen_device(name: torch.device | str | None) -> torch.device:
    """A device by name, or the GPU where there is one; :class:`DiffInfError` for one that is not here."""
    if name is None:
        return device()
    try:
        where = torch.device(name)
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError) as error:  # the latter where torch is built without CUDA
        raise DiffInfError(f"The device {name} cannot be used here; try 'cpu'.") from error
    return where


def learning_rate(config: ClassifierConfig, epoch: int) -> float:
    """eta of an epoch, counted from 0."""
    if config.schedule == "constant":
        return config.learning_rate
    cosine = 0.5 * (1 + np.cos(np.pi * epoch / config.epochs))
    return config.learning_rate * max(0.02, float(cosine))


def snapshot_epochs(config: ClassifierConfig) -> list[int]:
    """Epochs, counted from 1, after which a checkpoint is kept: regular intervals, last included."""
    return [round((i + 1) * config.epochs / config.checkpoints) for i in range(config.checkpoints)]


def _augment(x: Tensor, draw: torch.Generator) -> Tensor:
    """Flip each picture at random and shift the batch by up to 4 %."""
    flip = torch.rand(len(x), generator=draw) < 0.5
    flip = flip.pin_memory() if x.is_cuda else flip
    x = torch.where(flip[:, None, None, None].to(x.device, non_blocking=True), x.flip(3), x)
    most = max(1, round(0.04 * x.shape[-1]))
    dx, dy = torch.randint(-most, most + 1, (2,), generator=draw).tolist()
    padded = F.pad(x, (most,) * 4, "replicate")
    top, left = most + dy, most + dx
    return padded[:, :, top : top + x.shape[2], left : left + x.shape[3]]


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Consecutive batches; an odd last picture, which BatchNorm cannot normalise, joins the one before."""
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def read_ahead(
    data: TrainingSet, batches: Sequence[Tensor], where: torch.device
) -> Iterator[Tensor]:
    """The pictures (B, 3, S, S) of each batch of positions, on a device; the next are read meanwhile.

    What is read, and in which order, does not depend on the thread that reads.
    """

    def read(rows: Tensor) -> Tensor:
        x = data.tensors(rows.numpy())
        return x.pin_memory() if where.type == "cuda" else x

    for x in in_order(read, batches, 1, _AHEAD, "pictures"):
        yield x.to(where, non_blocking=True)


@torch.no_grad()
def predict_probabilities(net: torch.nn.Module, data: TrainingSet) -> NDArray[np.float64]:
    """Softmax outputs (N, C) in evaluation mode."""
    net.eval()
    where = next(net.parameters()).device
    batches = list(torch.arange(len(data)).split(_BATCH_EVAL))
    parts = [F.softmax(net(x).double(), 1) for x in read_ahead(data, batches, where)]
    return torch.cat(parts).cpu().numpy()


@under_seal
def train_classifier(
    data: TrainingSet,
    classes: int,
    config: ClassifierConfig,
    folder: Path,
    validation: TrainingSet | None = None,
    pretrained: Path | None = None,
    keep_snapshots: bool = True,
    note: str = "",
    stop_after: int | None = None,
    rate_setting: str = "classifier.learning_rate",
) -> Iterator[Progress]:
    """Train from scratch into ``folder``; a killed run goes on with the epoch it had reached.

    Writes ``epoch-NNN.pt`` snapshots (weights and eta), ``signals.npy`` (epochs, N, 3) with
    :data:`SIGNAL_COLUMNS`, ``history.json``, and ``final.pt``. ``stop_after`` ends the training after
    that many epochs, on the learning rate's course over all of them. A training that diverges is
    :class:`DiffInfError` that names ``rate_setting``, the setting to lower.
    """
    if (folder / "final.pt").exists():
        return  # killed between the training and what its caller measures of it
    where = device()
    gpu = where.type == "cuda"
    torch.manual_seed(config.seed)
    net = build_classifier(config.architecture, classes, pretrained)
    net = net.to(where).to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(net.parameters(), config.learning_rate, fused=gpu)
    draw = torch.Generator().manual_seed(config.seed + 1)
    labels = torch.from_numpy(np.asarray(data.labels)).to(where)
    epochs = min(config.epochs, stop_after or config.epochs)
    signals = np.zeros((epochs, len(data), len(SIGNAL_COLUMNS)), np.float32)
    history: list[dict[str, float]] = []
    begin = 0
    last = folder / "last.pt"
    if last.exists():
        state = read_tensors(last)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        draw.set_state(state["draw"])
        begin = int(state["epoch"])
        history = read_json(folder / "history.json")[:begin]
        signals[:begin] = state["signals"].numpy()
    keep = set(snapshot_epochs(config)) if keep_snapshots else set()
    steps = len(_batches(torch.arange(len(data)), config.batch_size))
    total = epochs * steps
    for epoch in range(begin, epochs):
        rate = learning_rate(config, epoch)
        for group in optimiser.param_groups:
            group["lr"] = rate
        net.train()
        order = torch.randperm(len(data), generator=draw)
        losses = torch.zeros((), dtype=torch.float64, device=where)
        correct = torch.zeros((), dtype=torch.int64, device=where)
        logged = torch.zeros(len(data), len(SIGNAL_COLUMNS), device=where)
        batches = _batches(order, config.batch_size)
        # uploaded once per epoch: each step then takes views of what is on the device
        there = _batches(order.to(where), config.batch_size)
        for step, (rows, x) in enumerate(zip(there, read_ahead(data, batches, where), strict=True)):
            y = labels[rows]
            if config.augment:
                x = _augment(x, draw)
            with torch.autocast(where.type, torch.bfloat16, gpu):
                logits = net(x)
            loss = F.cross_entropy(logits.float(), y, reduction="none")
            optimiser.zero_grad(set_to_none=True)
            loss.mean().backward()
            optimiser.step()
            # Nothing is read back from the device before the epoch ends: each read would wait for it.
            with torch.no_grad():
                wide = logits.float()
                hot = F.one_hot(y, classes).bool()
                assigned = wide.gather(1, y[:, None])[:, 0]
                other = wide.masked_fill(hot, -torch.inf).amax(1)
                error = (F.softmax(wide, 1) - hot.float()).norm(dim=1)
                logged[rows] = torch.stack([loss, assigned - other, error], 1)
                losses += loss.sum()
                correct += (wide.argmax(1) == y).sum()
            yield Progress("classifier", epoch * steps + step + 1, total, note)
        mean, remedy = float(losses) / len(data), lower(rate_setting, config.learning_rate)
        check_loss(mean, "The classifier's training", f"epoch {epoch + 1}", remedy)
        signals[epoch] = logged.cpu().numpy()
        figures = {
            "epoch": epoch + 1,
            "learning_rate": rate,
            "train_loss": mean,
            "train_agreement": float(correct) / len(data),
        }
        if validation is not None:
            p = predict_probabilities(net, validation)
            # the last step may have broken weights that every loss before was computed with
            check_loss(float(p.sum()), "The classifier's training", f"epoch {epoch + 1}", remedy)
            scores = evaluate(validation.labels, p, absent=True)
            figures |= {"val_loss": scores["nll"], "val_accuracy": scores["accuracy"]}
        history.append(figures)
        if epoch + 1 in keep:
            snapshot = {"net": net.state_dict(), "learning_rate": rate, "epoch": epoch + 1}
            write_tensors(folder / f"epoch-{epoch + 1:03d}.pt", snapshot)
        write_json(folder / "history.json", history)
        write_tensors(
            last,
            {
                "net": net.state_dict(),
                "optimiser": optimiser.state_dict(),
                "draw": draw.get_state(),
                "epoch": epoch + 1,
                "signals": torch.from_numpy(signals[: epoch + 1]),
            },
        )
        yield Progress("classifier", (epoch + 1) * steps, total, note, figures)
    write_array(folder / "signals.npy", signals)
    write_tensors(folder / "final.pt", {"net": net.state_dict(), "epoch": epochs})
    last.unlink(missing_ok=True)


def load_classifier(file: Path, architecture: str, classes: int) -> Classifier:
    """A snapshot as a frozen network in evaluation mode.

    Raises :class:`DiffInfError` for a file of another architecture or number of classes.
    """
    net = build_classifier(architecture, classes)
    state = read_tensors(file)
    try:
        net.load_state_dict(state["net"])
    except (RuntimeError, KeyError) as error:
        raise DiffInfError(
            f"{file} does not fit a {architecture!r} classifier with {classes} classes."
        ) from error
    return net.to(memory_format=torch.channels_last).eval().requires_grad_(False)
