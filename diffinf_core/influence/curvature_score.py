"""The inverse-curvature score (equation 4): the curvature once, then a map over the training split."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from diffinf_core.classifier.stage import CLASSIFIER, load_snapshot
from diffinf_core.classifier.training import device
from diffinf_core.data.part import open_training
from diffinf_core.influence.checkpoints import checkpoint_epochs
from diffinf_core.influence.curvature import Curvature
from diffinf_core.records import Progress
from diffinf_core.runs.files import read_tensors, write_array, write_tensors
from diffinf_core.runs.run import Run, StageFolder
from diffinf_core.runs.slices import SLICE, map_slices, read_slices
from diffinf_core.runs.stages import Stage, Work

#: pictures per pass of the curvature, which does form each sample's gradient
_CURVATURE_BATCH = 16
_SAVE_SECONDS = 30


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
    yield from map_slices(stage, n, SLICE, score, "influence", lambda: note)
    write_array(stage / "score.npy", read_slices(stage, n, SLICE))
    (stage / "factors.pt").unlink(missing_ok=True)
    return {"epoch": epoch, "curvature_samples": min(n, config.curvature_samples)}


#: the inverse-curvature score
CURVATURE = Stage(
    "inverse_curvature",
    run_curvature,
    "weigh each gradient by the inverse curvature",
    inputs=(CLASSIFIER,),
    settings=lambda run: [
        run.config.influence.model_dump(
            include={"checkpoint_rule", "damping", "curvature_samples", "seed"}
        )
    ],
)
