"""The judge that is trained on a run's own noisy labels, cross-fitted in two folds."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.classifier.parallel import There, Trainings, train_all, without_pictures
from diffinf_core.classifier.training import device
from diffinf_core.correction.networks import JudgeNet
from diffinf_core.data.part import Part
from diffinf_core.records import Progress
from diffinf_core.runs.divergence import check_loss
from diffinf_core.runs.files import read_tensors, write_tensors
from diffinf_core.runs.run import StageFolder

FOLDS = 2
EPOCHS = 30
_BATCH = 64
_SEED = 4321


def _augment(x: Tensor) -> Tensor:
    flip = torch.rand(len(x)) < 0.5
    x = torch.where(flip[:, None, None, None], x.flip(3), x)
    most = max(1, x.shape[-1] // 16)
    dx, dy = torch.randint(0, 2 * most + 1, (2,)).tolist()
    padded = F.pad(x, (most,) * 4, "replicate")
    return padded[:, :, dy : dy + x.shape[2], dx : dx + x.shape[3]]


@dataclass(frozen=True)
class _Fold:
    """The network that is trained without fold ``k``, on the ``rows`` (n,) of the training split."""

    k: int
    train: Part
    rows: NDArray[np.int64]

    @property
    def file(self) -> str:
        """What it is written to."""
        return f"fold-{self.k}.pt"

    def into(self, folder: Path, there: There) -> Iterator[Progress]:
        """Train it."""
        train, labels = there.on(self.train), torch.from_numpy(self.train.labels)
        torch.manual_seed(_SEED + self.k)
        net = JudgeNet((len(train.classes),)).to(device())
        net = net.to(memory_format=torch.channels_last)
        optimiser = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.05)
        for epoch in range(EPOCHS):
            rate = 1e-3 * max(0.02, 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS)))
            for group in optimiser.param_groups:
                group["lr"] = rate
            losses = torch.zeros((), device=device())
            for rows in np.array_split(
                self.rows[torch.randperm(len(self.rows)).numpy()], -(-len(self.rows) // _BATCH)
            ):
                (logits,) = net(_augment(train.tensors(rows)).to(device()))
                # Smoothing keeps a network that is trained on wrong labels from being sure.
                loss = F.cross_entropy(logits, labels[rows].to(device()), label_smoothing=0.1)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                losses += loss.detach() * len(rows)
            check_loss(
                float(losses) / len(self.rows),
                "The judge's training",
                f"epoch {epoch + 1} of fold {self.k + 1}",
                "its rate is fixed, so look for pictures without content by 'diffinf check'",
            )
            yield Progress("judge", epoch + 1, EPOCHS, "cross-fitting the judge")
        write_tensors(folder / self.file, {"net": net.state_dict()})


def cross_fit(stage: StageFolder, train: Part) -> Generator[Progress, None, float]:
    """Train a network per fold; the fraction of labels that the fold's other network sees."""
    fold = train.folds(FOLDS, _SEED)
    sent = without_pictures(train)
    folds = [_Fold(k, sent, np.flatnonzero(fold != k)) for k in range(FOLDS)]
    named = {f"the judge, fold {each.k + 1} of {FOLDS}": each for each in folds}
    ends = {name: stage / each.file for name, each in named.items()}
    yield from train_all("judge", Trainings(ends, named.__getitem__), train)
    agreement = []
    for k in range(FOLDS):
        inside = np.flatnonzero(fold == k)
        found = CrossFitted(stage, train, only=k).probabilities(train, inside)
        agreement.append((found.argmax(1) == train.labels[inside]).mean())
    return float(np.mean(agreement))


class CrossFitted:
    """Class probabilities by the network of two that did not see the picture in training."""

    def __init__(self, stage: StageFolder, train: Part, only: int | None = None) -> None:
        self._folds = train.folds(FOLDS, _SEED)
        self._classes = len(train.classes)
        self._nets = {}
        for k in range(FOLDS) if only is None else [only]:
            net = JudgeNet((self._classes,))
            net.load_state_dict(read_tensors(stage / f"fold-{k}.pt")["net"])
            self._nets[k] = net.to(device()).eval().requires_grad_(False)

    @torch.no_grad()
    def judge(self, x: Tensor, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities (B, C) for pictures (B, 3, S, S) that stand at training positions."""
        x = x.to(device())
        out = np.zeros((len(x), self._classes))
        folds = self._folds[positions]
        for k in np.unique(folds):
            rows = np.flatnonzero(folds == k)
            (logits,) = self._nets[int(k)](x[torch.from_numpy(rows).to(x.device)])
            out[rows] = F.softmax(logits.double(), 1).cpu().numpy()
        return out

    def probabilities(self, part: Part, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities of the originals at some positions, in batches."""
        chunks = np.array_split(positions, -(-len(positions) // 128))
        return np.concatenate([self.judge(part.tensors(c), c) for c in chunks])
