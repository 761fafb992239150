"""The one training loop of all methods: it batches, steps, saves and resumes; a method gives the loss.

Every random number of a step comes from a generator seeded with (seed, epoch, pass, step), so that a
training resumed after any epoch, or driven by a caller that draws numbers itself, ends bit for bit
like an undisturbed one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.baselines.task import Task
from diffinf_core.classifier.training import TrainingSet, device
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.divergence import check_loss
from diffinf_core.runs.files import read_tensors, write_json, write_tensors

if TYPE_CHECKING:
    from diffinf_core.baselines.method import Method

_BATCH_EVAL = 256
_BUILD = 2**31


@contextmanager
def seeded(*parts: int) -> Iterator[None]:
    """PyTorch's global generators seeded from numbers; outside, they are as they were."""
    seed = int(np.random.SeedSequence(parts).generate_state(1, np.uint32)[0])
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


def batches(order: Tensor, size: int) -> list[Tensor]:
    """Consecutive batches; a single last sample, which BatchNorm cannot normalise, joins the one before."""
    parts = list(order.split(size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


@dataclass(frozen=True)
class Batch:
    """Some samples: their ``rows`` in the data set (B,), weak view ``x`` (B, ...), labels ``y`` (B,).

    ``step`` counts the steps of a network over the whole training, from 0.
    """

    rows: Tensor
    x: Tensor
    y: Tensor
    step: int
    plain: Tensor
    task: Task

    def weak(self) -> Tensor:
        """Another weak view."""
        return self.task.weak(self.plain) if self.task.weak else self.plain

    def strong(self) -> Tensor:
        """A strong view; the weak one where the task has no strong augmentation."""
        return self.task.strong(self.plain) if self.task.strong else self.x


class Fit:
    """One training under way: what the hooks of a method read and write.

    ``nets`` are trained; ``modules`` (moving averages) and ``state`` (tables per sample, counters) are
    the method's own and are saved with them.
    """

    def __init__(self, method: Method, task: Task) -> None:
        self.method, self.task, self.where = method, task, device()
        self.epoch, self.seconds = 0, 0.0
        self.labels = torch.from_numpy(task.labels).to(self.where)
        self.state: dict[str, Tensor] = {}
        self.modules: dict[str, nn.Module] = {}
        self.history: list[dict[str, float]] = []
        #: tensors of this step that the method updates itself
        self.step_leaves: tuple[Tensor, ...] = ()
        self.nets = build_networks(method, task, self.where)
        self.optimisers = [task.recipe.build_optimiser(n.parameters()) for n in self.nets]
        self.steps = len(batches(torch.arange(len(task.data)), task.recipe.batch_size))
        with seeded(task.seed, _BUILD):
            method.start(self)

    @property
    def classes(self) -> int:
        """The number of classes C."""
        return self.task.classes

    @property
    def epochs(self) -> int:
        """The number of epochs."""
        return self.task.recipe.epochs

    @property
    def total_steps(self) -> int:
        """Steps of each network over the whole training."""
        return self.steps * self.epochs

    def table(self, *width: int, fill: float = 0.0) -> Tensor:
        """A table with a row per sample (N, *width)."""
        return torch.full((len(self.task.data), *width), fill, device=self.where)

    def forward(self, x: Tensor, network: int = 0) -> Tensor:
        """Logits (B, C), float32, of one of the trained networks."""
        return forward(self.nets[network], x)

    def logits(self, network: int = 0) -> Tensor:
        """Logits (N, C) of the training samples: evaluation mode, no augmentation, no gradient."""
        net = self.nets[network]
        out = predict([net], self.task.data, lambda nets, x: forward(nets[0], x))
        net.train()
        return out

    def batch(self, rows: Tensor, step: int) -> Batch:
        """The batch of some rows (B,), of which it draws a weak view."""
        plain = self.task.data.tensors(rows.cpu().numpy()).to(self.where)
        x = self.task.weak(plain) if self.task.weak else plain
        there = rows.to(self.where)
        return Batch(there, x, self.labels[there], step, plain, self.task)

    def run_epoch(self) -> Iterator[int]:
        """Train one epoch; yields the number of steps done in it."""
        method, task = self.method, self.task
        for net in (*self.nets, *self.modules.values()):
            net.train()
        with seeded(task.seed, self.epoch), torch.no_grad():
            method.begin_epoch(self)
        losses, seen, done = torch.zeros((), device=self.where), 0, 0
        for turn, networks in enumerate(method.turns):
            with seeded(task.seed, self.epoch, turn):
                order = method.order(self, networks)
            for k in networks:
                task.recipe.tune(self.optimisers[k], self.epoch)
            for i, rows in enumerate(batches(order, task.recipe.batch_size)):
                with seeded(task.seed, self.epoch, turn, i):
                    batch = self.batch(rows, self.epoch * self.steps + i)
                    losses += self._step(batch, networks) * len(rows)
                    seen += len(rows)
                done += 1
                yield done
        # Read once an epoch: nothing of this one is saved yet, and each step stays asynchronous.
        mean = float(losses) / seen
        remedy = "lower the learning rate, or check that every input is finite"
        check_loss(mean, method.title, f"epoch {self.epoch + 1}", remedy)
        with seeded(task.seed, self.epoch), torch.no_grad():
            method.end_epoch(self)
        self.epoch += 1
        figures = {
            "epoch": self.epoch,
            "learning_rate": task.recipe.rate(self.epoch - 1),
            "train_loss": mean,
        }
        if task.validation is not None:
            z = predict(self.nets, task.validation, method.logits).cpu()
            y = torch.from_numpy(np.asarray(task.validation.labels, np.int64))
            if len(bad := torch.nonzero(~z.isfinite().all(1))):
                raise DiffInfError(
                    f"{method.title} predicts logits that are not finite for validation sample number "
                    f"{int(bad[0])} in epoch {self.epoch}; {remedy}."
                )
            figures["val_accuracy"] = float((z.argmax(1) == y).double().mean())
            figures["val_loss"] = float(F.cross_entropy(z.double(), y))
        self.history.append(figures)

    def _step(self, batch: Batch, networks: Sequence[int]) -> Tensor:
        loss = self.method.loss(self, batch, networks)
        for k in networks:
            self.optimisers[k].zero_grad(set_to_none=True)
        loss.backward()
        for k in networks:
            self.optimisers[k].step()
        with torch.no_grad():
            self.method.after_step(self, batch, networks)
        return loss.detach()

    def is_best(self) -> bool:
        """Whether the last epoch is the first with the highest validation accuracy so far."""
        curve = [row.get("val_accuracy", 0.0) for row in self.history]
        return bool(curve) and all(curve[-1] > earlier for earlier in curve[:-1])

    def save(self, file: Path) -> None:
        """Write everything that goes on."""
        write_tensors(
            file,
            {
                "nets": [net.state_dict() for net in self.nets],
                "optimisers": [o.state_dict() for o in self.optimisers],
                "modules": {name: m.state_dict() for name, m in self.modules.items()},
                "state": self.state,
                "epoch": self.epoch,
                "history": self.history,
                "seconds": self.seconds,
            },
        )

    def resume(self, file: Path) -> None:
        """Take over what :meth:`save` wrote."""
        saved = read_tensors(file)
        for net, weights in zip(self.nets, saved["nets"], strict=True):
            net.load_state_dict(weights)
        for optimiser, moments in zip(self.optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(moments)
        for name, module in self.modules.items():
            module.load_state_dict(saved["modules"][name])
        self.state = {name: tensor.to(self.where) for name, tensor in saved["state"].items()}
        self.epoch, self.history = saved["epoch"], saved["history"]
        self.seconds = saved["seconds"]


def fit(method: Method, task: Task, folder: Path, note: str = "") -> Iterator[Progress]:
    """Train a method's networks into ``folder``; a killed training goes on after its last epoch.

    Writes ``final.pt``, ``best.pt`` (the epoch with the highest validation accuracy, where the task
    has a validation set), ``history.json``, ``cost.json``, and ``train_scores.csv`` where the method
    judges its samples. Raises :class:`DiffInfError` where training diverges.
    """
    if (folder / "final.pt").exists():
        return
    task.check(method.title)
    this, last = Fit(method, task), folder / "last.pt"
    if last.exists():
        this.resume(last)
    per_epoch = this.steps * len(method.turns)
    total = per_epoch * this.epochs
    while this.epoch < this.epochs:
        began, before = time.process_time(), this.epoch * per_epoch
        for done in this.run_epoch():
            yield Progress(method.name, before + done, total, note)
        if task.validation is not None and this.is_best():
            _write_networks(folder / "best.pt", this)
        this.seconds += time.process_time() - began
        this.save(last)
        yield Progress(method.name, this.epoch * per_epoch, total, note, this.history[-1])
    with seeded(task.seed, this.epoch), torch.no_grad():
        outcome = method.outcome(this)
    if outcome is not None:
        outcome.write(folder)
    write_json(folder / "history.json", this.history)
    write_json(folder / "cost.json", {"seconds": this.seconds})
    _write_networks(folder / "final.pt", this)
    last.unlink(missing_ok=True)


def _write_networks(file: Path, this: Fit) -> None:
    write_tensors(file, {"nets": [net.state_dict() for net in this.nets], "epoch": this.epoch})


def build_networks(method: Method, task: Task, where: torch.device) -> list[nn.Module]:
    """The untrained networks of a method, each from its own seed."""
    nets = []
    for k in range(method.networks):
        with seeded(task.seed, _BUILD, k):
            net = method.build(task)
        nets.append(net.to(where).to(memory_format=torch.channels_last))
    return nets


def forward(net: nn.Module, x: Tensor) -> Tensor:
    """Logits in float32; bfloat16 inside the network on a GPU."""
    gpu = x.device.type == "cuda"
    with torch.autocast(x.device.type, torch.bfloat16, enabled=gpu):
        return net(x).float()


@torch.no_grad()
def predict(nets: list[nn.Module], data: TrainingSet, logits: Any) -> Tensor:
    """Logits (N, C) in evaluation mode; ``logits`` maps (nets, x) to those of a batch."""
    where = next(nets[0].parameters()).device
    for net in nets:
        net.eval()
    parts = []
    for rows in torch.arange(len(data)).split(_BATCH_EVAL):
        parts.append(logits(nets, data.tensors(rows.numpy()).to(where)))
    return torch.cat(parts)
