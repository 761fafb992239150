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
from scipy.stats import rankdata
from torch import Tensor

from diffinf_core.classifier.network import Classifier
from diffinf_core.classifier.stage import classifier_stage, early_epochs, load_snapshot
from diffinf_core.classifier.training import SIGNAL_COLUMNS, device, snapshot_epochs
from diffinf_core.config import InfluenceConfig
from diffinf_core.data.training import Part, open_training
from diffinf_core.influence.gradients import GradientNorms
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.store import Run, StageFolder, write_array, write_table

#: samples per slice; a kill loses at most this much scoring
SLICE = 512


def influence_stage(run: Run) -> StageFolder:
    """The folder of all scores; tau and the estimator only read from it."""
    config = run.config.influence
    return run.stage("influence", classifier_stage(run).key, {"rule": config.checkpoint_rule})


def high_influence_count(n: int, tau: float) -> int:
    """k = round(tau N / 100), at least one."""
    return max(1, int(np.floor(tau * n / 100 + 0.5)))


def top_tau(scores: NDArray[np.float64], tau: float) -> NDArray[np.int64]:
    """Positions of the top tau % by falling score, ties by position (equation 5)."""
    if not np.isfinite(scores).all():
        bad = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise DiffInfError(f"The influence score at position {bad} is not finite.")
    order = np.argsort(-scores, kind="stable")
    return order[: high_influence_count(len(scores), tau)]


def _last_layer_norms(net: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """||g_i||^2 of the output layer alone: forward only, in closed form."""
    features = net.features(x)
    error = torch.softmax(net.output(features), 1)
    error[torch.arange(len(y)), y] -= 1
    return error.square().sum(1) * (features.square().sum(1) + 1)


def score_slice(
    train: Part, positions: NDArray[np.int64], snapshots: list[tuple[Classifier, float]], batch: int
) -> NDArray[np.float64]:
    """(n, 2): self-influence over all parameters and over the output layer (equation 5).

    Pictures are read once; the checkpoints are the inner loop.
    """
    out = np.zeros((len(positions), 2))
    with ExitStack() as stack:
        # TF32 has three digits; scores are compared with autograd to six.
        stack.enter_context(torch.backends.cudnn.flags(enabled=True, allow_tf32=False))
        scorers = []
        for net, eta in snapshots:
            net.requires_grad_(True)
            scorers.append((net, eta, stack.enter_context(GradientNorms(net))))
        for start in range(0, len(positions), batch):
            rows = positions[start : start + batch]
            x, y = train.tensors(rows), torch.from_numpy(train.labels[rows])
            for net, eta, norms in scorers:
                where = next(net.parameters()).device
                full = norms(x.to(where), y.to(where)).double().cpu().numpy()
                with torch.no_grad():
                    last = _last_layer_norms(net, x.to(where), y.to(where)).double().cpu().numpy()
                out[start : start + batch] += eta * np.stack([full, last], 1)
    return out


def checkpoint_epochs(run: Run) -> list[int]:
    """The snapshots that the configuration sums over."""
    if run.config.influence.checkpoint_rule == "early":
        return early_epochs(run)
    return snapshot_epochs(run.config.classifier)


def run_influence(run: Run) -> Iterator[Progress]:
    """Score the whole training split, slice by slice."""
    stage = influence_stage(run)
    train = open_training(run)
    epochs = checkpoint_epochs(run)
    snapshots = []
    for epoch in epochs:
        net, eta = load_snapshot(run, epoch)
        snapshots.append((net.to(device()), eta))
    n = len(train)
    parts = []
    for start in range(0, n, SLICE):
        file = stage / f"slice-{start:08d}.npy"
        if not file.exists():
            positions = np.arange(start, min(start + SLICE, n))
            write_array(
                file, score_slice(train, positions, snapshots, run.config.influence.batch_size)
            )
        parts.append(np.load(file))
        note = f"self-influence over {len(epochs)} checkpoints"
        yield Progress("influence", min(start + SLICE, n), n, note)
    scores = np.concatenate(parts)
    logged = np.load(classifier_stage(run) / "signals.npy", mmap_mode="r")
    column = {name: i for i, name in enumerate(SIGNAL_COLUMNS)}
    until = max(epochs)
    table = pd.DataFrame(
        {
            "id": train.ids,
            "self_influence": scores[:, 0],
            "last_layer": scores[:, 1],
            "mean_loss": logged[:until, :, column["loss"]].mean(0),
            # A low margin is suspicious; the sign makes high mean suspicious for every signal.
            "aum": -logged[:until, :, column["margin"]].mean(0),
            "el2n": logged[:until, :, column["el2n"]].mean(0),
        }
    )
    write_table(stage / "scores.csv", table)
    stage.finish({"checkpoint_epochs": epochs, "n": n})


def read_scores(run: Run) -> pd.DataFrame:
    """Scores by sample in training order: id and one column per signal, high is suspicious."""
    stage = influence_stage(run)
    if not stage.done:
        raise DiffInfError(f"{run.root} is not ranked yet; run it first.")
    return pd.read_csv(stage / "scores.csv", dtype={"id": str}, float_precision="round_trip")


def ranking(run: Run, config: InfluenceConfig | None = None) -> pd.DataFrame:
    """Columns id, score, rank (1 is the most suspicious), percentile, high (in the top tau %)."""
    config = config or run.config.influence
    table = read_scores(run)
    score = table[config.estimator].to_numpy(float)
    rank = np.empty(len(score), np.int64)
    rank[np.argsort(-score, kind="stable")] = np.arange(1, len(score) + 1)
    high = np.zeros(len(score), bool)
    high[top_tau(score, config.tau)] = True
    return pd.DataFrame(
        {
            "id": table["id"],
            "score": score,
            "rank": rank,
            "percentile": 100 * rankdata(score) / len(score),
            "high": high,
        }
    )
