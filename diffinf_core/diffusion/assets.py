"""Train a generator and keep it with its model card."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from diffinf_core.config import explain
from diffinf_core.data.scenes import open_scenes, render_scenes
from diffinf_core.data.training import Part, open_training, to_tensor
from diffinf_core.diffusion.autoencoder import Architecture, Attribute
from diffinf_core.diffusion.figures import reconstruction_figures
from diffinf_core.diffusion.training import (
    Batch,
    GeneratorTraining,
    SceneSource,
    Source,
    averaged_weights,
    train_generator,
)
from diffinf_core.records import DiffInfError, Progress
from diffinf_core.store import Run, read_json, write_json
from diffinf_core.weights import save_weights

#: scenes that no other training and no demo data set uses, for the card's figures
_FIGURE_SEED = 77001


class RunSource:
    """Unpaired pictures of a run's training split under their assigned labels."""

    paired = False

    def __init__(self, train: Part) -> None:
        self.train = train

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        rows = np.sort(rng.integers(0, len(self.train), size))
        x = self.train.tensors(rows)
        flip = torch.from_numpy(rng.random(size) < 0.5)
        x = torch.where(flip[:, None, None, None], x.flip(3), x)
        told = rng.random(size) < 0.8
        label = torch.from_numpy(np.where(told, self.train.labels[rows], -1))[:, None]
        return Batch(x, x, label, torch.ones(size, 1, *x.shape[2:]))


def _settings(given: dict[str, Any]) -> GeneratorTraining:
    try:
        return GeneratorTraining(**given)
    except ValidationError as error:
        raise DiffInfError(explain(error)) from error


def _train(
    source: Source,
    architecture: Architecture,
    settings: GeneratorTraining,
    out: Path,
    data: dict[str, Any],
    command: str,
    probe: torch.Tensor,
) -> Iterator[Progress]:
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, clock = out / "generator.ckpt", out / "generator.clock.json"
    spent = float(read_json(clock)["seconds"]) if clock.exists() and checkpoint.exists() else 0.0
    began = time.perf_counter()
    where = "cuda" if torch.cuda.is_available() else "cpu"
    for event in train_generator(source, architecture, settings, checkpoint, where):
        if event.done % 500 == 0:
            write_json(clock, {"seconds": spent + time.perf_counter() - began})
        yield event
    model = averaged_weights(checkpoint)
    card = {
        "network": "DiffusionAutoencoder",
        "architecture": architecture.model_dump(mode="json"),
        "training": settings.model_dump(mode="json"),
        "data": data,
        "command": command,
        "seconds": round(spent + time.perf_counter() - began),
        "device": where,
        "figures": reconstruction_figures(model, probe),
    }
    save_weights(out / "generator.safetensors", model, card)
    checkpoint.unlink()
    clock.unlink(missing_ok=True)


def train_on_scenes(
    out: Path, given: dict[str, Any], scenes: int, seed: int, cache: Path
) -> Iterator[Progress]:
    """The shipped generator: rendered faces, told expression and age."""
    settings = _settings(given)
    folder = cache / f"{scenes}-{seed}"
    yield from render_scenes(folder, scenes, seed)
    probe_folder = cache / f"120-{_FIGURE_SEED}"
    yield from render_scenes(probe_folder, 120, _FIGURE_SEED)
    probe = to_tensor(open_scenes(probe_folder).images[:, 0, 0])
    source = SceneSource(open_scenes(folder))
    architecture = Architecture(
        attributes=tuple(Attribute.model_validate(a) for a in source.attributes())
    )
    data = {
        "kind": "rendered scenes, no real person",
        "scenes": scenes,
        "pictures": 4 * scenes,
        "seed": seed,
    }
    extra = "".join(f" --{k.replace('_', '-')} {v}" for k, v in given.items())
    command = f"diffinf train-generator --out {out} --scenes {scenes} --scene-seed {seed}{extra}"
    yield from _train(source, architecture, settings, out, data, command, probe)


def train_on_run(run: Run, given: dict[str, Any], out: Path | None) -> Iterator[Progress]:
    """A generator for a run's own pictures: its training split only, never validation or test."""
    settings = _settings({"low_time_share": 0.75, **given})
    train = open_training(run)
    attribute = Attribute(name="label", classes=train.classes)
    size = run.config.data.image_size
    architecture = Architecture(
        image_size=size, patch=2 if size <= 64 else 4, attributes=(attribute,)
    )
    data = {
        "kind": "training split of a run, assigned labels; validation and test left out",
        "pictures": len(train),
    }
    probe = train.tensors(np.linspace(0, len(train) - 1, min(120, len(train))).astype(np.int64))
    command = "diffinf train-generator --run RUN" + "".join(
        f" --{k.replace('_', '-')} {v}" for k, v in given.items()
    )
    target = out or run.root / "generator"
    if (target / "generator.safetensors").exists() and not (target / "generator.ckpt").exists():
        raise DiffInfError(
            f"{target} holds a finished generator, and the run's edits hang on it; move it away or "
            "give --out to train another."
        )
    yield from _train(RunSource(train), architecture, settings, target, data, command, probe)
