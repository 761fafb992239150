"""Rendered training data for the shipped networks: the same person under two expressions and ages.

A scene is one person in one photograph (pose, light, background), rendered for each pair of two
expressions and two ages: four pictures. Any two of them are a supervised edit, which is what
teaches the generator to follow a label and change nothing else.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffinf_core.data.rendered import faces
from diffinf_core.data.rendered.render import render_face
from diffinf_core.records import Progress
from diffinf_core.runs.files import create_array, write_json
from diffinf_core.runs.workers import worker_pool

_CHUNK = 64
#: scenes per person, so that an identity network sees the same person photographed anew
SCENES_PER_PERSON = 3


@dataclass(frozen=True)
class Scenes:
    """``images`` (n, 2, 2, S, S, 3) uint8 over expression and age; ``parts`` (n, 2, 2, S, S) uint8;
    ``expression`` and ``age`` (n, 2) class indices; ``person`` (n,)."""

    images: NDArray[np.uint8]
    parts: NDArray[np.uint8]
    expression: NDArray[np.int64]
    age: NDArray[np.int64]
    person: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.person)


def _scene(
    seed: int, index: int, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[int, int], tuple[int, int]]:
    person = faces.sample_identity(np.random.default_rng((seed, 0, index // SCENES_PER_PERSON)))
    rng = np.random.default_rng((seed, 1, index))
    kinds = (int(rng.integers(4)), int(rng.integers(4)))
    ages = (int(rng.integers(3)), int(rng.integers(3)))
    shown = [faces.sample_expression(rng, kind) for kind in kinds]
    years = [faces.sample_age(rng, kind) for kind in ages]
    nuisance = faces.sample_nuisance(rng)
    images = np.empty((2, 2, size, size, 3), np.uint8)
    parts = np.empty((2, 2, size, size), np.uint8)
    for i in range(2):
        for j in range(2):
            images[i, j], parts[i, j] = render_face(person, shown[i], years[j], nuisance, size)
    return images, parts, kinds, ages


def _chunk(seed: int, start: int, stop: int, size: int) -> tuple[NDArray, ...]:
    rows = [_scene(seed, i, size) for i in range(start, stop)]
    return (
        np.stack([r[0] for r in rows]),
        np.stack([r[1] for r in rows]),
        np.array([r[2] for r in rows]),
        np.array([r[3] for r in rows]),
    )


def render_scenes(
    folder: Path, count: int, seed: int, size: int = 64, workers: int = 1
) -> Iterator[Progress]:
    """Render ``count`` scenes into memory-mapped files under ``folder``; done already is done.

    The result is independent of ``workers`` and is opened with :func:`open_scenes`.
    """
    want = {"count": count, "seed": seed, "size": size}
    stamp = folder / "scenes.json"
    if stamp.exists() and json.loads(stamp.read_text("utf-8")) == want:
        yield Progress("scenes", count, count, "already rendered")
        return
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    shape = (count, 2, 2, size, size)
    images = create_array(folder / "images.npy", (*shape, 3), np.uint8)
    parts = create_array(folder / "parts.npy", shape, np.uint8)
    expression, age = np.empty((count, 2), np.int64), np.empty((count, 2), np.int64)
    starts = range(0, count, _CHUNK)
    with worker_pool(workers) as pool:
        # A window of jobs: finished chunks are written and forgotten, never all in memory.
        ahead: deque[Future[tuple[NDArray, ...]]] = deque()
        coming = iter(starts)
        for start in starts:
            for s in islice(coming, 2 * workers - len(ahead)):
                ahead.append(pool.submit(_chunk, seed, s, min(s + _CHUNK, count), size))
            stop = min(start + _CHUNK, count)
            images[start:stop], parts[start:stop], expression[start:stop], age[start:stop] = (
                ahead.popleft().result()
            )
            yield Progress("scenes", stop, count)
    for array in (images, parts):
        if isinstance(array, np.memmap):
            array.flush()
    np.savez(folder / "labels.npz", expression=expression, age=age)
    write_json(stamp, want)


def open_scenes(folder: Path) -> Scenes:
    """Open what :func:`render_scenes` wrote; pictures stay on disk until they are read."""
    labels = np.load(folder / "labels.npz")
    return Scenes(
        images=np.load(folder / "images.npy", mmap_mode="r"),
        parts=np.load(folder / "parts.npy", mmap_mode="r"),
        expression=labels["expression"],
        age=labels["age"],
        person=np.arange(len(labels["age"])) // SCENES_PER_PERSON,
    )
