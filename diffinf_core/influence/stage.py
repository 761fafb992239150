"""The influence stage: every score of every training sample, and who is called high-influence.

Self-influence is summed over checkpoints (equation 5) by a map over slices of sample positions; a
slice knows nothing of the others, is written to its own file, and can be computed anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffinf_core.classifier.network import Classifier
from diffinf_core.classifier.stage import CLASSIFIER, load_snapshot
from diffinf_core.classifier.training import device
from diffinf_core.config import ON_REQUEST, InfluenceConfig, estimator_names
from diffinf_core.data.part import Part, open_training
from diffinf_core.influence.checkpoints import checkpoint_epochs
from diffinf_core.influence.confidence import CONFIDENCE
from diffinf_core.influence.curvature import Curvature
from diffinf_core.influence.estimators import logged_scores, rank_table, score_of
from diffinf_core.influence.gradients import GradientNorms, NotFiniteError
from diffinf_core.influence.layers import layer_norm_of
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import digest, read_tensors, write_array, write_table, write_tensors
from diffinf_core.runs.run import Run, StageFolder
from diffinf_core.runs.slices import (
    SLICE,
    fitting_batch,
    map_slices,
    read_slices,
    slice_size,
    stored_plan,
)
from diffinf_core.runs.stages import Stage, Work

#: pictures per pass of the curvature, which does form each sample's gradient
_CURVATURE_BATCH = 16
_SAVE_SECONDS = 30


def requested(config: InfluenceConfig) -> list[str]:
    """The scores behind the configured estimator that are computed only when asked for."""
    return [name for name in estimator_names(config.estimator) if name in ON_REQUEST]


def ranking_key(run: Run) -> list[object]:
    """What the ranking and its high-influence set depend on."""
    c = run.config.influence
    asked = [request(name).key(run) for name in requested(c)]
    return [INFLUENCE.key(run), asked, c.estimator, c.tau]


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


def run_gradients(run: Run) -> Work:
    """Score the whole training split, slice by slice."""
    stage, train = GRADIENTS.folder(run), open_training(run)
    config, n = run.config.influence, len(train)
    epochs = checkpoint_epochs(run)
    snapshots = [
        (net.to(device()), eta) for net, eta in (load_snapshot(run, epoch) for epoch in epochs)
    ]
    plan = stored_plan(
        stage,
        slice_size(train.size**2, len(epochs)),
        lambda: config.batch_size or fitting_batch(snapshots[0][0], train.tensors([0])),
    )
    # A size that a person gave since, after a lack of memory perhaps, goes before the stored one.
    batch = config.batch_size or plan.batch_size
    with Scorer(snapshots, autocast_type(config)) as scorer:

        def note() -> str:
            slow = f"; slow, because {scorer.fallback}" if scorer.fallback else ""
            return f"self-influence over {len(epochs)} checkpoints{slow}"

        yield from map_slices(
            stage, n, plan.slice_size, lambda rows: scorer(train, rows, batch), note
        )
        fallback = scorer.fallback
    write_array(stage / "terms.npy", read_slices(stage, n, plan.slice_size))
    return {"checkpoint_epochs": epochs, "batch_size": batch, "fallback": fallback}


def _fit_curvature(run: Run, curvature: Curvature, stage: StageFolder) -> Iterator[Progress]:
    """Estimate the curvature; what is done is kept every half minute."""
    train, config = open_training(run), run.config.influence
    some = np.random.default_rng(config.seed).permutation(len(train))[: config.curvature_samples]
    file, half = stage / "factors.pt", len(some)
    at = 0
    if file.exists():
        state = read_tensors(file)
        at = int(state["at"])
        curvature.load(state)
    saved = time.monotonic()
    while at < 2 * half:
        work = curvature.fit_covariances if at < half else curvature.fit_eigenvalues
        rows = some[at % half :][:_CURVATURE_BATCH]
        work(train.tensors(rows).to(device()))
        at += len(rows)
        yield Progress("influence", at, 2 * half, "curvature")
        if at == half:
            for layer in curvature.eigendecompose():
                yield Progress("influence", at, 2 * half, f"curvature, basis {layer}")
        if at in (half, 2 * half) or time.monotonic() - saved > _SAVE_SECONDS:
            write_tensors(file, {**curvature.state(), "at": at})
            saved = time.monotonic()


def run_curvature(run: Run) -> Work:
    """Equation 4 at the last of the chosen checkpoints."""
    stage, train, config = CURVATURE.folder(run), open_training(run), run.config.influence
    epoch = checkpoint_epochs(run)[-1]
    net = load_snapshot(run, epoch)[0].to(device())
    curvature = Curvature(net.requires_grad_(True), config.damping, config.seed)
    yield from _fit_curvature(run, curvature, stage)

    def score(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        parts = []
        for start in range(0, len(rows), _CURVATURE_BATCH):
            some_rows = rows[start : start + _CURVATURE_BATCH]
            y = torch.from_numpy(train.labels[some_rows]).to(device())
            x = train.tensors(some_rows).to(device())
            parts.append(curvature.score(x, y).double().cpu().numpy())
        return np.concatenate(parts)

    n = len(train)
    note = "inverse-curvature self-influence"
    yield from map_slices(stage, n, SLICE, score, lambda: note)
    write_array(stage / "score.npy", read_slices(stage, n, SLICE))
    (stage / "factors.pt").unlink(missing_ok=True)
    return {"epoch": epoch, "curvature_samples": min(n, config.curvature_samples)}


def run_influence(run: Run) -> Work:
    """Score the whole training split by every estimator that costs nothing more, and by those asked for."""
    stage, train, config = INFLUENCE.folder(run), open_training(run), run.config.influence
    for part in (GRADIENTS, *map(request, requested(config))):
        yield from part.compute(run, quiet=True)
    terms = np.load(GRADIENTS.folder(run) / "terms.npy").sum(1)
    epochs = checkpoint_epochs(run)
    logged = np.load(CLASSIFIER.folder(run) / "signals.npy", mmap_mode="r")
    columns = {"self_influence": terms[:, 0], "last_layer": terms[:, 1]}
    columns |= logged_scores(logged, max(epochs))
    write_table(stage / "scores.csv", pd.DataFrame({"id": train.ids, **columns}))
    return {"checkpoint_epochs": epochs, "n": len(train)}


#: squared gradient norms per sample and checkpoint
GRADIENTS = Stage(
    "gradients",
    run_gradients,
    inputs=(CLASSIFIER,),
    settings=lambda run: [
        {"epochs": checkpoint_epochs(run), "precision": run.config.influence.precision}
    ],
)
#: the inverse-curvature score
CURVATURE = Stage(
    "inverse_curvature",
    run_curvature,
    inputs=(CLASSIFIER,),
    settings=lambda run: [
        run.config.influence.model_dump(
            include={"checkpoint_rule", "damping", "curvature_samples", "seed"}
        )
    ],
)


def request(name: str) -> Stage:
    """The stage of a score that is computed only when asked for."""
    return {"self_confidence": CONFIDENCE, "inverse_curvature": CURVATURE}[name]


#: all scores; tau and the estimator only read from it
INFLUENCE = Stage(
    "influence",
    run_influence,
    inputs=(CLASSIFIER,),
    settings=lambda run: [
        {
            "rule": run.config.influence.checkpoint_rule,
            "precision": run.config.influence.precision,
        }
    ],
    parts=lambda run: [request(name) for name in requested(run.config.influence)],
)


def scores_key(run: Run) -> str:
    """What :func:`read_scores` returns depends on: the scores, and which of those on request are there."""
    extra = [request(name).folder(run) for name in ON_REQUEST]
    return digest(INFLUENCE.key(run), [stage.key for stage in extra if stage.done])


def read_scores(run: Run) -> pd.DataFrame:
    """Scores by sample in training order: id and a column per score there is, high is suspicious."""
    stage = INFLUENCE.folder(run)
    if not stage.done:
        raise DiffInfError(f"{run.root} is not ranked yet; run it first.")
    table = pd.read_csv(stage / "scores.csv", dtype={"id": str})
    for name in ON_REQUEST:
        extra = request(name).folder(run)
        if extra.done:
            table[name] = np.load(extra / "score.npy")
    return table


def ranking(
    run: Run, config: InfluenceConfig | None = None, scores: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Columns id, score, rank (1 is the most suspicious), percentile, high (in the top tau %).

    ``scores`` are those of :func:`read_scores` where the caller has read them already.
    """
    config = config or run.config.influence
    table = read_scores(run) if scores is None else scores
    missing = [n for n in estimator_names(config.estimator) if n not in table]
    if missing:
        raise DiffInfError(
            f"{missing[0]} is not computed yet; 'diffinf rank {run.root} --by {missing[0]}' does it."
        )
    return rank_table(table["id"], score_of(table, config.estimator), config.tau)
