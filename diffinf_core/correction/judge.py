"""The independent judge: a network that shares neither weights nor architecture with the guide.

It never takes part in a repair. Where the data set's profile ships one (the demo's was trained on the
clean truth of other rendered people) that one is used; elsewhere it is trained here on the run's own
noisy labels, cross-fitted in two folds, so that no picture is judged by a network that saw it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from diffinf_core.classifier.training import device
from diffinf_core.correction.networks import JudgeNet
from diffinf_core.data.ingest import DATA
from diffinf_core.data.part import Part, open_training
from diffinf_core.data.profile import profile_of
from diffinf_core.records import Progress
from diffinf_core.runs.divergence import check_loss
from diffinf_core.runs.files import read_tensors, write_tensors
from diffinf_core.runs.run import Run
from diffinf_core.runs.stages import Stage, Work
from diffinf_core.weights.files import load_weights, shipped

FOLDS = 2
_EPOCHS = 30
_BATCH = 64
_SEED = 4321


def judge_name(run: Run) -> str:
    """What the report says of the judge."""
    shipped_judge = profile_of(run).judge
    if shipped_judge is not None:
        return shipped_judge.description
    return f"JudgeNet cross-fitted in {FOLDS} folds on the assigned (noisy) labels"


def _augment(x: Tensor) -> Tensor:
    flip = torch.rand(len(x)) < 0.5
    x = torch.where(flip[:, None, None, None], x.flip(3), x)
    most = max(1, x.shape[-1] // 16)
    dx, dy = torch.randint(0, 2 * most + 1, (2,)).tolist()
    padded = F.pad(x, (most,) * 4, "replicate")
    return padded[:, :, dy : dy + x.shape[2], dx : dx + x.shape[3]]


def run_judge(run: Run) -> Work:
    """Train the cross-fitted judge where none is shipped for the data."""
    if profile_of(run).judge is not None:
        return {"judge": judge_name(run)}
    stage = JUDGE.folder(run)
    train = open_training(run)
    fold = train.folds(FOLDS, _SEED)
    labels = torch.from_numpy(train.labels)
    agreement = []
    for k in range(FOLDS):
        inside, outside = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        file = stage / f"fold-{k}.pt"
        if not file.exists():
            torch.manual_seed(_SEED + k)
            net = JudgeNet((len(train.classes),)).to(device())
            net = net.to(memory_format=torch.channels_last)
            optimiser = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.05)
            for epoch in range(_EPOCHS):
                rate = 1e-3 * max(0.02, 0.5 * (1 + np.cos(np.pi * epoch / _EPOCHS)))
                for group in optimiser.param_groups:
                    group["lr"] = rate
                losses = torch.zeros((), device=device())
                for rows in np.array_split(
                    outside[torch.randperm(len(outside)).numpy()], -(-len(outside) // _BATCH)
                ):
                    (logits,) = net(_augment(train.tensors(rows)).to(device()))
                    # Smoothing keeps a network that is trained on wrong labels from being sure.
                    loss = F.cross_entropy(logits, labels[rows].to(device()), label_smoothing=0.1)
                    optimiser.zero_grad(set_to_none=True)
                    loss.backward()
                    optimiser.step()
                    losses += loss.detach() * len(rows)
                check_loss(
                    float(losses) / len(outside),
                    "The judge's training",
                    f"epoch {epoch + 1} of fold {k + 1}",
                    "its rate is fixed, so look for pictures without content by 'diffinf check'",
                )
                done = k * _EPOCHS + epoch + 1
                yield Progress("judge", done, FOLDS * _EPOCHS, "cross-fitting the judge")
            write_tensors(file, {"net": net.state_dict()})
        found = Judge(run, only=k).probabilities(train, inside)
        agreement.append((found.argmax(1) == train.labels[inside]).mean())
    return {"judge": judge_name(run), "agreement_with_labels": float(np.mean(agreement))}


#: the cross-fitted judge; the shipped one leaves its folder empty
JUDGE = Stage(
    "judge",
    run_judge,
    "train the independent judge",
    inputs=(DATA,),
    settings=lambda run: [{"epochs": _EPOCHS, "folds": FOLDS}],
)


class Judge:
    """Class probabilities of pictures, by a network that saw none of them in training."""

    def __init__(self, run: Run, only: int | None = None) -> None:
        train = open_training(run)
        self._head = 0
        own = profile_of(run).judge
        if own is not None:
            net = JudgeNet(tuple(len(classes) for classes in own.heads))
            self._nets = {0: load_weights(shipped(own.weights), net).to(device())}
            self._folds = np.zeros(len(train), np.int64)
            self._head = own.head
            # The data set may list the classes in another order, or lack one.
            self._columns = [own.classes.index(c) for c in train.classes]
            return
        self._folds = train.folds(FOLDS, _SEED)
        self._columns = list(range(len(train.classes)))
        self._nets = {}
        for k in range(FOLDS) if only is None else [only]:
            net = JudgeNet((len(train.classes),))
            net.load_state_dict(read_tensors(JUDGE.folder(run) / f"fold-{k}.pt")["net"])
            self._nets[k] = net.to(device()).eval().requires_grad_(False)

    @torch.no_grad()
    def judge(self, x: Tensor, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities (B, C) for pictures (B, 3, S, S) that stand at training positions."""
        x = x.to(device())
        out = np.zeros((len(x), len(self._columns)))
        folds = self._folds[positions]
        for k in np.unique(folds):
            rows = np.flatnonzero(folds == k)
            logits = self._nets[int(k)](x[torch.from_numpy(rows).to(x.device)])[self._head]
            out[rows] = F.softmax(logits[:, self._columns].double(), 1).cpu().numpy()
        return out

    def probabilities(self, part: Part, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Probabilities of the originals at some positions, in batches."""
        chunks = np.array_split(positions, -(-len(positions) // 128))
        return np.concatenate([self.judge(part.tensors(c), c) for c in chunks])
