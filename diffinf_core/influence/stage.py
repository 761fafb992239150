"""The influence stage: every score of every training sample, and who is called high-influence.

Self-influence is summed over checkpoints (equation 5) by a map over slices of sample positions; a
slice knows nothing of the others, is written to its own file, and can be computed anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffinf_core.classifier.network import Classifier
from diffinf_core.classifier.stage import classifier_stage, load_snapshot
from diffinf_core.classifier.training import device
from diffinf_core.config import ON_REQUEST, InfluenceConfig, estimator_names
from diffinf_core.data.training import Part, open_training
from diffinf_core.influence.checkpoints import checkpoint_epochs
from diffinf_core.influence.confidence import confidence_stage, run_confidence
from diffinf_core.influence.curvature import Curvature
from diffinf_core.influence.estimators import logged_scores, rank_table, score_of
from diffinf_core.influence.gradients import GradientNorms, NotFiniteError
from diffinf_core.influence.slices import fitting_batch, map_slices, read_slices, stored_batch
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.store import (
    Run,
    StageFolder,
    read_tensors,
    write_array,
    write_table,
    write_tensors,
)

#: pictures per pass of the curvature, which does form each sample's gradient
_CURVATURE_BATCH = 16


def requested(config: InfluenceConfig) -> list[str]:
    """The scores behind the configured estimator that are computed only when asked for."""
    return [name for name in estimator_names(config.estimator) if name in ON_REQUEST]


def influence_stage(run: Run) -> StageFolder:
    """The folder of all scores; tau, and any estimator that is always there, only read from it."""
    c = run.config.influence
    parts: dict[str, str] = {"rule": c.checkpoint_rule, "precision": c.precision}
    # What an estimator on request depends on enters only with it.
    for name in requested(c):
        parts[name] = _request_key(run, name)
    return run.stage("influence", classifier_stage(run).key, parts)


def gradients_stage(run: Run) -> StageFolder:
    """The folder of squared gradient norms per sample and checkpoint."""
    c = run.config.influence
    parts = {"epochs": checkpoint_epochs(run), "precision": c.precision}
    return run.stage("gradients", classifier_stage(run).key, parts)


def curvature_stage(run: Run) -> StageFolder:
    """The folder of the inverse-curvature score."""
    c = run.config.influence
    parts = c.model_dump(include={"checkpoint_rule", "damping", "curvature_samples", "seed"})
    return run.stage("inverse_curvature", classifier_stage(run).key, parts)


def _request_stage(run: Run, name: str) -> StageFolder:
    return {"self_confidence": confidence_stage, "inverse_curvature": curvature_stage}[name](run)


def _request_key(run: Run, name: str) -> str:
    return _request_stage(run, name).key


def _last_layer_norms(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """||g_i||^2 of the output layer alone: forward only, in closed form."""
    features = net.features(x)
    error = torch.softmax(net.output(features), 1)
    error[torch.arange(len(y)), y] -= 1
    return error.square().sum(1) * (features.square().sum(1) + 1)


def score_slice(
    train: Part,
    positions: NDArray[np.int64],
    snapshots: list[tuple[Classifier, float]],
    batch: int,
    low: torch.dtype | None = None,
) -> NDArray[np.float64]:
    """(n, T, 2): each checkpoint's term of equation 5, over all parameters and over the output layer.

    Pictures are read once; the checkpoints are the inner loop. ``low`` is autocast's type, or None
    for float32. Raises :class:`DiffInfError` that names the sample whose gradient is not finite.
    """
    out = np.zeros((len(positions), len(snapshots), 2))
    with ExitStack() as stack:
        # TF32 has three digits; scores are compared with autograd to six.
        stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
        scorers = []
        for net, eta in snapshots:
            net.requires_grad_(True)
            scorers.append((net, eta, stack.enter_context(GradientNorms(net, low=low))))
        for start in range(0, len(positions), batch):
            rows = positions[start : start + batch]
            x, y = train.tensors(rows), torch.from_numpy(train.labels[rows])
            for t, (net, eta, norms) in enumerate(scorers):
                where = next(net.parameters()).device
                try:
                    full = norms(x.to(where), y.to(where)).double().cpu().numpy()
                except NotFiniteError as error:
                    raise DiffInfError(
                        f"The gradient of training sample {str(train.ids[rows[error.row]])!r} at "
                        f"checkpoint {t + 1} of {len(scorers)} is not finite; train the classifier "
                        "with a lower classifier.learning_rate."
                    ) from error
                with torch.no_grad():
                    last = _last_layer_norms(net, x.to(where), y.to(where)).double().cpu().numpy()
                out[start : start + batch, t] = eta * np.stack([full, last], 1)
    return out


def run_gradients(run: Run) -> Iterator[Progress]:
    """Score the whole training split, slice by slice."""
    stage, train = gradients_stage(run), open_training(run)
    if stage.done:
        return
    config = run.config.influence
    epochs = checkpoint_epochs(run)
    snapshots = [
        (net.to(device()), eta) for net, eta in (load_snapshot(run, epoch) for epoch in epochs)
    ]
    low = torch.bfloat16 if config.precision == "bfloat16" else None
    batch = stored_batch(
        stage, lambda: config.batch_size or fitting_batch(snapshots[0][0], train.tensors([0]))
    )
    yield from map_slices(
        stage,
        len(train),
        batch,
        lambda rows: score_slice(train, rows, snapshots, batch, low),
        f"self-influence over {len(epochs)} checkpoints",
    )
    write_array(stage / "terms.npy", read_slices(stage, len(train), batch))
    stage.finish({"checkpoint_epochs": epochs, "batch_size": batch})


def run_curvature(run: Run) -> Iterator[Progress]:
    """Equation 4 at the last of the chosen checkpoints."""
    stage, train, config = curvature_stage(run), open_training(run), run.config.influence
    net = load_snapshot(run, checkpoint_epochs(run)[-1])[0].to(device())
    curvature = Curvature(net.requires_grad_(True), config.damping, config.seed)
    some = np.random.default_rng(config.seed).permutation(len(train))[: config.curvature_samples]
    if (stage / "factors.pt").exists():
        curvature.load(read_tensors(stage / "factors.pt"))
    else:
        for i, work in enumerate((curvature.collect, curvature.weigh)):
            for start in range(0, len(some), _CURVATURE_BATCH):
                work(train.tensors(some[start : start + _CURVATURE_BATCH]).to(device()))
                done = i * len(some) + min(start + _CURVATURE_BATCH, len(some))
                yield Progress("influence", done, 2 * len(some), "curvature")
            if i == 0:
                curvature.turn()
        write_tensors(stage / "factors.pt", curvature.state())

    def score(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        parts = []
        for start in range(0, len(rows), _CURVATURE_BATCH):
            some_rows = rows[start : start + _CURVATURE_BATCH]
            y = torch.from_numpy(train.labels[some_rows]).to(device())
            x = train.tensors(some_rows).to(device())
            parts.append(curvature.score(x, y).double().cpu().numpy())
        return np.concatenate(parts)

    n = len(train)
    yield from map_slices(stage, n, _CURVATURE_BATCH, score, "inverse-curvature self-influence")
    write_array(stage / "score.npy", read_slices(stage, n, _CURVATURE_BATCH))
    stage.finish({"epoch": checkpoint_epochs(run)[-1], "curvature_samples": len(some)})


def run_request(run: Run, name: str) -> Iterator[Progress]:
    """Compute a score that is only computed when asked for, unless it is there."""
    stage = _request_stage(run, name)
    if not stage.done:
        yield from {"self_confidence": run_confidence, "inverse_curvature": run_curvature}[name](
            run
        )


def run_influence(run: Run) -> Iterator[Progress]:
    """Score the whole training split by every estimator that costs nothing more, and by those asked for."""
    stage, train, config = influence_stage(run), open_training(run), run.config.influence
    yield from run_gradients(run)
    for name in requested(config):
        yield from run_request(run, name)
    terms = np.load(gradients_stage(run) / "terms.npy").sum(1)
    epochs = checkpoint_epochs(run)
    logged = np.load(classifier_stage(run) / "signals.npy", mmap_mode="r")
    columns = {"self_influence": terms[:, 0], "last_layer": terms[:, 1]}
    columns |= logged_scores(logged, max(epochs))
    write_table(stage / "scores.csv", pd.DataFrame({"id": train.ids, **columns}))
    stage.finish({"checkpoint_epochs": epochs, "n": len(train)})


def read_scores(run: Run) -> pd.DataFrame:
    """Scores by sample in training order: id and a column per score there is, high is suspicious."""
    stage = influence_stage(run)
    if not stage.done:
        raise DiffInfError(f"{run.root} is not ranked yet; run it first.")
    table = pd.read_csv(stage / "scores.csv", dtype={"id": str}, float_precision="round_trip")
    for name in ON_REQUEST:
        extra = _request_stage(run, name)
        if extra.done:
            table[name] = np.load(extra / "score.npy")
    return table


def ranking(run: Run, config: InfluenceConfig | None = None) -> pd.DataFrame:
    """Columns id, score, rank (1 is the most suspicious), percentile, high (in the top tau %)."""
    config = config or run.config.influence
    table = read_scores(run)
    missing = [n for n in estimator_names(config.estimator) if n not in table]
    if missing:
        raise DiffInfError(
            f"{missing[0]} is not computed yet; 'diffinf rank {run.root} --by {missing[0]}' does it."
        )
    return rank_table(table["id"], score_of(table, config.estimator), config.tau)
