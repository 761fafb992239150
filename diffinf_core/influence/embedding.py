"""A map of the training split: a network's features, and two coordinates for each sample.

The classifier's features are those that the influence predictor reads, the activation before the output
layer. Features are written slice by slice; PCA passes over the slices and never holds them all. UMAP is
fitted to :data:`MOST_FITTED` samples at most and places the others slice by slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diffinf_core.classifier.network import Classifier
from diffinf_core.classifier.stage import CLASSIFIER, load_snapshot
from diffinf_core.classifier.training import device
from diffinf_core.data.part import Part, open_training, to_tensor
from diffinf_core.influence.checkpoints import feature_epoch
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.runs.executor import Call
from diffinf_core.runs.extras import optional_imports
from diffinf_core.runs.files import read_array, write_array
from diffinf_core.runs.run import Run, StageFolder
from diffinf_core.runs.slices import Elsewhere, map_slices
from diffinf_core.runs.stages import Stage, Work

#: samples per file of features
SLICE = 1024
_BATCH = 64
#: how features become two coordinates; UMAP needs the extra "map"
METHODS = ("pca", "umap")
#: samples that UMAP is fitted to; others are placed among them
MOST_FITTED = 100_000


#: features (B, D) by a network of pictures (B, 3, S, S)
Forward = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class ExtractTask:
    """Features by ``network`` on workers of other machines, ``batch`` pictures at a time.

    A parcel is pictures (k, S, S, 3) uint8; the result is (k, D) float32.
    """

    network: nn.Module
    forward: Forward
    batch: int

    @contextmanager
    def open(self) -> Iterator[Call]:
        """The network, on the worker's device."""
        network = self.network.to(device()).eval()

        @torch.no_grad()
        def call(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            parts = [
                self.forward(network, to_tensor(images[i : i + self.batch]).to(device()))
                for i in range(0, len(images), self.batch)
            ]
            return np.concatenate([part.float().cpu().numpy() for part in parts])

        yield call


def extract(
    stage: StageFolder,
    train: Part,
    network: nn.Module,
    batch: int,
    forward: Forward = nn.Module.__call__,
) -> Iterator[Progress]:
    """Write the features (N, D) that a network gives of pictures, as slices; those that are there stay.

    ``network`` and ``forward``, a module's function, can be pickled.
    """
    with ExitStack() as opened:

        @cache
        def here() -> Call:  # loaded where it is needed: not where workers elsewhere compute
            return opened.enter_context(ExtractTask(network, forward, batch).open())

        def task() -> ExtractTask:
            return ExtractTask(network.cpu(), forward, batch)

        def features(rows: NDArray[np.int64]) -> Any:
            return here()(train.images(rows))

        elsewhere = Elsewhere(task, train.images)
        n = len(train)
        yield from map_slices(stage, n, SLICE, features, "map", lambda: "features", elsewhere)


def run_features(run: Run) -> Work:
    """Compute the features that are missing; a killed pass goes on with the slice it had reached."""
    train = open_training(run)
    net = load_snapshot(run, feature_epoch(run))[0]
    batch = run.config.influence.batch_size or _BATCH
    yield from extract(FEATURES.folder(run), train, net, batch, Classifier.features)
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


def _neighbour_map(slices: list[Path], n: int) -> NDArray[np.float32]:
    """UMAP's coordinates (N, 2) of the features (k, D) in some files."""
    with optional_imports():
        from umap import UMAP

    fitted = np.arange(n)
    if n > MOST_FITTED:
        fitted = np.sort(np.random.default_rng(0).choice(n, MOST_FITTED, replace=False))
    parts, start = [], 0
    for file in slices:
        rows = read_array(file)
        parts.append(rows[fitted[(fitted >= start) & (fitted < start + len(rows))] - start])
        start += len(rows)
    # A fixed seed: the same map every time is worth more than several threads.
    reducer = UMAP(n_components=2, random_state=0, n_jobs=1)
    threads = torch.get_num_threads()
    try:
        placed = reducer.fit_transform(np.concatenate(parts)).astype(np.float32)
        if len(fitted) == n:
            return placed
        out = np.concatenate([reducer.transform(read_array(file)) for file in slices])
    finally:
        # Numba sets OpenMP's threads, which torch shares; with another number of them sums round differently.
        torch.set_num_threads(threads)
    out[fitted] = placed
    return out.astype(np.float32)


def _run_map(run: Run, method: str, features: Stage, own: Callable[[str], Stage]) -> Work:
    """Compute the coordinates, ``coordinates.npy`` float32 (N, 2) in training order."""
    if method == "umap":
        with optional_imports():
            import umap  # noqa: F401  # before anything is computed for nothing
    n = len(open_training(run))
    yield from features.compute(run, quiet=True)
    source = features.folder(run)
    yield Progress("map", n, n, f"projecting by {method.upper()}")
    slices = [source / f"slice-{s:08d}.npy" for s in range(0, n, SLICE)]
    if method == "umap":
        coordinates, share = _neighbour_map(slices, n), None
    else:
        projection = principal_axes(slices)
        coordinates, share = projection.coordinates, projection.share.tolist()
    write_array(own(method).folder(run) / "coordinates.npy", coordinates)
    return {"method": method, "share": share}


def map_stages(name: str, features: Stage) -> dict[str, Stage]:
    """The stages of the maps of some features, by method."""
    found: dict[str, Stage] = {}
    for method in METHODS:
        found[method] = Stage(
            name,
            partial(_run_map, method=method, features=features, own=lambda m: found[m]),
            "place every training picture on a map",
            inputs=(features,),
            settings=partial(lambda run, method: [method], method=method),
        )
    return found


_MAPS = map_stages("map", FEATURES)


def embedding(method: str = "pca") -> Stage:
    """The stage of the coordinates by a method; :class:`DiffInfError` for an unknown one."""
    if method not in METHODS:
        raise DiffInfError(f"Unknown map {method!r}; choose one of {', '.join(METHODS)}.")
    return _MAPS[method]


def read_map(run: Run, own: Stage) -> tuple[NDArray[np.float32], list[float] | None]:
    """Coordinates (N, 2), and the fraction of variance along each axis where the method has one."""
    stage = own.folder(run)
    if not own.done(run):
        raise DiffInfError("There is no map of these pictures yet; make it on the Explore page.")
    return read_array(stage / "coordinates.npy"), stage.figures["share"]
