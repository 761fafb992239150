"""Self-influence: squared gradient norms summed over checkpoints (equation 5).

A map over slices of sample positions; a slice knows nothing of the others, is written to its own file, and
can be computed anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffinf_core.classifier.network import Classifier
from diffinf_core.classifier.stage import CLASSIFIER, load_snapshot
from diffinf_core.classifier.training import device
from diffinf_core.config import InfluenceConfig
from diffinf_core.data.part import Part, open_training
from diffinf_core.influence.batching import fitting_batch
from diffinf_core.influence.checkpoints import checkpoint_epochs
from diffinf_core.influence.gradients import GradientNorms, NotFiniteError
from diffinf_core.influence.layers import layer_norm_of
from diffinf_core.records import DiffInfError
from diffinf_core.runs.executor import Call
from diffinf_core.runs.files import write_array
from diffinf_core.runs.run import Run, StageFolder
from diffinf_core.runs.slices import (
    Elsewhere,
    map_slices,
    naming_memory,
    read_slices,
    slice_size,
    stored_slicing,
)
from diffinf_core.runs.stages import Stage, Work


def _last_layer_norms(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """||g_i||^2 of the output layer alone: forward only, in closed form."""
    features = net.features(x)
    error = torch.softmax(net.output(features), 1)
    error[torch.arange(len(y)), y] -= 1
    return error.square().sum(1) * (features.square().sum(1) + 1)


class Scorer:
    """The terms of equation 5 of training samples under some checkpoints.

    ``with Scorer(snapshots) as scorer: terms = scorer(train, positions, batch)``, with ``snapshots`` pairs
    of network and eta. ``low`` is autocast's type, or None for float32.
    """

    def __init__(
        self, snapshots: list[tuple[Classifier, float]], low: torch.dtype | None = None
    ) -> None:
        self._snapshots, self._low = snapshots, low
        self._stack = ExitStack()
        self._scorers: list[tuple[Classifier, float, GradientNorms]] = []
        self._last: Tensor | None = None

    def __enter__(self) -> Scorer:
        # TF32 has three digits; scores are compared with autograd to six.
        self._stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
        for net, eta in self._snapshots:
            net.requires_grad_(True)
            form = self._noting(net.output)
            norms = self._stack.enter_context(GradientNorms(net, low=self._low, form=form))
            self._scorers.append((net, eta, norms))
        return self

    def _noting(self, output: nn.Module) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
        """The usual form of every layer, which keeps the output layer's share: a score for nothing."""

        def form(layer: nn.Module, x: Tensor, g: Tensor) -> Tensor:
            found = layer_norm_of(layer, x, g)
            if layer is output:
                self._last = found
            return found

        return form

    def __exit__(self, *_: object) -> None:
        self._scorers.clear()
        self._stack.close()

    @property
    def fallback(self) -> str | None:
        """Why a checkpoint had to be scored the slow way, if one had to."""
        return next((n.fallback for _, _, n in self._scorers if n.fallback is not None), None)

    def terms(self, x: Tensor, y: Tensor) -> NDArray[np.float64]:
        """(B, T, 2) for pictures x (B, 3, S, S) under labels y (B,): over all parameters, and over
        the output layer alone. :class:`NotFiniteError` carries row and checkpoint."""
        out = np.zeros((len(x), len(self._scorers), 2))
        for t, (net, eta, norms) in enumerate(self._scorers):
            where = next(net.parameters()).device
            there = x.to(where), y.to(where)
            self._last = None
            try:
                full = norms(*there)
            except NotFiniteError as error:
                error.checkpoint = t
                raise
            last = self._last
            if last is None or norms.fallback is not None:
                with torch.no_grad():
                    last = _last_layer_norms(net, *there)
            out[:, t] = eta * torch.stack([full, last], 1).double().cpu().numpy()
        return out

    def __call__(
        self, train: Part, positions: NDArray[np.int64], batch: int
    ) -> NDArray[np.float64]:
        """(n, T, 2) for positions (n,). Pictures are read once; the checkpoints are the inner loop.

        Raises :class:`DiffInfError` that names the sample whose gradient is not finite.
        """
        parts = []
        for start in range(0, len(positions), batch):
            rows = positions[start : start + batch]
            try:
                parts.append(self.terms(train.tensors(rows), torch.from_numpy(train.labels[rows])))
            except NotFiniteError as error:
                raise DiffInfError(
                    f"The gradient of training sample {str(train.ids[rows[error.row]])!r} at "
                    f"checkpoint {error.checkpoint + 1} of {len(self._scorers)} is not finite; train "
                    "the classifier with a lower classifier.learning_rate."
                ) from error
        return np.concatenate(parts)


def autocast_type(config: InfluenceConfig) -> torch.dtype | None:
    """The type that the configuration asks autocast for."""
    return torch.bfloat16 if config.precision == "bfloat16" else None


@dataclass(frozen=True)
class ScoreTask:
    """Scoring on workers of other machines; a parcel is a :class:`Part` with pictures of its own.

    The result is what :class:`Scorer` gives for the part, and its ``fallback``.
    """

    snapshots: list[tuple[Classifier, float]]
    low: torch.dtype | None
    batch: int

    @contextmanager
    def open(self) -> Iterator[Call]:
        """The networks, on the worker's device."""
        there = [(net.to(device()), eta) for net, eta in self.snapshots]
        with Scorer(there, self.low) as scorer:

            def call(part: Part) -> tuple[NDArray[np.float64], str | None]:
                with naming_memory():
                    return scorer(part, np.arange(len(part)), self.batch), scorer.fallback

            yield call


def score_gradients(
    stage: StageFolder, train: Part, snapshots: list[tuple[Classifier, float]], c: InfluenceConfig
) -> Work:
    """Score a training split under ``snapshots`` into ``stage``, slice by slice: ``terms.npy`` (N, T, 2)."""
    n = len(train)
    slicing = stored_slicing(
        stage,
        slice_size(train.size**2, len(snapshots)),
        lambda: c.batch_size or fitting_batch(snapshots[0][0].to(device()), train.tensors([0])),
    )
    # A size that a person gave since, after a lack of memory perhaps, goes before the stored one.
    batch, low, fallback = c.batch_size or slicing.batch_size, autocast_type(c), None

    def rows(result: tuple[NDArray[np.float64], str | None]) -> NDArray[np.float64]:
        nonlocal fallback
        terms, why = result
        fallback = fallback or why
        return terms

    def note() -> str:
        slow = f"; slow, because {fallback}" if fallback else ""
        return f"self-influence over {len(snapshots)} checkpoints{slow}"

    with ExitStack() as opened:

        @cache
        def scorer() -> Scorer:  # loaded where it is needed: not where workers elsewhere score
            there = [(net.to(device()), eta) for net, eta in snapshots]
            return opened.enter_context(Scorer(there, low))

        def score(positions: NDArray[np.int64]) -> tuple[NDArray[np.float64], str | None]:
            return scorer()(train, positions, batch), scorer().fallback

        def task() -> ScoreTask:
            return ScoreTask([(net.cpu(), eta) for net, eta in snapshots], low, batch)

        elsewhere = Elsewhere(task, train.taken, rows)
        yield from map_slices(stage, n, slicing.slice_size, score, "influence", note, elsewhere)
    write_array(stage / "terms.npy", read_slices(stage, n, slicing.slice_size))
    return {"batch_size": batch, "fallback": fallback}


def run_gradients(run: Run) -> Work:
    """Score the whole training split at every checkpoint in use."""
    epochs = checkpoint_epochs(run)
    snapshots = [load_snapshot(run, epoch) for epoch in epochs]
    stage, train = GRADIENTS.folder(run), open_training(run)
    figures = yield from score_gradients(stage, train, snapshots, run.config.influence)
    return {"checkpoint_epochs": epochs, **figures}


#: squared gradient norms per sample and checkpoint
GRADIENTS = Stage(
    "gradients",
    run_gradients,
    "squared gradient norms of every training picture at every checkpoint",
    inputs=(CLASSIFIER,),
    settings=lambda run: [
        {"epochs": checkpoint_epochs(run), "precision": run.config.influence.precision}
    ],
)
