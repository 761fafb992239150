"""A map of the training split: the classifier's features, and two coordinates for each sample.

Features are those the influence predictor reads, the activation before the output layer. They are
written slice by slice; the projection passes over the slices and never holds them all, so 70,000
samples take the memory of one slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from diffinf_core.classifier.stage import CLASSIFIER, load_snapshot
from diffinf_core.classifier.training import device
from diffinf_core.data.part import open_training
from diffinf_core.influence.checkpoints import feature_epoch
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.files import read_array, write_array
from diffinf_core.runs.run import Run
from diffinf_core.runs.slices import map_slices, read_slices
from diffinf_core.runs.stages import Stage, Work

#: samples per file of features
SLICE = 1024
_BATCH = 64
#: how features become two coordinates; UMAP where the package umap-learn is installed
METHODS = ("pca", "umap")


def methods() -> tuple[str, ...]:
    """The methods that can be used here."""
    return METHODS if find_spec("umap") else METHODS[:1]


def run_features(run: Run) -> Work:
    """Compute the features that are missing; a killed pass goes on with the slice it had reached."""
    stage, train = FEATURES.folder(run), open_training(run)
    net = load_snapshot(run, feature_epoch(run))[0].to(device()).eval()
    batch = run.config.influence.batch_size or _BATCH

    @torch.no_grad()
    def features(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        parts = [
            net.features(train.tensors(rows[i : i + batch]).to(device())).float().cpu().numpy()
            for i in range(0, len(rows), batch)
        ]
        return np.concatenate(parts)

    yield from map_slices(stage, len(train), SLICE, features, "map", lambda: "features")
    return {"epoch": feature_epoch(run), "n": len(train)}


#: the features, float32 in slices of :data:`SLICE` samples
FEATURES = Stage(
    "features",
    run_features,
    "extract the features of every training picture",
    inputs=(CLASSIFIER,),
    settings=lambda run: [{"epoch": feature_epoch(run)}],
)


@dataclass(frozen=True)
class Projection:
    """Coordinates (N, 2) along the ``axes`` (2, D) through ``mean`` (D,).

    ``share`` (2,) is each axis' share of the whole variance, 0 where there is none.
    """

    coordinates: NDArray[np.float32]
    axes: NDArray[np.float64]
    mean: NDArray[np.float64]
    share: NDArray[np.float64]


def principal_axes(slices: list[Path]) -> Projection:
    """Exact principal components of the rows of some .npy files (k, D), D >= 2, one file at a time.

    Each axis points to where its largest entry is positive, so the picture is the same every time.
    """
    first = read_array(slices[0]).astype(np.float64)
    # Sums of squares about a point near the mean: about the origin they would cancel.
    about = first.mean(0)
    total, squares, n = np.zeros_like(about), np.zeros((len(about), len(about))), 0
    for file in slices:
        x = read_array(file).astype(np.float64) - about
        total += x.sum(0)
        squares += x.T @ x
        n += len(x)
    offset = total / n
    values, vectors = np.linalg.eigh(squares / n - np.outer(offset, offset))
    axes = vectors[:, ::-1][:, :2].T
    axes *= np.sign(axes[np.arange(2), np.abs(axes).argmax(1)])[:, None]
    mean = about + offset
    coordinates = [(read_array(file) - mean) @ axes.T for file in slices]
    variance = np.clip(values, 0, None)
    share = variance[::-1][:2] / variance.sum() if variance.sum() > 0 else np.zeros(2)
    return Projection(np.concatenate(coordinates).astype(np.float32), axes, mean, share)


def _neighbour_map(features: NDArray[np.float64]) -> NDArray[np.float32]:
    """UMAP's coordinates (N, 2) of features (N, D)."""
    from umap import UMAP

    # A fixed seed: the same map every time is worth more than several threads.
    return UMAP(n_components=2, random_state=0).fit_transform(features).astype(np.float32)


def _run_map(run: Run, method: str) -> Work:
    """Compute the coordinates, ``coordinates.npy`` float32 (N, 2) in training order."""
    if method not in methods():
        raise DiffInfError("The map 'umap' needs the package umap-learn; 'pca' needs nothing more.")
    n = len(open_training(run))
    yield from FEATURES.compute(run, quiet=True)
    source = FEATURES.folder(run)
    yield Progress("map", n, n, f"projecting by {method.upper()}")
    if method == "umap":
        coordinates, share = _neighbour_map(read_slices(source, n, SLICE)), None
    else:
        projection = principal_axes([source / f"slice-{s:08d}.npy" for s in range(0, n, SLICE)])
        coordinates, share = projection.coordinates, projection.share.tolist()
    write_array(embedding(method).folder(run) / "coordinates.npy", coordinates)
    return {"method": method, "share": share}


_MAPS = {
    method: Stage(
        "map",
        partial(_run_map, method=method),
        "place every training picture on a map",
        inputs=(FEATURES,),
        settings=partial(lambda run, method: [method], method=method),
    )
    for method in METHODS
}


def embedding(method: str = "pca") -> Stage:
    """The stage of the coordinates by a method; :class:`DiffInfError` for an unknown one."""
    if method not in METHODS:
        raise DiffInfError(f"Unknown map {method!r}; choose one of {', '.join(METHODS)}.")
    return _MAPS[method]


def read_map(run: Run, method: str = "pca") -> tuple[NDArray[np.float32], list[float] | None]:
    """Coordinates (N, 2), and the share of variance along each axis where the method has one."""
    stage = embedding(method).folder(run)
    if not stage.done:
        raise DiffInfError("There is no map of these pictures yet; make it on the Explore page.")
    return read_array(stage / "coordinates.npy"), stage.figures["share"]
